"""The source of the served model: a followed registry version, a fixed run, a file or a bundle."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockstep.audit.bundle_checks import MODEL_FOLDER, bundle_faults, version_of
from lockstep.config.layout import ProblemLayout
from lockstep.config.serving import ServingSettings
from lockstep.config.settings import DEFAULT_MODEL_TYPE, load_settings
from lockstep.errors import ArtifactError, ConfigError, LockstepError, RegistryError
from lockstep.io import read_json
from lockstep.models.scoring.prediction import Model
from lockstep.models.typical_record import CARD_KEY, typical_of_training
from lockstep.models.workspace import load_file
from lockstep.monitoring.feature_counts import (
    FeatureCounts,
    counts_of_reference,
    counts_of_training,
)
from lockstep.monitoring.reference import Reference, read_reference
from lockstep.problems.schema import Schema, load_schema
from lockstep.registry.artifact.files import REFERENCE
from lockstep.registry.artifact.loading import Located, card_of, open_folder, open_version
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.publishing.destinations import model_name
from lockstep.registry.record.registered_models import marks_of, newest_in
from lockstep.registry.store.connection import request_limits, store_errors
from lockstep.registry.store.names import NotRegistered
from lockstep.registry.store.opening import open_registry, open_to_read, source_of
from lockstep.registry.store.versions import Version
from lockstep.serving.loaded_model import CheckedModel, ServedModel, prepare
from lockstep.serving.openapi import STAGING
from lockstep.serving.staging_model import StagingModel
from lockstep.serving.version_identity import described, identity, identity_of

_RUN = re.compile(r"runs:/(?P<run>[0-9A-Za-z]+)(?:/model)?/?")
_VERSION = re.compile(r"models:/(?P<name>[^/@]+)/(?P<version>[1-9][0-9]*)")
_CARD_TAGS = ("score_scale", "positive_weight", "class_ratio", "schema_digest")
_RELEASE_TAGS = ("git_commit", "dirty", "data_digest", "data_dvc_hash")
_KNOWN = {"name", "version", "run_id", "git_commit"}
"""What names a released model."""
_PATIENCE_SECONDS = 2
_RETRY_SECONDS = 60.0
"""Time until a refused version is tried again: its files may have been repaired in place."""


@dataclass
class SourceState:
    """The state of a source besides its model; one thread sets each field, always as a whole."""

    error: str = ""
    refused: dict[str, Any] | None = None
    failures: int = 0
    reloads: int = 0
    asked: float = 0.0
    fallback: bool = False


class ModelSource:
    """Holds the model that answers, and runs the thread that replaces it."""

    def __init__(self, settings: ServingSettings, root: Path) -> None:
        self.settings, self.root = settings, root
        self.served: ServedModel | None = None
        self.state = SourceState()
        self._trying: Version | None = None
        self.registry = registry_source(settings, root)
        self.staging = _staging_of(self.registry, settings, root)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> ServedModel:
        """Load the first model; LockstepError if neither registry nor file has one."""
        if self.registry is None:
            self.served = self._prepared_path()
            return self.served
        try:
            self.served = self._take(self.registry.find())
        except LockstepError as error:
            if self._is_permanent(error):
                raise
            self._failed(error)
            try:
                self.served = self._prepared_path()
            except LockstepError as second:
                more = f"there is no other model to serve meanwhile: {second}"
                raise type(error)(f"{error}; and {more}") from error
            self.state.fallback = True
        return self.served

    def _prepared_path(self) -> ServedModel:
        ask = not self.state.error  # a registry that has just failed is not asked again
        return prepare(open_path(self.settings, self.root, ask), self.settings)

    def _is_permanent(self, error: LockstepError) -> bool:
        """Tell whether waiting can't help: a malformed address, an unknown model by name."""
        named = self.settings.model_uri or self.settings.model_name
        malformed = isinstance(error, ConfigError) and self._trying is None
        return malformed or (isinstance(error, NotRegistered) and named is not None)

    def follow(self) -> None:
        """Watch the registry in a thread; a file, or a fixed run that is loaded, never changes."""
        fixed = self.registry is None or (self.registry.kind == "fixed" and not self.state.fallback)
        if not fixed:
            self._thread = threading.Thread(
                target=self._watch, name="follow the registry", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the thread; a load under way ends with the process."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=1)

    def health(self) -> dict[str, Any]:
        """Return what /health reports about the source."""
        state = self.state
        report: dict[str, Any] = {
            "wanted": "path" if self.registry is None else self.registry.kind,
            "served_from": self.served and self.served.checked.source,
        }
        if self.registry is not None:
            seconds = round(time.monotonic() - state.asked, 1) if state.asked else None
            report |= {"registry_reachable": not state.error, "seconds_since_asked": seconds}
        if self.registry is not None and self.staging is not None:
            report["staging"] = self.registry.staging
        if state.fallback:
            report["fallback"] = "serving MODEL_PATH until the registry gives a model"
        if state.error:
            report["registry_error"] = state.error
        if state.refused:
            report["refused"] = state.refused
        return report

    @property
    def fault(self) -> str:
        """Why another model is served than wanted; empty if nothing is wrong."""
        return self.state.error or str((self.state.refused or {}).get("reason", ""))

    @property
    def degraded(self) -> bool:
        """Whether another model is served than wanted."""
        return bool(self.state.error or self.state.refused or self.state.fallback)

    def _watch(self) -> None:
        while not self._stop.wait(self.settings.poll_seconds):
            self.look()
            if self.staging is not None:
                self.staging.unload_idle()

    def look(self) -> None:
        """Ask the registry once; serve the version that was moved to Production, if any."""
        assert self.registry is not None
        self._trying = None
        try:
            version = self.registry.find_moved(bool(self.state.error) or _due(self.state.refused))
            self.state.error, self.state.asked = "", time.monotonic()
            if version is None or self._is_settled(version):
                return
            self.served = self._take(version)
            self.state.reloads += 1
            self.state.fallback = False
        except RegistryError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001  a model's own code can raise anything; the old one goes on
            self._refuse(error)

    def _is_settled(self, version: Version) -> bool:
        """Tell whether a version is served already, or was refused and is unchanged since."""
        served, refused, key = self.served, self.state.refused, identity_of(version)
        served_key = served and identity(served.checked.place, served.checked.tags)
        if key == served_key and not self.state.fallback:
            self.state.refused = None
            return True
        return refused is not None and refused["key"] == key and not _due(refused)

    def _take(self, version: Version) -> ServedModel:
        assert self.registry is not None
        self._trying = version
        previous = None if self.state.fallback else self.served
        served = prepare(self.registry.open(version), self.settings, previous)
        self.state.refused, self.state.error, self.state.asked = None, "", time.monotonic()
        return served

    def _failed(self, error: LockstepError) -> None:
        """Record that the registry is unreachable, or has nothing to serve."""
        assert self.registry is not None
        if isinstance(error, ArtifactError | ConfigError):
            self._refuse(error)
            return
        if not self.state.error:
            self.state.failures += 1
        self.state.error, self.state.asked = str(error), time.monotonic()
        self.registry.forget()

    def _refuse(self, error: Exception) -> None:
        """Record that a version failed its checks; it is retried when it changes, or later."""
        version, known = self._trying, isinstance(error, LockstepError)
        self.state.failures += 1
        self.state.refused = {
            "version": None if version is None else version.version,
            "reason": str(error) if known else f"{type(error).__name__}: {error}",
            "key": "" if version is None else identity_of(version),
            "at": time.time(),
        }


def _due(refused: dict[str, Any] | None) -> bool:
    """Tell whether there is a refused version that is to be tried again."""
    return refused is not None and bool(time.time() - refused["at"] > _RETRY_SECONDS)


class RegistrySource:
    """The version that is wanted from a registry, and how to open it."""

    def __init__(
        self, root: Path, find: Callable[[Any], Version], kind: str, name: str | None
    ) -> None:
        self.root, self.kind, self.name = root, kind, name
        self._find = find
        self._reader: Any = None
        self._marks: Any = None

    def find(self) -> Version:
        """Return the version that is wanted now."""
        self._reader = self._reader or open_to_read(self.root)
        marks = marks_of(self._reader, self.name) if self.name else None
        found = self._find(self._reader)
        self._marks = marks
        return found

    def find_moved(self, always: bool) -> Version | None:
        """Return the wanted version; None while the model's tags and aliases are unchanged."""
        if self._reader is None or self._marks is None or always:
            return self.find()
        marks = marks_of(self._reader, self.name or "")
        return None if marks == self._marks else self.find()

    def open(self, version: Version) -> CheckedModel:
        """Fetch a version and check it: digest, allowed types, golden rows."""
        located = locate(open_registry(self.root), version, self.root)
        model = open_version(located)
        card = card_of(located)
        typical = _typical_record(model, card, self.root)
        counts = _feature_counts(located.folder, model.schema, card, self.root)
        return CheckedModel(model, "registry", *described(version), typical, counts)

    @property
    def staging(self) -> int | None:
        """The version in Staging at the last look; None if there was none."""
        marks = self._marks  # read once: another thread may forget them meanwhile
        return None if marks is None else marks[1].get("staging")

    def forget(self) -> None:
        """Reopen the registry at the next look."""
        self._reader = self._marks = None


def _staging_of(
    followed: RegistrySource | None, settings: ServingSettings, root: Path
) -> StagingModel | None:
    """Return what answers with the version in Staging; None unless Production is followed."""
    if followed is None or followed.kind == "fixed":
        return None
    staging = registry_source(settings, root, STAGING)
    return None if staging is None else StagingModel(staging, settings)


def registry_source(
    settings: ServingSettings, root: Path, stage: str = "Production"
) -> RegistrySource | None:
    """Return the wanted version of the registry; None if no setting names a registry."""
    if settings.model_uri is not None:
        return RegistrySource(root, _fixed(settings, root), "fixed", None)
    shadowed = settings.shadow and settings.model_path is None  # a challenger needs a registry
    if settings.tracking_uri is None and settings.model_name is None and not shadowed:
        return None
    name = settings.model_name or registered_name(settings, root)
    return RegistrySource(
        root, lambda reader: newest_in(reader, name, stage)[1], stage.lower(), name
    )


def _fixed(settings: ServingSettings, root: Path) -> Callable[[Any], Version]:
    """Return what finds the version of MODEL_URI=runs:/ID/model or models:/NAME/VERSION."""
    uri = str(settings.model_uri)
    if run := _RUN.fullmatch(uri):
        return lambda _: find_version(open_registry(root), run_id=run["run"])
    if one := _VERSION.fullmatch(uri):
        return lambda _: find_version(open_registry(root), one["name"], version=int(one["version"]))
    given = f"MODEL_URI={uri} (from {settings.source_of('model_uri')})"
    raise ConfigError(f"{given} is neither runs:/ID/model nor models:/NAME/VERSION")


def registered_name(settings: ServingSettings, root: Path) -> str:
    """Return the problem's registered model; if each type has its own, the champion's."""
    champion = champion_type(root, settings.problem) or DEFAULT_MODEL_TYPE
    return model_name(load_settings(root), settings.problem, champion)


def champion_type(root: Path, problem: str) -> str | None:
    """Return the model type that won the workspace's last comparison; None without one."""
    file = ProblemLayout(root, problem).champion
    return str(read_json(file)["type"]) if file.is_file() else None


def open_path(settings: ServingSettings, root: Path, ask: bool = True) -> CheckedModel:
    """Open MODEL_PATH: an exported bundle, or a model file with its card beside it.

    With ``ask`` the registry names the version of a file whose card does not.
    """
    path = model_path(settings, root)
    found = path if path.exists() else root / path
    if (found / "bundle.json").is_file():
        return _open_bundle(found, root)
    model = load_file(path, root)
    card = read_json(found.resolve().with_suffix(".json"))
    release = card.get("release", {})
    facts = {key: card.get(key) for key in _CARD_TAGS}
    facts |= {key: release.get(key) for key in _RELEASE_TAGS}
    if ask and not release.keys() >= _KNOWN and (known := _version_of_file(model, root)):
        model = replace(model, name=known.name, version=known.version, run_id=known.run_id)
        facts |= {key: known.tag(key) for key in _RELEASE_TAGS}
    tags = {key: str(value) for key, value in facts.items() if value is not None}
    typical = _typical_record(model, card, root)
    counts = _feature_counts(None, model.schema, card, root)
    return CheckedModel(model, "path", str(path), tags, typical, counts)


def _typical_record(model: Model, card: Mapping[str, Any], root: Path) -> Any:
    """Return the typical record of a card, else that of the model's rows in this workspace."""
    if (kept := card.get(CARD_KEY)) is not None:
        return kept
    return typical_of_training(ProblemLayout(root, model.schema.name), model.schema, card)


def _feature_counts(
    folder: Path | None, schema: Schema, card: Mapping[str, Any], root: Path
) -> Callable[[], FeatureCounts | None]:
    """Return what counts a model's features: by its reference, else by this workspace's rows."""
    reference = None if folder is None else _reference(folder / REFERENCE, schema)
    if reference is not None:
        known = counts_of_reference(reference)
        return lambda: known
    return lambda: counts_of_training(ProblemLayout(root, schema.name), schema, card)


def _reference(file: Path, schema: Schema) -> Reference | None:
    """Return the reference of a version; None without one, or with a damaged one.

    No answer needs it: monitoring refuses a damaged one, and the page says that it knows none.
    """
    try:
        found = read_reference(read_json(file), str(file)) if file.is_file() else None
    except LockstepError:
        return None
    return found if found is not None and {*found.features} == {*schema.feature_names} else None


def _version_of_file(model: Model, root: Path) -> Version | None:
    """Return the newest version of a file's model and threshold; None if no registry knows it.

    A file is served without a registry too, so one that fails or is slow only leaves this out.
    """
    try:
        name = model_name(load_settings(root), model.schema.name, str(model.type))
        with request_limits(timeout=_PATIENCE_SECONDS):
            found = source_of(open_to_read(root)).versions(name)
    except store_errors(LockstepError, OSError):
        return None
    same = (v for v in found if v.tag("model_digest") == model.digest)
    alike = (v for v in same if v.threshold == model.threshold)
    return max(alike, key=lambda v: v.version, default=None)


def model_path(settings: ServingSettings, root: Path) -> Path:
    """Return MODEL_PATH, else the problem's released model, else its champion in this workspace."""
    if settings.model_path is not None:
        return Path(settings.model_path).expanduser()
    problem = load_schema(settings.problem).name
    released = Path("models") / problem / "production.pkl"
    if (root / released).exists():
        return released
    champion = champion_type(root, problem)
    if champion is None:
        fix = f"or make one with `make run-train PROBLEM={problem}`"
        raise ConfigError(
            f"no model of {problem} here: set MODEL_PATH or MLFLOW_TRACKING_URI, {fix}"
        )
    return ProblemLayout(root, problem).model(champion).relative_to(root)


def _open_bundle(folder: Path, root: Path) -> CheckedModel:
    """Open an exported bundle: check every file by its sum, then load it as any artifact."""
    if faults := bundle_faults(folder):
        listed = "; ".join(faults[:5])
        fault = f"{folder} is not the bundle that was exported: {listed}"
        raise ArtifactError(f"{fault}; export it again")
    version = version_of(folder)
    located = Located(version, folder / MODEL_FOLDER)
    model = open_folder(located)
    card = card_of(located)
    typical = _typical_record(model, card, root)
    counts = _feature_counts(located.folder, model.schema, card, root)
    return CheckedModel(model, "bundle", str(folder), described(version)[1], typical, counts)
