"""What the registry holds, as plain values: models, their versions, and the names to find them by."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.errors import RegistryError, UsageError, nearest, unknown
from lockstep.registry.cli import check_plain, visible
from lockstep.registry.record.events import Record, read_record
from lockstep.registry.store.sql_tables import Tables, local_tables

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lockstep.config.settings import Settings

    Registry = MlflowClient | Tables
    Client = MlflowClient

STAGES = ("None", "Staging", "Production", "Archived")
"""Where a version can stand; its stage IS the tag of this name, MLflow's own stages are never read."""
STAGE_TAG = "lockstep.stage"
TAG_PREFIX = "lockstep."
PRUNED_TAG = "lockstep.pruned"
"""A version's tag with the number of the event that deleted its files (prune.py)."""
LOCK_PREFIX = "lockstep.lock."
"""Registered models of this name are locks on others (locking.py)."""
LONGEST_NAME = 200
"""Characters of a registered model's name: a database column of MLflow's takes 256, and its lock's name is longer."""
LONGEST_SHOWN = 60
PAGE = 200
SCRIPT = "python scripts/manage_model_registry.py"


class NotRegistered(RegistryError):
    """The registry answers, and holds no such model, version or run."""


@dataclass(frozen=True)
class Version:
    """One registered version."""

    name: str
    version: int
    created: int = field(metadata={"unit": "ms since 1970, UTC"})
    run_id: str | None
    source: str
    mirrored: str = field(
        metadata={"note": "MLflow's own stage; only ever compared to mend the mirror"}
    )
    tags: dict[str, str]
    recorded: str | None = field(
        default=None, metadata={"note": "what the model's record says of its stage"}
    )

    @property
    def stage(self) -> str:
        """The version's stage: by the record, else its tag; one with neither, or another word, stands in None."""
        told = self.recorded or self.tags.get(STAGE_TAG, "None")
        return told if told in STAGES else "None"

    def tag(self, key: str) -> str | None:
        """Return the value of the tag lockstep.KEY, if it was written."""
        return self.tags.get(TAG_PREFIX + key)

    @property
    def scores(self) -> dict[str, float]:
        """The metrics recorded when it was published, as ``validation_roc_auc``, by name."""
        parts = ("validation_", "test_")
        found = {
            key.removeprefix(TAG_PREFIX): number(value) for key, value in sorted(self.tags.items())
        }
        return {
            key: value
            for key, value in found.items()
            if value is not None and key.startswith(parts)
        }

    @property
    def threshold(self) -> float | None:
        """The decision threshold recorded with it."""
        return number(self.tag("threshold"))

    @property
    def pruned(self) -> str | None:
        """The number of the event that deleted its files; None while it has them."""
        return self.tags.get(PRUNED_TAG)

    @property
    def dirty(self) -> bool | None:
        """Whether a declared input differed from the commit; None where nobody recorded it."""
        return was_dirty(self.tag("dirty"))


def was_dirty(told: str | None) -> bool | None:
    """Return what a tag ``dirty`` says; None for ``unknown``, and where there is none."""
    return {"true": True, "false": False}.get(told or "")


@dataclass(frozen=True)
class Model:
    """One registered model with all its versions, the oldest first."""

    name: str
    versions: tuple[Version, ...]
    aliases: dict[str, int]
    record: Record = field(default_factory=Record)

    @property
    def newest(self) -> Version:
        """The version with the highest number."""
        if not self.versions:
            raise RegistryError(f"{self.name} has no version yet; run `make run-train` to make one")
        return self.versions[-1]

    def in_stage(self, stage: str) -> tuple[Version, ...]:
        """Return the versions in a stage, the oldest first."""
        return tuple(v for v in self.versions if v.stage == stage)

    def version(self, number: int) -> Version:
        """Return one version; an unknown number is an error that lists those there are."""
        found = next((v for v in self.versions if v.version == number), None)
        if found is None:
            there = ", ".join(str(v.version) for v in self.versions[-10:]) or "none"
            more = "…, " if len(self.versions) > 10 else ""
            raise NotRegistered(f"{self.name} has no version {number}; there are: {more}{there}")
        return found

    def newest_in(self, stage: str) -> Version:
        """Return the newest version in a stage; an empty stage is an error that says how to fill it."""
        found = self.in_stage(stage)
        if not found:
            stands = ", ".join(f"{v.version} ({v.stage})" for v in self.versions[-10:]) or "none"
            command = f"{SCRIPT} transition --model-name {self.name} --version N --stage {stage}"
            raise RegistryError(
                f"{self.name} has no version in {stage}; versions: {stands}; move one: {command}"
            )
        return found[-1]


def check_has_files(version: Version, stage: str) -> None:
    """Raise a RegistryError for a version whose files were pruned, where ``stage`` is one that is loaded from."""
    if version.pruned is not None and stage in ("Staging", "Production"):
        raise RegistryError(f"{pruned_line(version)}; it cannot go to {stage}")


def pruned_line(version: Version) -> str:
    """Say that a version's files were pruned, and how to have the model again."""
    return (
        f"the files of {version.name} version {version.version} were pruned (event {version.pruned}); rebuild it: "
        f"{SCRIPT} reproduce --model-name {version.name} --version {version.version}"
    )


def number(text: str | None) -> float | None:
    """Return the number a tag holds; None where it holds none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def open_registry(root: Path, tracking_uri: str | None = None) -> MlflowClient:
    """Connect to the configured registry; one that was never made is an error that says how to make it."""
    from lockstep.registry.store.client import connect

    settings, _ = _configured(root, tracking_uri)
    return connect(settings, root)


def open_to_read(root: Path, tracking_uri: str | None = None) -> Registry:
    """Open the configured registry for who only looks: a local one as its tables, at a tenth of the time."""
    from lockstep.registry.store.client import connect, main_tree, prepare_sqlite

    settings, database = _configured(root, tracking_uri)
    if database is None:
        return connect(settings, root)
    prepare_sqlite(database, main_tree(root))
    return local_tables(database) or connect(settings, root)


def _configured(root: Path, tracking_uri: str | None) -> tuple[Settings, Path | None]:
    """Return the settings and, where the registry is a local one, the file of its database, which must be there."""
    from lockstep.config.settings import load_settings
    from lockstep.registry.store.client import resolve_uri

    settings = load_settings(root, {"tracking_uri": tracking_uri})
    uri = resolve_uri(settings, root)
    if not uri.startswith("sqlite:///"):
        return settings, None
    database = Path(uri.removeprefix("sqlite:///"))
    if not database.is_file():
        source = settings.source_of("tracking_uri")
        raise RegistryError(
            f"no registry yet: {database} is missing (tracking URI from {source});"
            " run `make run-train` to make it, or set MLFLOW_TRACKING_URI"
        )
    return settings, database


def check_stage(stage: str) -> str:
    """Return ``stage`` when it is one; else say which was meant (stages are case-sensitive)."""
    if stage not in STAGES:
        raise UsageError(unknown("stage", shortened(stage), STAGES))
    return stage


def check_version(text: str | int) -> int:
    """Return a version's number; ``latest``, 0 and text are errors that name the fix."""
    if not re.fullmatch(r"0*[1-9][0-9]{0,17}", str(text)):
        raise UsageError(
            f"version '{shortened(str(text))}' is no version number; give a whole number from 1 up, see list-versions"
        )
    return int(text)


def check_name(name: str) -> str:
    """Return ``name`` when a registered model can have it; else say what is wrong with it."""
    check_plain("the model name", name)
    if (
        not name.strip()
        or set("/:") & set(name)
        or len(name) > LONGEST_NAME
        or name.startswith(LOCK_PREFIX)
    ):
        raise UsageError(
            f"'{shortened(name)}' is no registered model's name: those are of 1 to {LONGEST_NAME} characters without "
            "'/' and ':'; list-models shows all there are"
        )
    return name


def shortened(text: str) -> str:
    """Return text as an error's line can show it: control characters spelt out, cut off where it is long."""
    return visible(text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…")


@contextmanager
def registry_speaks() -> Iterator[None]:
    """Turn a refusal of MLflow into one line of ours."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        from lockstep.registry.store.client import meaning_of

        if meaning := meaning_of(error):
            raise RegistryError(f"the registry refused: {meaning}") from error
        line = visible(" ".join(str(error).split()))
        shown = line if len(line) < 300 else line[:300] + "…"
        fix = "check MLFLOW_TRACKING_URI and the server, then run the command again"
        raise RegistryError(f"the registry refused: {shown}; {fix}") from error


def model_names(client: Registry) -> list[str]:
    """Return the names of all registered models, sorted."""
    return sorted(entry.name for entry in _entries(client))


def list_models(client: Registry) -> list[Model]:
    """Return every registered model with its versions, by name; two queries in all."""
    entries = _entries(client)
    versions: dict[str, list[Version]] = {entry.name: [] for entry in entries}
    for raw in _source(client).versions():
        versions.setdefault(raw.name, []).append(version_from(raw))
    models = (_model(entry, read_record(entry.tags), versions[entry.name]) for entry in entries)
    return sorted(models, key=lambda m: m.name)


def get_model(client: Registry, name: str, stage: str | None = None) -> Model:
    """Return one registered model; an unknown name is an error with the nearest known one.

    With ``stage`` only the versions in it, by the record or (where it does not know them) by their tag: of a model
    with many versions that is much faster.
    """
    entry, source = _entry(client, name), _source(client)
    record = read_record(entry.tags)
    found = source.versions(name, None if stage is None else (STAGE_TAG, stage))
    if stage is not None:
        there = {int(raw.version) for raw in found}
        lacking = [n for n, at in record.stages.items() if at == stage and n not in there]
        found = [*found, *(raw for number in lacking for raw in source.version(name, number))]
    model = _model(entry, record, [version_from(raw) for raw in found])
    return model if stage is None else replace(model, versions=model.in_stage(stage))


def newest_in(client: Registry, name: str, stage: str) -> tuple[Model, Version]:
    """Return a model and its newest version in a stage, without reading the versions in others."""
    few = get_model(client, name, stage) if stage != "None" else None
    model = few if few and few.versions else get_model(client, name)
    return model, model.newest_in(stage)


def get_record(client: Registry, name: str) -> Record:
    """Return the record of one registered model, without its versions."""
    return read_record(_entry(client, name).tags)


def marks_of(client: Registry, name: str) -> tuple[dict[str, str], dict[str, int]]:
    """Return a model's tags and aliases as they are: while both stay the same, no version of it was moved."""
    entry = _entry(client, name)
    return dict(entry.tags), {str(alias): int(number) for alias, number in entry.aliases.items()}


def _entry(client: Registry, name: str) -> Any:
    """Return the registry's entry of a model; an unknown name is an error with the nearest known one."""
    found = _source(client).entries(name)
    if not found:
        raise NotRegistered(_no_model(name, model_names(client)))
    return found[0]


def versions_of_run(client: MlflowClient, run_id: str) -> list[Version]:
    """Return the registered versions that a run made."""
    if not run_id.isalnum():
        raise UsageError(f"'{run_id}' is no run's id; list-versions shows the runs of a model")
    with registry_speaks():
        found = _pages(client.search_model_versions, filter_string=f"run_id = '{run_id}'")
        return [version_from(raw) for raw in found]


def _entries(client: Registry) -> list[Any]:
    """Return the registry's entries of models but for the locks among them."""
    return [entry for entry in _source(client).entries() if not entry.name.startswith(LOCK_PREFIX)]


def _source(client: Registry) -> Tables | _Asked:
    return client if isinstance(client, Tables) else _Asked(client)


@dataclass(frozen=True)
class _Asked:
    """MLflow's client, asked what ``Tables`` is asked."""

    client: MlflowClient

    def entries(self, name: str | None = None) -> list[Any]:
        """Return all registered models, or the one of a name."""
        with registry_speaks():
            if name is None:
                return list(_pages(self.client.search_registered_models))
            return _unless_missing(lambda: self.client.get_registered_model(name))

    def versions(self, name: str | None = None, tag: tuple[str, str] | None = None) -> list[Any]:
        """Return all versions, or those of a model, or of these those with a tag of that value."""
        words = [f"name = '{name}'"] if name else []
        words += [f"tags.`{tag[0]}` = '{tag[1]}'"] if tag else []
        query = {"filter_string": " AND ".join(words)} if words else {}
        with registry_speaks():
            return list(_pages(self.client.search_model_versions, **query))

    def version(self, name: str, number: int) -> list[Any]:
        """Return one version; nothing where somebody deleted it."""
        with registry_speaks():
            return _unless_missing(lambda: self.client.get_model_version(name, str(number)))


def _unless_missing(ask: Callable[[], Any]) -> list[Any]:
    """Return what MLflow answers, in a list; an empty one where it knows no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return [ask()]
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return []
        raise


def _no_model(name: str, known: list[str]) -> str:
    if not known:
        return f"the registry holds no model yet, so no '{name}'; run `make run-train` to make some"
    shown = [visible(one) for one in known]
    return (
        f"unknown model '{shortened(name)}'{nearest(name, shown)}; registered: {', '.join(shown)}"
    )


def _model(entry: Any, record: Record, versions: list[Version]) -> Model:
    aliases = {str(alias): int(number) for alias, number in sorted(entry.aliases.items())}
    stages = record.stages
    told = (replace(v, recorded=stages.get(v.version)) for v in versions)
    return Model(entry.name, tuple(sorted(told, key=lambda v: v.version)), aliases, record)


def version_from(raw: Any) -> Version:
    """Return MLflow's model version as plain values."""
    return Version(
        name=raw.name,
        version=int(raw.version),  # an int from sqlite, text from a server: "9" > "11"
        created=int(raw.creation_timestamp),
        run_id=raw.run_id or None,
        source=raw.source,
        mirrored=raw.current_stage or "None",
        tags=dict(raw.tags),
    )


def _pages(search: Callable[..., Any], **query: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token, **query)
        yield from page
        token = page.token
        if not token:
            return
