"""Earlier versions for the registration policy: from a cache, else from their artifacts.

The cache was computed from an artifact that had passed all its checks, and is found by the digests
that the version carries. So it is what the registered model scores, whatever became of its files
since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lockstep.decision.decision_rule import DecisionRule
from lockstep.errors import ArtifactError
from lockstep.evaluation.scored_rows import Scored
from lockstep.io import sha256_json
from lockstep.problems.schema import Schema
from lockstep.promotion.holdout import Holdout, kept_scores, scored, seen_by
from lockstep.promotion.scoring import scored_from
from lockstep.registry.artifact.disk_cache import read_cached, write_cached
from lockstep.registry.artifact.loading import costs_of, open_version, schema_of
from lockstep.registry.artifact.locating import locate
from lockstep.registry.artifact.training_rows import (
    TrainingRows,
    cache_training_rows,
    cached_training_rows,
)
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version

CACHE = Path(".lockstep") / "cache" / "facts"
MOST_BYTES = 8 * 2**20
"""The size of this cache."""


@dataclass(frozen=True)
class Facts:
    """What a model reads and predicts.

    ``classes`` are a multiclass model's labels, once opened. ``numbers`` are the features that hold
    numbers; facts of an earlier code don't say.
    """

    task: str
    features: list[str]
    classes: list[str]
    numbers: list[str] | None = None


def distinct(versions: Sequence[Version]) -> list[Version]:
    """Return the versions, of those with the same model the newest that has its files."""
    found: dict[str, Version] = {}
    for version in versions:
        key = version.tag("model_digest") or f"version {version.version}"
        if version.pruned is None or key not in found or found[key].pruned is not None:
            found[key] = version
    return list(found.values())


def unfit(client: Client, root: Path, version: Version, schema: Schema) -> str:
    """Return why a version can't score rows of today's schema; empty where it can."""
    if version.pruned is not None:
        return "its files were pruned"
    try:
        facts = _facts(client, root, version)
    except ArtifactError:  # damaged, or another tool's
        return "its files are damaged or missing"
    if facts.task != schema.task:
        return f"it is a model for {facts.task}"
    missing = [name for name in facts.features if name not in schema.columns]
    if missing:
        return f"it reads {', '.join(missing[:3])}, which the schema lacks"
    return "" if facts.numbers is None else _of_another_kind(facts.features, facts.numbers, schema)


def _of_another_kind(features: Sequence[str], numbers: Sequence[str], schema: Schema) -> str:
    for name in features:
        if schema.columns[name].holds_numbers != (name in numbers):
            kinds = ("numbers", "texts") if name in numbers else ("texts", "numbers")
            return f"it reads {kinds[0]} in {name}, which holds {kinds[1]} now"
    return ""


def seen_of(client: Client, root: Path, version: Version) -> TrainingRows:
    """Return the groups a version has seen: this workspace's cache, else ``holdout.seen_by``."""
    digest = version.tag("seen_digest")
    seen = cached_training_rows(root, digest) if digest else None
    if seen is None:
        seen = seen_by(client, version, root)
        cache_training_rows(root, seen)
    return seen


def scores_of(client: Client, root: Path, version: Version, rows: Holdout) -> Scored:
    """Return rows with a version's scores, cached or computed; ArtifactError if it can't load."""
    digest, facts = str(version.tag("model_digest")), _kept_facts(root, version)
    scores = kept_scores(digest, rows, root) if facts else None
    if facts is not None and scores is not None:
        costs = costs_of(version)
        rule = DecisionRule(facts.task, version.threshold, facts.classes, costs)
        return scored_from(rule, scores, rows.target, rows.classes)
    model = open_version(locate(client, version, root))
    found = scored(model, digest, rows, root)
    labels = model.classes if model.schema.task == "multiclass" else []
    content = json.dumps(asdict(_facts_of(model.schema, labels)))
    write_cached(_place(root, version), content.encode(), MOST_BYTES)
    return found


def _facts(client: Client, root: Path, version: Version) -> Facts:
    """Return what a version reads: cached, if its seen groups are too, else by its artifact."""
    digest, facts = version.tag("seen_digest"), _kept_facts(root, version)
    if facts is not None and (digest is None or cached_training_rows(root, digest) is not None):
        if facts.numbers is None:
            with suppress(ArtifactError):  # its files may be gone, and the facts are still true
                return _facts_of(schema_of(locate(client, version, root)), facts.classes)
        return facts
    return _facts_of(schema_of(locate(client, version, root)))


def _facts_of(schema: Schema, classes: Sequence[Any] = ()) -> Facts:
    numbers = [column.name for column in schema.features if column.holds_numbers]
    return Facts(schema.task, schema.feature_names, [str(label) for label in classes], numbers)


def _kept_facts(root: Path, version: Version) -> Facts | None:
    """Return the cached facts of a version; None where there are none, or they are damaged."""
    content = read_cached(_place(root, version))
    try:
        return None if content is None else Facts(**json.loads(content))
    except (ValueError, TypeError):
        return None


def _place(root: Path, version: Version) -> Path:
    digest = sha256_json([version.tag("model_digest"), version.tag("schema_digest")])
    return root / CACHE / f"{digest}.json"
