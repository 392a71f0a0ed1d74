"""Whether a version is the one to promote.

It must be the best of those trained on the same data, stable over its folds, with its run recorded
and with a way back. Every check returns whether that is so, and what it found, in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

from lockstep.checks import Answer
from lockstep.config.params import load_params
from lockstep.dvc.git import short
from lockstep.evaluation.metrics import better
from lockstep.promotion.gates import problem_of
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.locating import locate
from lockstep.registry.record.registered_models import Model, brought_back
from lockstep.registry.store.connection import Client, translating_mlflow_errors
from lockstep.registry.store.queries import active_run
from lockstep.registry.store.versions import Version

KS = "ks"
MOST_SPREAD = 0.05
"""Up to this standard deviation over the folds, as a share of their mean, a metric is stable."""


def winning(client: Client, root: Path, model: Model, version: Version) -> Answer:
    """Tell whether no version of the same data has a better metric or KS, and the folds agree."""
    metric = load_params(root).problem(problem_of(version)).compare.metric
    rivals = [v for v in model.versions if v.tag("data_digest") == version.tag("data_digest")]
    folds = folds_of(client, version, metric)
    answers = [best_of(version, rivals, metric), stable(metric, folds)]
    if f"validation_{KS}" in version.scores and metric != KS:
        spread = folds_of(client, version, KS)
        answers.insert(1, best_of(version, rivals, KS, stdev(spread) if len(spread) > 1 else 0.0))
    return all(passed for passed, _ in answers), "; ".join(message for _, message in answers)


def best_of(version: Version, rivals: Sequence[Version], metric: str, slack: float = 0.0) -> Answer:
    """Tell whether no rival's recorded metric is better than a version's by more than ``slack``."""
    name = f"validation_{metric}"
    own = version.scores.get(name)
    if own is None:
        return False, f"{name} was never recorded with the version"
    best = version
    for rival in rivals:
        if name in rival.scores and better(metric, rival.scores[name], best.scores[name]):
            best = rival
    gap = abs(best.scores[name] - own)
    if list(rivals) == [version]:
        return True, f"{name} {own:.4f}, of the only version trained on these data"
    if best is version:
        return True, f"{name} {own:.4f} is the best of {len(rivals)} versions trained on these data"
    message = f"{name} {own:.4f}, version {best.version} has {best.scores[name]:.4f}"
    return gap <= slack, f"{message}, within a fold's {slack:.4f}" if gap <= slack else message


def folds_of(client: Client, version: Version, metric: str) -> list[float]:
    """Return a metric fold by fold, as the version's run logged it; empty without folds."""
    if version.run_id is None:
        return []
    with translating_mlflow_errors():
        found = client.get_metric_history(version.run_id, f"folds_{metric}")
    return [one.value for one in sorted(found, key=lambda one: one.step)]


def stable(metric: str, folds: Sequence[float]) -> Answer:
    """Tell whether a metric varies little over the folds of the cross-validation."""
    if len(folds) < 2:
        message = f"no {metric} fold by fold was logged; train with cv_folds"
        return False, f"{message} (retrain_model.py --cv-folds 5)"
    mean, spread = fmean(folds), stdev(folds)
    message = f"over {len(folds)} folds {metric} {mean:.4f} ± {spread:.4f}"
    passed = spread <= MOST_SPREAD * abs(mean)
    return passed, message if passed else f"{message}, more than {MOST_SPREAD:.0%} of it"


def run_recorded(client: Client, version: Version) -> Answer:
    """Tell whether the run that made a version is there, finished, and of the same model."""
    if version.run_id is None:
        return False, "the version names no run"
    origin = f"run {version.run_id} of commit {short(version.tag('git_commit') or 'unknown')}"
    run = active_run(client, version.run_id)
    if run is None:
        return False, f"{origin} is deleted"
    if run.info.status != "FINISHED":
        return False, f"{origin} is {run.info.status}, not FINISHED"
    digest = version.tag("model_digest")
    if digest is None or run.data.tags.get("lockstep.model_digest") != digest:
        return False, f"{origin} logged another model than the version holds"
    return True, f"{origin}, model digest {digest[:12]}"


def way_back(client: Client, root: Path, model: Model, version: Version) -> Answer:
    """Tell which version a rollback brings back, and whether it still loads with all its checks."""
    stands = [v.version for v in model.in_stage("Production")]
    before = brought_back(model, "Production") if version.version in stands else stands
    if not before:
        return True, "`rollback` brings no version back; `archive` takes this one out again"
    earlier = model.version(before[-1])
    loaded = open_version(locate(client, earlier, root))
    return True, (
        f"`rollback` brings version {earlier.version} back (run {earlier.run_id}), digest "
        f"{str(loaded.digest)[:12]}, which loads and repeats its golden rows"
    )
