"""The version that is watched, with its reference: as named, or the one that answered last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockstep.commands.monitor import MonitorOptions
from lockstep.config.serving import ServingSettings
from lockstep.errors import ArtifactError, DataError
from lockstep.io import read_json
from lockstep.monitoring.log_files import Key
from lockstep.monitoring.reference import Reference, read_reference
from lockstep.problems import words
from lockstep.problems.schema import Schema
from lockstep.registry.artifact.files import REFERENCE
from lockstep.registry.artifact.loading import card_of, schema_of
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.store.connection import Client
from lockstep.registry.store.json_tags import checked_tag
from lockstep.registry.store.names import NotRegistered
from lockstep.registry.store.versions import Version
from lockstep.serving.logged_rows import Notes, answered_by
from lockstep.serving.model_source import registered_name


@dataclass(frozen=True)
class Watched:
    """The version that answered, with its reference."""

    key: Key
    located: Located
    schema: Schema
    reference: Reference

    @property
    def classes(self) -> list[Any]:
        """The target's classes in their order; none for a regression."""
        return classes_in(self.located, self.schema)

    @property
    def threshold(self) -> float | None:
        """The threshold of the version itself."""
        return self.located.version.threshold

    @property
    def positive_weight(self) -> float | None:
        """What makes probabilities of scores; None if costs decide, not the most probable class."""
        version = self.located.version
        if version.tag("costs"):
            return None
        return float(checked_tag(version, "positive_weight") or 1.0)


def classes_in(located: Located, schema: Schema) -> list[Any]:
    """Return the classes of a version's target: a card lists them if there are more than two."""
    if schema.task == "binary":
        return list(schema.columns[schema.target].codes) or [0, 1]
    return list(card_of(located).get("classes", ()))


def decision_words(schema: Schema) -> list[str]:
    """Return what each decision is called; the last one is a person's."""
    return [*words.decision_words(schema), "review"]


def log_folder(serving: ServingSettings) -> Path:
    """Return the folder of the prediction log; DataError if there is none yet."""
    folder = serving.prediction_folder
    if folder is None or not folder.is_dir():
        where = "is off" if folder is None else f"{folder} is missing"
        raise DataError(
            f"the prediction log {where}; start the API with `make serve`, or give --input FILE"
        )
    return folder


def answering(client: Client, folder: Path, options: MonitorOptions, notes: Notes) -> Key:
    """Return the model to analyse: as named, else the one of the problem's that answered last.

    Answers of other problems, and of versions that are gone, are only counted.
    """
    answers = answered_by(folder, options.since, options.until, notes)
    fitting = fitting_models(client, answers, options)
    if not fitting:
        named = options.model_name or f"a version of {options.problem}"
        gone = [
            f"{key[0]} {key[1]}" for key in answers if key[1] and problem_of(client, key) is None
        ]
        also = f"; no longer in the registry: {', '.join(gone)}" if gone else ""
        raise DataError(f"the log holds no answer of {named} in this span{also}")
    chosen = max(fitting, key=lambda key: answers[key].last_ms)
    notes.others = Counter({key: one.rows for key, one in answers.items() if key != chosen})
    return chosen


def fitting_models(client: Client, models: Iterable[Key], options: MonitorOptions) -> list[Key]:
    """Return the registered models that the options mean, of those that answered."""
    return [
        key
        for key in models
        if key[1] is not None
        and (options.model_name is None or key[0] == options.model_name)
        and (options.version is None or key[1] == options.version)
        and (problem := problem_of(client, key)) is not None
        and (not options.problem or problem == options.problem)
    ]


def problem_of(client: Client, key: Key) -> str | None:
    """Return the problem of a version that answered; None if it is gone."""
    version = same_version(client, key)
    return None if version is None else version.tag("problem")


def same_version(client: Client, key: Key) -> Version | None:
    """Return the version that a log's key means; None if it is gone.

    A registry that was made anew counts from 1 again: there the number is another model's.
    """
    try:
        version = find_version(client, key[0], version=key[1])
    except NotRegistered:
        return None
    return version if key[2] in (None, version.tag("model_digest")) else None


def named_version(root: Path, serving: ServingSettings, options: MonitorOptions) -> Key:
    """Return the version that a table is scored with: as named, else the one in Production."""
    name = options.model_name or registered_name(replace(serving, problem=options.problem), root)
    return name, options.version, None


def watched_version(client: Client, root: Path, key: Key) -> Watched:
    """Return a version with its reference; ArtifactError for one that has none."""
    version = find_version(client, key[0], version=key[1])
    located = locate(client, version, root)
    path = located.folder / REFERENCE
    if not path.is_file():
        raise ArtifactError(
            f"{version.title} has no {REFERENCE}: it was registered before monitoring was there, "
            "or without its data; register it again, or retrain"
        )
    schema = schema_of(located)
    reference = read_reference(read_json(path), f"{version.title}: {REFERENCE}")
    return Watched(key, located, schema, reference)
