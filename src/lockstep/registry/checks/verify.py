"""Check what the registry holds: every file of an artifact, what is inside, where it comes from, and the record.

The files are fetched from the store afresh, past the cache. Nothing they hold is imported or unpickled, and a model is
loaded only after its digest and the types inside it were found right. A bundle's folder is checked the same way.
"""

from __future__ import annotations

import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import ArtifactError, DataError, LockstepError
from lockstep.io import read_json, sha256_file, sha256_json
from lockstep.registry.artifact.loading import PICKLES, Located, declared, schema_of
from lockstep.registry.artifact.packaging import CARD, SHIPPED_CODE, SKOPS, SUMS, sums_of
from lockstep.registry.catalog import STAGE_TAG, Model, Version, get_model, list_models
from lockstep.registry.cli import aligned
from lockstep.registry.publishing.lineage import NO_COMMIT, NO_REPOSITORY, git
from lockstep.registry.record.pointers import aliases_of
from lockstep.registry.store import one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lockstep.registry.record.events import Record

OK, FAILED, PRUNED = "ok", "failed", "pruned"
NOT_RECORDED, NOT_KNOWN, NOT_CHECKED = "not recorded", "not known", "not checked"
CLOSURE = Path("lineage") / "closure.json"
BUNDLE, BUNDLE_SUMS, MODEL_FOLDER = "bundle.json", "SHA256SUMS", "model"
"""What an exported bundle holds: what it is, the sums of all its files, and the artifact as it was stored."""
_CARD_TAGS = ("model_digest", "schema_digest", "score_scale", "threshold")
_SHOWN_FILES = 5
_BROKEN = (
    LockstepError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers raise over bytes that somebody changed; here it is a finding, not a crash."""

Told = tuple[str, str]
"""A check's verdict, and what it is about."""


@dataclass(frozen=True)
class Finding:
    """What one check of one version (None: of the whole model) found."""

    name: str
    version: int | None
    check: str
    verdict: str
    what: str


def verify(
    client: MlflowClient, root: Path, name: str | None = None, version: int | None = None
) -> list[Finding]:
    """Check everything the registry holds, one model, or one version of it."""
    models = list_models(client) if name is None else [get_model(client, name)]
    found: list[Finding] = []
    for model in models:
        found += check_model(model)
        for one in model.versions if version is None else [model.version(version)]:
            found += check_version(client, root, model, one)
    return found


def verify_folder(folder: Path, root: Path | None = None) -> list[Finding]:
    """Check an exported bundle: every file by its sum, then the artifact and its lineage as in a registry.

    Raises DataError for a folder that is none.
    """
    if not (folder / BUNDLE_SUMS).is_file():
        raise DataError(f"{folder} is no exported bundle: it holds no {BUNDLE_SUMS}; make one with `export`")
    try:
        version = version_of(folder)
    except _BROKEN as error:
        unread = Version(str(folder), 0, 0, None, "", "None", {})
        sums = _tried(unread, "bundle", _bundle_files, folder)
        return [sums, Finding(unread.name, None, BUNDLE, FAILED, _told(error, folder))]
    return [
        _tried(version, "bundle", _bundle_files, folder),
        *check_artifact(version, folder / MODEL_FOLDER),
        _tried(version, "closure", _closure, folder / CLOSURE),
        _tried(version, "commit", _commit, root),
    ]


def healthy(findings: Sequence[Finding]) -> bool:
    """Tell whether no check failed; what was never recorded, or cannot be known here, is no fault."""
    return all(finding.verdict != FAILED for finding in findings)


def report(findings: Sequence[Finding]) -> str:
    """Return findings as a table for people, with one line that sums them up."""
    wrong = [finding for finding in findings if finding.verdict == FAILED]
    subjects = len({(f.name, f.version) for f in findings if f.version is not None})
    count = f"{len(findings)} checks of {subjects} version{'s' * (subjects != 1)}"
    last = f"✗ {len(wrong)} of {count} failed" if wrong else f"✓ {count}: none failed{_left_open(findings)}"
    rows = findings if subjects == 1 else _shortened(findings)
    return (
        "\n".join([aligned([asdict(f) for f in rows]), last])
        if findings
        else "there is nothing to verify yet"
    )


def _left_open(findings: Sequence[Finding]) -> str:
    """Say how many checks neither passed nor failed."""
    counts = Counter(f.verdict for f in findings if f.verdict not in (OK, FAILED))
    return f" ({', '.join(f'{count} {verdict}' for verdict, count in counts.items())})" if counts else ""


def _shortened(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings with those that are well in one line a version."""
    rows: list[Finding] = []
    for (name, version), some in groupby(findings, key=lambda f: (f.name, f.version)):
        told = list(some)
        well = [f.check for f in told if f.verdict == OK]
        rows += [Finding(name, version, ", ".join(well), OK, "")] if well else []
        rows += [f for f in told if f.verdict != OK]
    return rows


# ---------------------------------------------------------------- a model and its record


def check_model(model: Model) -> list[Finding]:
    """Check a model's record and its aliases."""
    return [
        _of_model(model, "record", _record_faults(model)),
        _of_model(model, "aliases", _alias_faults(model)),
    ]


def _of_model(model: Model, check: str, faults: list[str]) -> Finding:
    told = "; ".join(faults) or ("no event yet" if not model.record.events else "")
    return Finding(model.name, None, check, FAILED if faults else OK, told)


def _record_faults(model: Model) -> list[str]:
    """Return what is wrong with the record: its chain, moves half done, versions it knows and that are gone."""
    there = {version.version for version in model.versions}
    gone = sorted(model.record.stages.keys() - there)
    half = [
        f"event {event.number} ({event.action}) has no end: under way, or a crash left it; the next move ends it"
        for event in model.record.open
    ]
    lost = [f"version {number} is on record and gone from the registry" for number in gone]
    return [*model.record.faults, *half, *lost]


def _alias_faults(model: Model) -> list[str]:
    wanted = aliases_of(model)
    pairs = ((alias, model.aliases.get(alias), wanted.get(alias)) for alias in ("production", "staging"))
    return [
        f"alias {alias} names {_numbered(found)}, the stages say {_numbered(right)}"
        for alias, found, right in pairs
        if found != right
    ]


def _numbered(version: int | None) -> str:
    return "no version" if version is None else f"version {version}"


# ---------------------------------------------------------------- a version


def check_version(client: MlflowClient, root: Path, model: Model, version: Version) -> list[Finding]:
    """Check one version: its files, fetched afresh, its lineage, and that its tags agree with the record."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        return [
            *_stored(client, model, version, folder / MODEL_FOLDER),
            *check_lineage(client, root, version, folder / "run"),
            _tried(version, "stage", _stage, model.record),
        ]


def check_lineage(client: MlflowClient, root: Path, version: Version, folder: Path) -> list[Finding]:
    """Check that a version's closure is whole and its commit known here; the closure is put into ``folder``."""
    return [
        _tried(version, "closure", _closure_of_run, client, folder),
        _tried(version, "commit", _commit, root),
    ]


def _stored(client: MlflowClient, model: Model, version: Version, folder: Path) -> list[Finding]:
    """Fetch and check a version's artifact; of a pruned one only that this is on record."""
    from lockstep.registry.artifact.stored import fetch_version

    if version.pruned is not None:
        return [_tried(version, "files", _pruned, model.record)]
    folder.mkdir()
    try:
        fetch_version(client, version, folder)
    except ArtifactError as error:
        return [_found(version, "files", FAILED, str(error))]
    return check_artifact(version, folder)


def _pruned(version: Version, record: Record) -> Told:
    known = [e for e in record.events if e.action == "prune" and str(version.version) in e.details]
    event = next((e for e in known if str(e.number) == version.pruned), None)
    if event is None:
        return FAILED, f"marked as pruned by event {version.pruned}, and the record knows of no such prune"
    return PRUNED, f"deleted by {event.who.actor} at {event.time} (event {event.number})"


def check_artifact(version: Version, folder: Path) -> list[Finding]:
    """Check an artifact's folder against its version; the model is loaded only where all before it is right."""
    first = [
        _tried(version, "files", _files, folder),
        _tried(version, "digest", _digest, folder),
        _tried(version, "types", _types, folder),
        _tried(version, "schema", _schema, folder),
        _tried(version, "card", _card, folder),
    ]
    unsafe = [f.check for f in first if f.check in ("digest", "types") and f.verdict != OK]
    if unsafe:
        told = f"not loaded, because of its {' and '.join(unsafe)}"
        return [*first, _found(version, "golden rows", NOT_CHECKED, told)]
    return [*first, _tried(version, "golden rows", _golden, folder)]


def _files(version: Version, folder: Path) -> Told:
    """Compare every file with the sums noted when the artifact was packaged."""
    noted, path = version.tag("sums_digest"), folder / SUMS
    if not path.is_file():
        return (FAILED, f"missing: {SUMS}") if noted else (NOT_RECORDED, "registered before sums were kept")
    faults = compared(read_json(path), sums_of(folder))
    if noted is None:
        faults.append(f"the version has lost its tag lockstep.sums_digest, and so {SUMS} proves nothing")
    elif sha256_file(path) != noted:
        faults.insert(0, f"changed: {SUMS}")
    return (FAILED, "; ".join(faults)) if faults else (OK, f"{len(sums_of(folder)) + 1} files")


def compared(told: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Name the files that were changed, are missing or came on top, in one line a kind."""
    kinds = {
        "changed": [name for name in told if name in found and found[name] != told[name]],
        "missing": [name for name in told if name not in found],
        "added": [name for name in found if name not in told],
    }
    return [f"{kind}: {_named(names)}" for kind, names in kinds.items() if names]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return ", ".join(sorted(names)[:_SHOWN_FILES]) + more


def _digest(version: Version, folder: Path) -> Told:
    """Compare the model and the code it was made with with the digest the version carries."""
    from lockstep.models.artifact import digest_of

    noted = version.tag("model_digest")
    if noted is None:
        return (
            FAILED,
            "the version carries no tag lockstep.model_digest: it was not registered by this project",
        )
    found = digest_of((folder / SKOPS).read_bytes(), folder / SHIPPED_CODE)
    if found != noted:
        return (
            FAILED,
            f"{SKOPS} or the code beside it has digest {found[:12]}…, the version says {noted[:12]}…",
        )
    return OK, f"{found[:12]}…"


def _types(version: Version, folder: Path) -> Told:
    """Look for pickles anywhere, and inside the model for types that are not allowed; nothing is loaded."""
    from lockstep.models.artifact import check_types

    pickles = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if _is_pickle(path)]
    if pickles:
        return FAILED, f"{_named(pickles)}: a pickle, which is never loaded"
    check_types((folder / SKOPS).read_bytes(), SKOPS)
    return OK, "only allowed ones"


def _is_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        begins = stream.read(2)
    return path.suffix in PICKLES or (begins[:1] == b"\x80" and begins[1:] in (b"\2", b"\3", b"\4", b"\5"))


def _schema(version: Version, folder: Path) -> Told:
    if version.tag("schema_digest") is None:
        return NOT_RECORDED, "the version carries no tag lockstep.schema_digest"
    return OK, f"{schema_of(folder, version, 'the artifact').digest[:12]}…"


def _card(version: Version, folder: Path) -> Told:
    """Compare the tags that decide how the model is used with the card inside the artifact."""
    if not (folder / CARD).is_file():
        return NOT_RECORDED, f"the artifact holds no {CARD}"
    card = read_json(folder / CARD)
    pairs = [(key, card.get(key), version.tag(key)) for key in _CARD_TAGS]
    wrong = [
        f"tag lockstep.{key} is {tag}, {CARD} says {told}"
        for key, told, tag in pairs
        if told is not None and tag != str(told)
    ]
    return (FAILED, "; ".join(wrong)) if wrong else (OK, "agrees with the tags")


def _golden(version: Version, folder: Path) -> Told:
    """Load the model and let it repeat its golden rows."""
    from lockstep.models.artifact import read_artifact
    from lockstep.models.golden import check_golden

    pipeline = read_artifact(folder / SKOPS, version.tag("model_digest"), folder / SHIPPED_CODE)
    _, rows, outputs = declared(Located(version, folder), "the artifact")
    check_golden(pipeline, rows, outputs, "the model")
    return OK, f"{len(rows)} rows repeated"


def _closure_of_run(version: Version, client: MlflowClient, folder: Path) -> Told:
    """Fetch the closure from the version's run, and check it."""
    from mlflow.exceptions import MlflowException

    from lockstep.registry.artifact.stored import fetch_run_folder

    if version.tag("closure_digest") is None or version.run_id is None:
        return NOT_RECORDED, "the version carries no closure"
    try:
        run = client.get_run(version.run_id)
    except MlflowException as error:
        gone = error.error_code == "RESOURCE_DOES_NOT_EXIST"
        return (
            FAILED,
            f"its run {version.run_id} {'is gone' if gone else f'cannot be read ({one_line(error)})'}",
        )
    folder.mkdir(exist_ok=True)
    if run.info.lifecycle_stage != "active":
        return FAILED, f"its run is deleted; `mlflow runs restore --run-id {version.run_id}`"
    if not fetch_run_folder(client, version.run_id, CLOSURE.parent.name, folder):
        return NOT_RECORDED, f"its run {version.run_id} has no folder {CLOSURE.parent}"
    return _closure(version, folder / CLOSURE)


def _closure(version: Version, path: Path) -> Told:
    noted = version.tag("closure_digest")
    if noted is None:
        return NOT_RECORDED, "the version carries no closure"
    if not path.is_file():
        return FAILED, f"{CLOSURE} is gone"
    found = sha256_json(read_json(path))
    wrong = f"{CLOSURE} has digest {found[:12]}…, the version says {noted[:12]}…"
    return (OK, f"{found[:12]}…") if found == noted else (FAILED, wrong)


def _commit(version: Version, root: Path | None) -> Told:
    """Look the commit up in the repository here: one that is not is told, and no fault of the version."""
    commit = version.tag("git_commit")
    if commit in (None, NO_REPOSITORY, NO_COMMIT):
        return NOT_RECORDED, commit or "the version carries no tag lockstep.git_commit"
    dirty = ", with changes that its closure holds" if version.dirty else ""
    known = root and git(root, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if not known:
        return NOT_KNOWN, f"{commit} is not in the repository here; `git fetch` may bring it{dirty}"
    return OK, f"{str(commit)[:12]}{dirty}"


def _stage(version: Version, record: Record) -> Told:
    """Compare what is written at the version with what the record says of it."""
    if version.recorded is None:
        return NOT_RECORDED, "the record does not know this version; the next move takes it over"
    pairs = {f"tag {STAGE_TAG}": version.tags.get(STAGE_TAG), "MLflow's own stage": version.mirrored}
    wrong = [
        f"{what} is {said}, the record says {version.stage}"
        for what, said in pairs.items()
        if said != version.stage
    ]
    wrong += _registered_otherwise(version, record)
    return (FAILED, "; ".join(wrong)) if wrong else (OK, version.stage)


def _registered_otherwise(version: Version, record: Record) -> list[str]:
    """Name the tags that are not those the event of the version's registration holds."""
    made = next(
        (e for e in record.events if e.action == "register" and e.of_version == version.version), None
    )
    told = {} if made is None else made.details
    keys = [key for key in ("model_digest", "sums_digest") if key in told and told[key] != version.tag(key)]
    return [f"tag lockstep.{key} is not the one of event {made.number}" for key in keys if made]


# ---------------------------------------------------------------- a bundle's folder


def version_of(folder: Path) -> Version:
    """Return the version that a bundle was made of, as it says itself."""
    told = read_json(folder / BUNDLE)
    tags = {str(key): str(value) for key, value in told["tags"].items()}
    return Version(str(told["name"]), int(told["version"]), 0, told.get("run_id"), "", "None", tags)


def _bundle_files(version: Version, folder: Path) -> Told:
    faults = compared(listed_sums(folder), bundle_sums(folder))
    return (
        (FAILED, "; ".join(faults))
        if faults
        else (OK, f"{BUNDLE_SUMS} {sha256_file(folder / BUNDLE_SUMS)[:12]}…")
    )


def listed_sums(folder: Path) -> dict[str, str]:
    """Return the sums that a bundle's list holds, by path; ArtifactError for a line that is none."""
    sums: dict[str, str] = {}
    for line in (folder / BUNDLE_SUMS).read_text(encoding="utf-8").splitlines():
        digest, parted, name = line.partition("  ")
        if not parted or len(digest) != 64:
            raise ArtifactError(f"{BUNDLE_SUMS} holds a line that is no sum: {line[:80]!r}")
        sums[name] = digest
    return sums


def bundle_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a bundle but the list of them, by path."""
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file() or p.is_symlink()}
    return {name: sha256_file(files[name]) for name in sorted(files) if name != BUNDLE_SUMS}


# ---------------------------------------------------------------- one check


def _tried(version: Version, check: str, run: Callable[..., Told], *arguments: Any) -> Finding:
    """Run one check; whatever damaged content makes it raise is its finding."""
    try:
        verdict, what = run(version, *arguments)
    except _BROKEN as error:
        folder = next((a for a in arguments if isinstance(a, Path)), None)
        verdict, what = FAILED, _told(error, folder)
    return _found(version, check, verdict, what)


def _found(version: Version, check: str, verdict: str, what: str) -> Finding:
    return Finding(version.name, version.version, check, verdict, what)


def _told(error: Exception, folder: Path | None) -> str:
    """Return an error as one line, without the temporary folder in which it was met."""
    if isinstance(error, FileNotFoundError) and folder is not None:
        return f"missing: {Path(str(error.filename)).name}"
    text = " ".join(str(error).split()) or type(error).__name__
    return (
        text.replace(f"{folder}/", "") if isinstance(error, LockstepError) else f"unreadable ({text[:200]})"
    )
