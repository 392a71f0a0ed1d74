"""The best Production model of a problem, over all its types, by scores on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from numpy.typing import NDArray

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import load_params
from lockstep.errors import RegistryError
from lockstep.evaluation.metrics import Scored, best_of, evaluate
from lockstep.features.matrix_columns import ROW, TARGET
from lockstep.io import read_json, read_parquet
from lockstep.models.scoring.prediction import Model
from lockstep.promotion.scoring import inputs_of, scored_from
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.locating import locate
from lockstep.registry.record.registered_models import list_in_stage, list_models
from lockstep.registry.store.names import SCRIPT
from lockstep.registry.store.versions import Version

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry


@dataclass(frozen=True)
class Best:
    """The best version and, in one line, how it was found."""

    version: Version
    reason: str


def best_production(client: Registry, root: Path, problem: str) -> Best:
    """Return the best of a problem's Production versions by the metric of its ``compare`` section.

    Where all versions were scored on the same rows at training (equal data digest), those scores
    are compared. Otherwise each model scores the rows that this workspace chooses champions by.
    Of equal scores the first by name wins.
    """
    metric = load_params(root).problem(problem).compare.metric
    versions = production_versions(client, problem)
    if len(versions) == 1:
        return Best(versions[0], f"the only one of {problem} in Production")
    scores, how = recorded_scores(versions, metric), "recorded on the same rows"
    if scores is None:
        scores, rows = rescore(client, root, problem, versions, metric)
        again = f"scored again on {rows} rows of this workspace"
        how = f"{again}, since they were trained on different data"
    best = best_of(dict(enumerate(scores)), metric)
    among = f"{len(versions)} in Production, {how}"
    return Best(versions[best], f"best {metric} {scores[best]:.4f} of {among}")


def production_versions(client: Registry, problem: str) -> list[Version]:
    """Return the versions of a problem that are in Production, by name."""
    standing = (v for model in list_in_stage(client, "Production") for v in model.versions)
    if found := [v for v in standing if v.tag("problem") == problem]:
        return found
    models = list_models(client)
    names = [m.name for m in models if any(v.tag("problem") == problem for v in m.versions)]
    if not names:
        fix = f"run `make run-train PROBLEM={problem}`"
        raise RegistryError(f"no model of {problem} is registered; {fix}")
    fix = f"promote one: {SCRIPT} promote --model-name {names[-1]}"
    raise RegistryError(f"no model of {problem} is in Production; {fix}")


def recorded_scores(versions: list[Version], metric: str) -> list[float] | None:
    """Return each version's validation score; None unless all were scored on the same rows."""
    rows = {v.tag("data_digest") for v in versions}
    scores = [v.scores.get(f"validation_{metric}") for v in versions]
    known = [score for score in scores if score is not None]
    return known if len(rows) == 1 and None not in rows and len(known) == len(versions) else None


def rescore(
    client: Registry, root: Path, problem: str, versions: list[Version], metric: str
) -> tuple[list[float], int]:
    """Return every version's score on the rows that choose champions here, and their number."""
    table, target = choose_rows(root, problem, versions)
    models = [open_version(locate(client, version, root)) for version in versions]
    several = any(model.schema.task == "multiclass" for model in models)
    classes = read_json(ProblemLayout(root, problem).label_encoder)["classes"] if several else []
    return [score_on(model, table, target, metric, classes) for model in models], len(target)


def choose_rows(
    root: Path, problem: str, versions: list[Version]
) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Return the raw rows of the part that chooses champions, and their target."""
    layout = ProblemLayout(root, problem)
    if not (layout.matrix("choose").is_file() and layout.tidy.is_file()):
        names = ", ".join(f"{v.name} {v.version}" for v in versions)
        raise RegistryError(
            f"{names} were scored on different rows, and this workspace has none to score them "
            f"again; run `dvc repro features@{problem}` (or `dvc pull`), or name one with "
            "--model-name"
        )
    chosen = read_parquet(layout.matrix("choose"), [ROW, TARGET])
    return read_parquet(layout.tidy).iloc[chosen[ROW].to_numpy()], chosen[TARGET].to_numpy()


def score_on(
    model: Model,
    table: pd.DataFrame,
    target: NDArray[Any],
    metric: str,
    classes: Sequence[Any] = (),
) -> float:
    """Return a model's metric on raw rows with a known target, places among ``classes``."""
    return evaluate(scored_by(model, inputs_of(model, table), target, classes))[metric]


def scored_by(
    model: Model, inputs: pd.DataFrame, target: NDArray[Any], classes: Sequence[Any]
) -> Scored:
    """Return rows with a model's scores, and of several classes its decisions."""
    return scored_from(model.decision_rule, model.score(inputs), target, classes)
