"""What is wrong with a registry and its workspace: looked at only, nothing is written.

Whatever cannot be looked at (a server that is down, hangs or fails, a damaged database or file) is a finding itself.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import sqlalchemy
from mlflow.exceptions import MlflowException

from lockstep.checks import FAILED, CheckResult
from lockstep.config.layout import ProblemLayout
from lockstep.config.params import load_params
from lockstep.config.settings import Settings, environment, load_settings, main_tree
from lockstep.errors import ArtifactError, LockstepError, RegistryError
from lockstep.io import read_json
from lockstep.registry.artifact.packaging import SKOPS
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.publishing.runs import asked
from lockstep.registry.record.events import Event
from lockstep.registry.record.locking import Lock, all_locks
from lockstep.registry.record.pointers import aliases_of
from lockstep.registry.record.registered_models import Model, list_models
from lockstep.registry.store import connection, local_database, uris
from lockstep.registry.store.artifact_store import sizes
from lockstep.registry.store.connection import translating_mlflow_errors
from lockstep.registry.store.names import STAGE_TAG
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client

TOOLS = {
    "dvc": "dvc",
    "mlflow": "mlflow",
    "scikit-learn": "scikit-learn",
    "xgboost": "xgboost-cpu",
    "lightgbm": "lightgbm",
    "skops": "skops",
}
"""The tools that decide what is trained and stored, and the names they are installed under."""
ABANDONED = 600.0
"""Seconds after which a lock counts as left behind, whoever holds it: far more than any move takes."""
FILES_SECONDS = 1.5
"""How long versions' files are looked for; ``verify`` looks at all, and into them."""
FIXED_BY = "run `doctor --fix`"
_DATABASE_SECONDS = 3


def problem(name: str, subject: str, message: str, fix: str = "", repair: str = "") -> CheckResult:
    """Return one thing that is wrong: what, where, how to correct it, and what --fix does about it."""
    return CheckResult(name, FAILED, message, subject, fix=fix, repair=repair)


@dataclass(frozen=True)
class Checkup:
    """All that was looked at. ``settings`` are name, value and where it was set."""

    settings: tuple[tuple[str, str, str], ...] = ()
    tools: dict[str, str] = field(default_factory=dict)
    store: dict[str, Any] = field(default_factory=dict)
    findings: tuple[CheckResult, ...] = ()


def examine(root: Path, tracking_uri: str | None = None) -> Checkup:
    """Look at configuration, tools, store, registry and workspace; takes a few seconds at most."""
    tools, found = _tools(root)
    try:
        settings = load_settings(root, {"tracking_uri": tracking_uri})
    except LockstepError as error:
        return Checkup(
            tools=tools,
            findings=(*found, problem("configuration", "settings", str(error), "correct it")),
        )
    facts: dict[str, Any] = {}
    with asked(timeout=max(1, round(settings.timeout_seconds / 2))):
        found += list(_of_store(settings, root, facts))
    return Checkup(_told(settings, root), tools, facts, tuple(found))


def _of_store(settings: Settings, root: Path, facts: dict[str, Any]) -> Iterator[CheckResult]:
    """Yield what is wrong from the store on; ``facts`` gets what is right."""
    client = None
    try:
        uri = uris.resolve_uri(settings, root)
        facts["uri"] = uris.without_password(uri)
        yield from _of_database(uri, facts)
        client = _client(settings, root, uri, facts)
        with translating_mlflow_errors():
            models, locks = list_models(client), all_locks(client)
    except LockstepError as error:
        facts.setdefault("reachable", client is not None)
        yield problem("store", facts.get("uri", "settings"), str(error))
        return
    except (
        OSError,
        ValueError,
        ImportError,
    ) as error:  # what answers is no MLflow, or a driver is missing
        yield problem(
            "store",
            facts["uri"],
            f"it cannot be used: {connection.one_line(error)}",
            "correct the address",
        )
        return
    facts |= {
        "reachable": True,
        "models": len(models),
        "versions": sum(len(m.versions) for m in models),
    }
    yield from of_locks(locks)
    moving = {lock.name for lock in locks if not abandoned(lock)}
    for model in models:
        yield from of_model(model, model.name in moving)
    yield from of_workspace(settings, root, models)
    yield from of_files(client, models, facts)


# ---------------------------------------------------------------- settings and tools


def _told(settings: Settings, root: Path) -> tuple[tuple[str, str, str], ...]:
    """Return every setting with its value and source; of credentials only the user."""
    names = [f.name for f in fields(settings) if f.name not in ("environment", "sources")]
    values = {name: getattr(settings, name) for name in names}
    values["tracking_uri"] = values["tracking_uri"] or f"sqlite:///{uris.DATABASE}"
    rows = [(name, _shown(value), settings.source_of(name)) for name, value in values.items()]
    user = environment(root).get("MLFLOW_TRACKING_USERNAME")
    return (*rows, ("tracking_username", user.value, user.source)) if user else tuple(rows)


def _shown(value: Any) -> str:
    return "" if value is None else uris.without_password(str(value))


def _tools(root: Path) -> tuple[dict[str, str], list[CheckResult]]:
    """Return the versions of the tools, and those that are not the lock file's."""
    lock = root / "requirements.lock"
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^\s;\\]+)", text, re.MULTILINE))
    versions, found = {"python": platform.python_version()}, []
    for tool, package in TOOLS.items():
        versions[tool] = _installed(package)
        wanted = locked.get(package)
        if wanted and versions[tool] != wanted:
            fault = f"{versions[tool]} is installed, {lock.name} has {wanted}"
            found.append(problem("tools", tool, fault, "run `make env`"))
    return versions, found


def _installed(package: str) -> str:
    try:
        return installed(package)
    except PackageNotFoundError:
        return "none"


# ---------------------------------------------------------------- the store


def _of_database(uri: str, facts: dict[str, Any]) -> Iterator[CheckResult]:
    """Yield what is wrong with a database before MLflow opens it; RegistryError where it must not."""
    path = Path(uri.removeprefix("sqlite:///"))
    if uris.is_http(uri):
        return
    if uri.startswith("sqlite:///"):
        if not path.is_file() or not path.stat().st_size:
            state = "is empty (0 bytes)" if path.is_file() else "is missing"
            raise RegistryError(
                f"no registry yet: {path} {state}; run `make run-train`, or `dvc repro register` for models that "
                "are trained"
            )
        local_database.check_sqlite(path)
        yield from (_moved(path, old) for old in local_database.moved_from(path))
    has, wants = _schema(uri), _newest_schema()
    facts["schema"] = has
    if has != wants:
        raise RegistryError(
            f"its schema is {has}, the installed MLflow's is {wants}; keep a copy and run "
            f"`mlflow db upgrade {uris.without_password(uri)}`, or `make env` if a newer MLflow wrote it"
        )


def _moved(database: Path, old: str) -> CheckResult:
    here = database.parent / uris.ARTIFACTS
    fault = f"its artifacts are recorded below {old}, and lie below {here}"
    did = "recorded their new place"
    return problem("moved clone", str(database), fault, f"{FIXED_BY}, or any other command", did)


def _schema(uri: str) -> str:
    """Return the revision of a database's tables; RegistryError where it cannot be read in time."""
    impatient = (
        {"connect_timeout": _DATABASE_SECONDS} if uri.startswith(("postgresql", "mysql")) else {}
    )
    try:
        engine = sqlalchemy.create_engine(
            uri, poolclass=sqlalchemy.NullPool, connect_args=impatient
        )
        with engine.connect() as connection:
            return str(
                connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            )
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = " ".join(str(error).split())[:200]
        raise RegistryError(
            f"it cannot be read ({reason}); start it, correct the address, or make its tables with "
            f"`mlflow db upgrade {uris.without_password(uri)}`"
        ) from error


def _newest_schema() -> str:
    """Return the revision that the installed MLflow's tables have; read as text, as importing them all takes long."""
    scripts = (Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions").glob("*.py")
    lines = [line for path in scripts for line in path.read_text(encoding="utf-8").splitlines()]
    named, before = (
        {
            name
            for line in lines
            if re.match(rf"{key}\b.*=", line)
            for name in re.findall(r"[\"'](\w+)[\"']", line)
        }
        for key in ("revision", "down_revision")
    )
    return " ".join(sorted(named - before))


def _client(settings: Settings, root: Path, uri: str, facts: dict[str, Any]) -> Client:
    """Return a client; the usual way to one would follow a moved workspace, which is for --fix."""
    if uri.startswith("sqlite:///") and local_database.moved_from(
        Path(uri.removeprefix("sqlite:///"))
    ):
        return Client(tracking_uri=uri)
    client = connection.connect(settings, root)
    if uris.is_http(uri):
        facts["server"] = connection.server_version(uri, settings)
    return client


# ---------------------------------------------------------------- the registry


def abandoned(lock: Lock) -> bool:
    """Tell whether a lock's owner is gone, or holds it for longer than any move takes."""
    return lock.dead or time.time() - lock.created / 1000 > ABANDONED


def of_locks(locks: Iterable[Lock]) -> Iterator[CheckResult]:
    """Yield the locks that nobody will let go."""
    for lock in locks:
        if abandoned(lock):
            why = "which is gone" if lock.dead else f"for more than {ABANDONED / 60:g} minutes"
            mend = f"{FIXED_BY}; the next move waits for it and breaks it too"
            yield problem(
                "abandoned lock",
                lock.name,
                f"it is held by {lock.told}, {why}",
                mend,
                "took the lock away",
            )


def of_model(model: Model, moving: bool = False) -> Iterator[CheckResult]:
    """Yield where a model's record is damaged or half-done, and where tags, aliases or mirror differ from it.

    While a move is under way half of it is written, which says nothing.
    """
    record = model.record
    for fault in record.faults:
        did = "took the tags' stages over into the record, on record"
        mend = f"look at `history --model-name {model.name}`, then {FIXED_BY} to go on from what stands"
        yield problem("damaged record", model.name, fault, mend, did)
    if moving:
        return
    for event in record.open:
        yield problem(
            "half-done move",
            model.name,
            _begun(event),
            f"{FIXED_BY}, or make the next move",
            "ended it",
        )
    unknown = [v.version for v in model.versions if v.recorded is None]
    if unknown:
        fault = f"{_versions(unknown)} not on record: registered without it, or by another tool"
        yield problem(
            "no record", model.name, fault, f"{FIXED_BY}, or make the next move", "took over"
        )
    for fault in disagreements(model):
        mend = f"{FIXED_BY}, or make the next move"
        yield problem("disagreement", model.name, fault, mend, "wrote what the record says")
    twice = [v.version for v in model.in_stage("Production")]
    if len(twice) > 1:
        fault = f"{_versions(twice)} in Production at once"
        yield problem(
            "two Productions", model.name, fault, FIXED_BY, "archived all but the alias's"
        )


def _begun(event: Event) -> str:
    return f"event {event.number} ({event.action}) by {event.who.actor} of {event.time} has begun and not ended"


def _versions(numbers: Sequence[int]) -> str:
    listed = ", ".join(map(str, numbers[:5])) + (
        f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    )
    return f"version {listed} is" if len(numbers) == 1 else f"versions {listed} are"


def disagreements(model: Model) -> Iterator[str]:
    """Yield where tags, MLflow's own stages and aliases are not what the record says."""
    for version in model.versions:
        if version.recorded is None:
            continue
        for place, told in (
            ("tag", version.tags.get(STAGE_TAG)),
            ("MLflow stage", version.mirrored),
        ):
            if told != version.stage:
                yield f"version {version.version} is in {version.stage} by the record, its {place} says {told}"
    wanted = aliases_of(model)
    for alias in ("production", "staging"):
        names, due = model.aliases.get(alias), wanted.get(alias)
        if names != due:
            yield f"alias {alias} names {_named(names)}; by the stages it is {_named(due)}"


def _named(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


def of_files(
    client: Client, models: Iterable[Model], facts: dict[str, Any]
) -> Iterator[CheckResult]:
    """Yield versions whose files are gone; those in use are looked at first, as far as time allows."""
    versions = [v for model in models for v in reversed(model.versions) if not v.pruned]
    versions.sort(key=lambda v: v.stage not in ("Production", "Staging"))
    end, looked = time.monotonic() + FILES_SECONDS, 0
    for version in versions:
        if time.monotonic() > end:
            break
        looked += 1
        if fault := _lost(client, version):
            mend = "put them back from a backup; a model of this workspace `dvc repro register` registers anew"
            yield problem("no files", f"{version.name} version {version.version}", fault, mend)
    facts["files_looked_for"] = f"{looked} of {len(versions)} versions"


def _lost(client: Client, version: Version) -> str:
    """Return what of a version's files is gone; empty where nothing is, or another machine's disk has them."""
    try:
        place = client.get_model_version_download_uri(version.name, str(version.version))
        if uris.is_http(client.tracking_uri) and place.startswith(("/", "file:")):
            return ""
        listed = sizes(client, version)
    except (ArtifactError, MlflowException) as error:
        return connection.one_line(error)
    if not listed:
        return f"there are none in {uris.without_password(place)}"
    return (
        ""
        if SKOPS in listed or not version.tag("model_digest")
        else f"{SKOPS} is gone from {place}"
    )


# ---------------------------------------------------------------- the workspace


def of_workspace(settings: Settings, root: Path, models: Sequence[Model]) -> Iterator[CheckResult]:
    """Yield the trained models of this workspace that the registry has neither a version nor a refusal of."""
    try:
        trainings = (
            load_params(root).train.values() if settings.publish and settings.log_model else []
        )
    except LockstepError as error:
        yield problem("configuration", "params.yaml", str(error), "correct it")
        return
    known = {model.name: _digests(model) for model in models}
    for training in trainings:
        card = ProblemLayout(main_tree(root), training.problem).model_card(training.type)
        name = model_name(settings, training.problem, training.type)
        try:
            digest = read_json(card).get("model_digest") if card.is_file() else None
        except (LockstepError, AttributeError) as error:
            yield problem(
                "workspace",
                str(card),
                f"it cannot be read ({error})",
                "run `dvc checkout` or `dvc repro`",
            )
            continue
        if digest and digest not in known.get(name, set()):
            fault = f"the model {digest[:12]}… of this workspace is not registered"
            yield problem("not registered", name, fault, "run `dvc repro register`")


def _digests(model: Model) -> set[str]:
    """Return the digests of a model's versions, and of those whose registration was refused, on record."""
    registrations = (e for e in model.record.events if e.action == "register" and e.end is not None)
    refused = (
        e.details.get("model_digest") for e in registrations if e.end and e.end.outcome == "refused"
    )
    return {
        digest for digest in (*(v.tag("model_digest") for v in model.versions), *refused) if digest
    }
