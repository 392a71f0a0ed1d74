"""What is wrong with a registry and its workspace; this module only reads.

Whatever cannot be read (a server that is down, a damaged database or file) is a finding itself.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lockstep.audit.packages import installed_version
from lockstep.audit.record_checks import FIXED_BY, abandoned, of_locks, of_model, problem
from lockstep.checks import CheckResult
from lockstep.config.layout import ProblemLayout, engine_of, main_tree
from lockstep.config.params import Training, load_params
from lockstep.config.settings import Settings, environment, load_settings
from lockstep.console import without_password
from lockstep.errors import LockstepError, RegistryError
from lockstep.io import read_json
from lockstep.models.types import local_types
from lockstep.registry.artifact.files import SKOPS
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.record.locking import all_locks
from lockstep.registry.record.registered_models import Model, list_models
from lockstep.registry.store import connection, local_database, uris
from lockstep.registry.store.artifact_store import sizes
from lockstep.registry.store.connection import Client, request_limits, translating_mlflow_errors
from lockstep.registry.store.database_schema import newest_schema, schema_of
from lockstep.registry.store.versions import Version

KEYS = {"what": "name", "where": "subject", "fault": "message", "fix": "fix", "did": "repair"}
"""The keys of a finding in JSON."""
TOOLS = {
    **{name: (name,) for name in ("dvc", "mlflow", "scikit-learn")},
    **{kind.library: tuple(kind.distributions) for kind in local_types() if kind.distributions},
    "skops": ("skops",),
}
"""The tools that decide what is trained and stored, and the names they are installed under."""
PAGE_SECONDS = 30
"""A server that answered may take so long for a page of 1,000 versions."""
FILES_SECONDS = 1.5
"""How long versions' files are looked for; ``verify`` looks at all, and into them."""
_PUT_BACK = (
    "put them back from a backup; `dvc repro -s register` registers a model of this workspace again"
)


@dataclass(frozen=True)
class Diagnosis:
    """All that was looked at and found, what --fix repaired, and what it failed to repair."""

    settings: tuple[tuple[str, str, str], ...] = ()  # name, value and where it was set
    tools: dict[str, str] = field(default_factory=dict)
    store: dict[str, Any] = field(default_factory=dict)
    findings: tuple[CheckResult, ...] = ()
    repaired: tuple[CheckResult, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether nothing is wrong, or nothing is any more."""
        return not self.findings and not self.failed

    @property
    def content(self) -> dict[str, Any]:
        """The whole as plain JSON values."""
        keys = ("name", "value", "source")
        settings = [dict(zip(keys, row, strict=True)) for row in self.settings]
        left = [{**one.content(KEYS), "repaired": False} for one in self.findings]
        done = [{**one.content(KEYS), "repaired": True} for one in self.repaired]
        facts = {"settings": settings, "tools": self.tools, "store": self.store}
        return {"well": self.well, **facts, "findings": done + left, "failed": list(self.failed)}


def examine(root: Path, tracking_uri: str | None = None) -> Diagnosis:
    """Look at configuration, tools, store, registry and workspace; takes a few seconds mostly."""
    tools, found = _tools(root)
    try:
        settings = load_settings(root, {"tracking_uri": tracking_uri})
    except LockstepError as error:
        found.append(problem("configuration", "settings", str(error), "correct it"))
        return Diagnosis(tools=tools, findings=tuple(found))
    facts: dict[str, Any] = {}
    with request_limits(timeout=PAGE_SECONDS):
        found += list(_of_store(settings, root, facts))
    return Diagnosis(_sources(settings, root), tools, facts, tuple(found))


def _of_store(settings: Settings, root: Path, facts: dict[str, Any]) -> Iterator[CheckResult]:
    """Yield what is wrong from the store on; ``facts`` gets what is right."""
    client = None
    try:
        uri = uris.resolve_uri(settings, root)
        facts["uri"] = without_password(uri)
        yield from _of_database(uri, facts)
        client = _client(settings, root, uri, facts)
        with translating_mlflow_errors():
            if uris.is_http(uri):  # one that hangs is told at once, one that is slow is not
                with request_limits(timeout=max(1, round(settings.timeout_seconds / 2))):
                    client.search_experiments(max_results=1)
            models, locks = list_models(client), all_locks(client)
    except LockstepError as error:
        facts.setdefault("reachable", client is not None)
        yield problem("store", facts.get("uri", "settings"), str(error))
        return
    except (OSError, ValueError, ImportError) as error:  # no MLflow answers, or a driver is missing
        message = f"it cannot be used: {connection.one_line(error)}"
        yield problem("store", facts.get("uri", "settings"), message, "correct the address")
        return
    count = sum(len(model.versions) for model in models)
    facts |= {"reachable": True, "models": len(models), "versions": count}
    yield from of_locks(locks)
    moving = {lock.name for lock in locks if not abandoned(lock)}
    for model in models:
        yield from of_model(model, model.name in moving)
    yield from of_workspace(settings, root, models)
    yield from of_files(client, models, facts)


# ---------------------------------------------------------------- settings and tools


def _sources(settings: Settings, root: Path) -> tuple[tuple[str, str, str], ...]:
    """Return every setting with its value and source; of credentials only the user."""
    names = [f.name for f in fields(settings) if f.name not in ("environment", "sources")]
    values = {name: getattr(settings, name) for name in names}
    values["tracking_uri"] = values["tracking_uri"] or f"{uris.SQLITE}{uris.DATABASE}"
    shown = {key: "" if value is None else str(value) for key, value in values.items()}
    rows = [(key, without_password(shown[key]), settings.source_of(key)) for key in shown]
    user = environment(root).get("MLFLOW_TRACKING_USERNAME")
    return (*rows, ("tracking_username", user.value, user.source)) if user else tuple(rows)


def _tools(root: Path) -> tuple[dict[str, str], list[CheckResult]]:
    """Return the versions of the tools, and those that are not the lock file's."""
    lock = root / "requirements.lock"
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.MULTILINE))
    versions, found = {"python": platform.python_version()}, []
    for tool, packages in TOOLS.items():
        package = next(filter(installed_version, packages), packages[0])
        versions[tool] = installed_version(package) or "none"
        wanted = locked.get(package)
        if wanted and versions[tool] != wanted:
            message = f"{versions[tool]} is installed, {lock.name} has {wanted}"
            found.append(problem("tools", tool, message, "run `make env`"))
    return versions, found


# ---------------------------------------------------------------- the store


def _of_database(uri: str, facts: dict[str, Any]) -> Iterator[CheckResult]:
    """Yield what is wrong with a database; RegistryError where MLflow must not open it."""
    if uris.is_http(uri):
        return
    if path := uris.sqlite_file(uri):
        if not path.is_file() or not path.stat().st_size:
            state = "is empty (0 bytes)" if path.is_file() else "is missing"
            fix = "run `make run-train`, or `dvc repro -s register` for models that are trained"
            raise RegistryError(f"no registry yet: {path} {state}; {fix}")
        local_database.check_sqlite(path)
        for old in local_database.moved_from(path):
            here = path.parent / uris.ARTIFACTS
            message = f"its artifacts are recorded below {old}, and lie below {here}"
            fix = f"{FIXED_BY}, or any other command"
            yield problem("moved clone", str(path), message, fix, "recorded their new place")
    has, wants = schema_of(uri), newest_schema()
    facts["schema"] = has
    if has != wants:
        upgrade = f"keep a copy and run `mlflow db upgrade {without_password(uri)}`"
        fix = f"{upgrade}, or `make env` if a newer MLflow wrote it"
        raise RegistryError(f"its schema is {has}, the installed MLflow's is {wants}; {fix}")


def _client(settings: Settings, root: Path, uri: str, facts: dict[str, Any]) -> Client:
    """Return a client; the usual way to one would follow a moved workspace, which is for --fix."""
    database = uris.sqlite_file(uri)
    if database and local_database.moved_from(database):
        return connection.Client(tracking_uri=uri)
    client = connection.connect(settings, root)
    if uris.is_http(uri):
        facts["server"] = connection.server_version(uri, settings)
    return client


def of_files(
    client: Client, models: Iterable[Model], facts: dict[str, Any]
) -> Iterator[CheckResult]:
    """Yield versions whose files are missing; those in use first, as far as time allows."""
    versions = [v for model in models for v in reversed(model.versions) if not v.pruned]
    versions.sort(key=lambda v: v.stage not in ("Production", "Staging"))
    end, looked = time.monotonic() + FILES_SECONDS, 0
    for version in versions:
        if time.monotonic() > end:
            break
        looked += 1
        try:
            missing = _missing_files(client, version)
        except connection.store_errors(LockstepError) as error:
            fault = str(error) if isinstance(error, LockstepError) else connection.one_line(error)
            yield problem("files not seen", version.title, fault)
            continue
        if missing:
            yield problem("no files", version.title, missing, _PUT_BACK)
    facts["files_looked_for"] = f"{looked} of {len(versions)} versions"


def _missing_files(client: Client, version: Version) -> str:
    """Return what is missing; empty also if a server's own disk has the files."""
    place = client.get_model_version_download_uri(version.name, str(version.version))
    if uris.is_elsewhere(place, client.tracking_uri):
        return ""
    listed = sizes(client, version)
    if not listed:
        return f"there are none in {without_password(place)}"
    found = SKOPS in listed or not version.tag("model_digest")
    return "" if found else f"{SKOPS} is missing from {place}"


# ---------------------------------------------------------------- the workspace


def of_workspace(settings: Settings, root: Path, models: Sequence[Model]) -> Iterator[CheckResult]:
    """Yield this workspace's trained models that have neither a version nor a recorded refusal."""
    if not (settings.publish and settings.log_model):
        return
    try:
        params = load_params(root)
    except LockstepError as error:
        yield problem("configuration", "params.yaml", str(error), "correct it")
        return
    known = {model.name: _digests(model) for model in models}
    for training in params.train.values():
        yield from _of_training(settings, root, training, known, "run `dvc repro -s register`")
    for name in params.problems:
        for kind in params.spark_types(name):
            own = f"--problem {name} --models {engine_of(kind)[1]}"
            fix = f"run `python src/models/train_spark.py {own}`"
            yield from _of_training(settings, root, params.training(name, kind), known, fix)


def _of_training(
    settings: Settings, root: Path, training: Training, known: dict[str, set[str]], fix: str
) -> Iterator[CheckResult]:
    """Yield a training whose model can't be read, or has no version; ``fix`` registers it."""
    card = ProblemLayout(main_tree(root), training.problem).model_card(training.type)
    name = model_name(settings, training.problem, training.type)
    try:
        digest = read_json(card).get("model_digest") if card.is_file() else None
    except (LockstepError, AttributeError) as error:
        message = f"it cannot be read ({error})"
        yield problem("workspace", str(card), message, "run `dvc checkout` or `dvc repro`")
        return
    if digest and digest not in known.get(name, set()):
        message = f"the model {digest[:12]}… of this workspace is not registered"
        yield problem("not registered", name, message, fix)


def _digests(model: Model) -> set[str]:
    """Return the digests of a model's versions, and of those whose registration was refused."""
    registrations = (e for e in model.record.events if e.action == "register")
    refused = [
        e.details.get("model_digest") for e in registrations if e.end and e.end.outcome == "refused"
    ]
    return {d for d in (*(v.tag("model_digest") for v in model.versions), *refused) if d}
