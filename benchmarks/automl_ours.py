"""This project's side of the comparison with AutoML: search, blend and predict in some seconds.

python benchmarks/automl_ours.py PROBLEM OUT.json --seconds N     (in a prepared workspace)

It does what the stage `features`, `make run-train-grid` and the trainings do, in one process as the
libraries do. The search spaces are those of params.yaml; the types take turns, a trial each, until
the time that the last fits need is all that is left. Validation rows choose; test rows are only
predicted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import Params, load_params, training_key
from lockstep.evaluation.metrics import best_of, evaluate
from lockstep.features import build_features
from lockstep.models.blending import blend_weights, outputs_of
from lockstep.models.search import TrialResult, finished, open_study, run_study
from lockstep.models.search_objective import objective
from lockstep.models.train_multi_model import read_job
from lockstep.models.training import fit
from lockstep.models.training_run import TrainingInput, scored_rows, threshold_of

RESERVE = 1.5
"""The last fits' time, as a multiple of the first trials'; they also predict."""


def search(
    root: Path, params: Params, problem: str, deadline: float
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """Return each type's best hyperparameters and its number of trials; the types take turns."""
    layout, section = ProblemLayout(root, problem), params.problem(problem)
    folder = Path(tempfile.mkdtemp())
    first: dict[str, float] = {}
    best: dict[str, dict[str, Any]] = {}
    trials = dict.fromkeys(section.model_types, 0)
    studies = {}
    while True:
        for name in section.model_types:
            took = first.get(name, 0.0)
            if time.monotonic() + took + RESERVE * sum(first.values()) > deadline:
                return best, trials
            key = training_key(problem, name)
            training, plan = params.train[key], params.search[key]
            began = time.monotonic()
            if name not in studies:
                study = open_study(folder / f"{name}.db", name, training.params, plan)
                judge = objective(layout, training, section.decision, section.compare.metric)
                studies[name] = study, judge
            study, judge = studies[name]
            one_more = plan.model_copy(update={"trials": len(finished(study)) + 1})
            best[name] = run_study(study, one_more, judge, _quiet)
            first.setdefault(name, time.monotonic() - began)
            trials[name] += 1


def _quiet(result: TrialResult) -> None:
    """Say nothing of a trial."""


def fitted(jobs: dict[str, TrainingInput], best: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the types' estimators with the best hyperparameters."""
    found = {}
    for name, job in jobs.items():
        recipe = replace(job.recipe, params={**job.recipe.params, **best.get(name, {})})
        rounds = job.training.early_stopping_rounds
        found[name] = fit(name, recipe, job.parts["train"], job.parts["stop"], rounds).estimator
    return found


def validation(job: TrainingInput, scores: NDArray[Any], metric: str) -> float:
    """Return a metric of the rows that choose."""
    target = job.parts["choose"].target
    return evaluate(scored_rows(job, threshold_of(job, scores), target, scores))[metric]


def mixed(weights: list[float], outputs: NDArray[Any]) -> NDArray[Any]:
    """Return the weighted mean over members."""
    return np.average(outputs, axis=0, weights=weights)


def main() -> None:
    """Search, fit, blend, predict, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problem")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    began, root = time.monotonic(), project_root()
    build_features.run(root, given.problem)
    params = load_params(root)
    metric = params.problem(given.problem).compare.metric
    best, trials = search(root, params, given.problem, began + given.seconds)
    names = params.problem(given.problem).model_types
    jobs = {name: read_job(ProblemLayout(root, given.problem), name) for name in names}
    models, job = fitted(jobs, best), jobs[names[0]]
    task = job.schema.task
    outputs = {part: outputs_of(models, task, job.parts[part]) for part in ("stop", "choose")}
    weights = blend_weights(outputs["stop"], job.parts["stop"].target, task)
    by_type = {
        name: validation(job, rows, metric)
        for name, rows in zip(names, outputs["choose"], strict=True)
    }
    tested = outputs_of(models, task, job.parts["test"])
    single = best_of(by_type, metric)
    blend = validation(job, mixed(weights, outputs["choose"]), metric)
    shares = ", ".join(f"{name} {weight:g}" for name, weight in zip(names, weights, strict=True))
    result = {
        "seconds": time.monotonic() - began,
        "trials": trials,
        "validation": {**by_type, "blend": blend},
        "row": job.parts["test"].row.tolist(),
        "single": {"made": single, "scores": tested[names.index(single)].tolist()},
        "blend": {"made": shares, "scores": mixed(weights, tested).tolist()},
    }
    Path(given.out).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
