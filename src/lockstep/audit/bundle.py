"""A version as a folder of its own: the stored artifact, its description and lineage, and all sums.

A bundle needs no registry and nothing of this project: its requirements are the artifact's own,
with all that these need in turn, and MLflow serves it.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.audit.artifacts import check_artifact
from lockstep.audit.bundle_checks import BUNDLE, BUNDLE_SUMS, MODEL_FOLDER, bundle_sums
from lockstep.audit.provenance import check_lineage
from lockstep.audit.requirements import closed, recorded_lock
from lockstep.checks import FAILED, NOT_CHECKED, CheckResult
from lockstep.errors import ArtifactError, RegistryError, UsageError
from lockstep.io import sha256_file, write_json, write_text
from lockstep.registry.artifact.files import SCHEMA, drop_added_on_loading
from lockstep.registry.record.events import Who
from lockstep.registry.record.journal import CLIENT, Journal, default_who, now
from lockstep.registry.record.recovery import open_journal
from lockstep.registry.record.registered_models import Model, get_model
from lockstep.registry.store.artifact_store import fetch_version
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import REGISTER_AGAIN, TAG_PREFIX, check_stage, check_version
from lockstep.registry.store.versions import Version, pruned_line

_SCALE_TAGS = ("score_scale", "positive_weight", "class_ratio")
REQUIREMENTS, PYTHON, DOCKERFILE = "requirements.txt", "python_env.yaml", "Dockerfile"
_DOCKERFILE = """\
# {name} version {version}: answers POST /invocations on port 8080, and GET /ping. \
Nothing is fetched at start.
#   docker build -t {tag} . && docker run --rm -p 8080:8080 {tag}
FROM python:{python}-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
&& rm -rf /var/lib/apt/lists/*
WORKDIR /bundle
COPY requirements.txt .
RUN pip install --no-cache-dir --compile -r requirements.txt
COPY . .
RUN sha256sum --check --quiet SHA256SUMS && useradd --uid 10001 --create-home model
USER model
ENV MLFLOW_DISABLE_TELEMETRY=true PYTHONUNBUFFERED=1
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", \
"from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/ping')"]
CMD ["mlflow", "models", "serve", "--model-uri", "model", "--env-manager", "local", \
"--host", "0.0.0.0", "--port", "8080"]
"""


@dataclass(frozen=True)
class Exported:
    """An export; ``sums_digest`` is of the list of its sums, ``event`` the number of its event."""

    version: Version
    folder: Path
    files: int
    bytes: int
    sums_digest: str
    event: int


def export(
    client: Client,
    root: Path,
    name: str,
    output: Path,
    stage: str | None = None,
    version: int | str | None = None,
    who: Who | None = None,
) -> Exported:
    """Write a version's bundle, whole or not at all; one that fails its checks is not exported.

    UsageError for a folder that exists already, ArtifactError for a damaged or pruned version.
    """
    check_asked(output, stage, version)
    chosen = chosen_version(get_model(client, name), stage, version)
    with building(output) as folder:
        assemble(client, root, chosen, folder, who)
        # What takes long comes before the lock: one that is kept for long gets broken.
        with open_journal(client, name, who) as book:
            return _put(book, chosen, folder, output)


def assemble(
    client: Client, root: Path, version: Version, folder: Path, who: Who | None = None
) -> None:
    """Make a version's bundle in ``folder``, off the record; ArtifactError where a check fails."""
    _gather(client, root, version, folder)
    describe(folder, version, who or default_who())


@contextmanager
def building(output: Path) -> Iterator[Path]:
    """Yield a folder on the same disk to build ``output`` in; it is removed at the end."""
    output.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{output.name}."
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=prefix, suffix=".part") as made:
        yield Path(made) / "bundle"


def check_asked(output: Path, stage: str | None, version: int | str | None) -> None:
    """Refuse what cannot be exported before a server is asked."""
    if (stage is None) == (version is None):
        raise UsageError("export takes either --stage STAGE or --version N")
    if stage is not None:
        check_stage(stage)
    if output.exists() or output.is_symlink():
        fix = "name a folder that does not, or remove it first"
        raise UsageError(f"{output} exists already; {fix}")


def chosen_version(model: Model, stage: str | None, version: int | str | None) -> Version:
    """Return the version to export; ArtifactError for one without files."""
    number = None if version is None else check_version(version)
    chosen = model.newest_in(str(stage)) if number is None else model.version(number)
    if chosen.pruned is not None:
        raise ArtifactError(pruned_line(chosen))
    return chosen


def _gather(client: Client, root: Path, version: Version, folder: Path) -> None:
    model = folder / MODEL_FOLDER
    model.mkdir(parents=True)
    fetch_version(client, version, model)
    drop_added_on_loading(model)
    refuse_damaged(check_artifact(version, model))
    refuse_damaged(check_lineage(version, root, folder, client))
    shutil.copyfile(model / SCHEMA, folder / SCHEMA)
    if not (model / REQUIREMENTS).is_file():
        fault = f"{version.title} has no {REQUIREMENTS}: nobody could load it elsewhere"
        raise ArtifactError(f"{fault}; {REGISTER_AGAIN}")
    _pin(root, version, folder)


def _pin(root: Path, version: Version, folder: Path) -> None:
    """Write the pins of the artifact's packages and their dependencies: builds stay the same."""
    text = (folder / MODEL_FOLDER / REQUIREMENTS).read_text(encoding="utf-8")
    lock = recorded_lock(root, version, folder)
    pins = closed(text.splitlines(), lock) if lock is not None else []
    write_text(folder / REQUIREMENTS, "".join(f"{pin}\n" for pin in pins) or text)


def refuse_damaged(findings: list[CheckResult]) -> None:
    """Raise an ArtifactError with the first check that failed."""
    wrong = next((f for f in findings if f.verdict in (FAILED, NOT_CHECKED)), None)
    if wrong is not None:
        fault = f"{wrong.subject} version {wrong.version} is not exported: its {wrong.name} failed"
        command = f"verify --model-name {wrong.subject} --version {wrong.version}"
        see = f"see `manage_model_registry.py {command}`"
        raise ArtifactError(f"{fault} ({wrong.message}); {see}")


def describe(folder: Path, version: Version, who: Who) -> None:
    """Write a bundle's description, its Dockerfile, and last the sums of its files."""
    own, all_ = ((place / REQUIREMENTS).read_bytes() for place in (folder / MODEL_FOLDER, folder))
    pinned = "direct only: the lock it was made with was not found" if own == all_ else "all"
    write_json(folder / BUNDLE, {**description(version, who), "requirements": pinned}, digits=None)
    write_text(folder / DOCKERFILE, dockerfile(version, folder / MODEL_FOLDER / PYTHON))
    lines = [f"{digest}  {name}\n" for name, digest in bundle_sums(folder).items()]
    write_text(folder / BUNDLE_SUMS, "".join(lines))


def dockerfile(version: Version, environment: Path) -> str:
    """Return the Dockerfile of a bundle, over the Python that the artifact was made with."""
    text = environment.read_text(encoding="utf-8") if environment.is_file() else ""
    python = re.search(r"^python: *'?(\d+\.\d+)", text, re.MULTILINE)
    tag = re.sub(r"[^a-z0-9]+", "-", version.name.lower()).strip("-") or "model"
    number, found = version.version, python[1] if python else "3.11"
    tag = f"{tag}:{number}"
    return _DOCKERFILE.format(name=version.name, version=number, tag=tag, python=found)


def description(version: Version, who: Who) -> dict[str, Any]:
    """Return the content of bundle.json: version, decision, lineage, who exported it."""
    exported = {"at": now(), "by": who.actor, "reason": who.reason, "client": CLIENT}
    own_tags = ((key, text) for key, text in version.tags.items() if key.startswith(TAG_PREFIX))
    return {
        "format": 1,
        "name": version.name,
        "version": version.version,
        "stage": version.stage,
        "run_id": version.run_id,
        **{key: version.tag(key) for key in ("problem", "type", "model_digest")},
        "threshold": version.threshold,
        **{key: version.tag(key) for key in (*_SCALE_TAGS, "git_commit")},
        "dirty": version.dirty,
        "metrics": version.scores,
        "tags": dict(sorted(own_tags)),
        "exported": exported,
    }


def _put(book: Journal, version: Version, made: Path, output: Path) -> Exported:
    if book.model.version(version.version).stage != version.stage:
        raise RegistryError(f"{version.title} was moved meanwhile; run the command again")
    files = [path for path in made.rglob("*") if path.is_file()]
    size, digest = sum(p.stat().st_size for p in files), sha256_file(made / BUNDLE_SUMS)
    details = {"bundle_digest": digest, "model_digest": version.tag("model_digest") or ""}
    event = book.begin("export", version=version.version, details=details)
    try:
        made.rename(output)  # fails where something else was put there meanwhile
    except OSError:
        book.end(event, "dropped")
        raise
    book.end(event)
    return Exported(version, output, len(files), size, digest, event.number)
