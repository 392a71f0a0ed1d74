"""The best Production model of a problem, over all its types, by scores on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.config.gates import gates_of
from lockstep.config.params import load_params
from lockstep.config.settings import load_settings
from lockstep.errors import DataError, RegistryError
from lockstep.evaluation.metrics import best_of, evaluate
from lockstep.promotion.holdout import check_enough, holdout, scored
from lockstep.promotion.scoring import check_finite
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
    are compared. Otherwise each model scores this workspace's rows that none of them has seen.
    Of equal scores the first by name wins.
    """
    metric = load_params(root).problem(problem).compare.metric
    versions = production_versions(client, problem)
    if len(versions) == 1:
        return Best(versions[0], f"the only one of {problem} in Production")
    scores, how = recorded_scores(versions, metric), "recorded on the same rows"
    if scores is None:
        scores, rows = rescore(client, root, problem, versions, metric)
        again = f"scored again on {rows:,} rows of this workspace that none of them has seen"
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
    """Return every version's score on the rows here that none of them has seen, and their number.

    RegistryError where such rows are unknown, or too few.
    """
    try:
        rows = holdout(client, root, problem, versions)
        check_enough(rows, gates_of(load_settings(root).gates, problem))
        models = [open_version(locate(client, version, root)) for version in versions]
        found = [
            evaluate(check_finite(scored(model, str(model.digest), rows, root), model))
            for model in models
        ]
    except (RegistryError, DataError) as error:
        names = ", ".join(f"{v.name} {v.version}" for v in versions)
        raise RegistryError(
            f"{names} were scored on different rows, and can't be scored on the same ones: "
            f"{error}; or name one with --model-name"
        ) from error
    return [one[metric] for one in found], len(rows.target)
