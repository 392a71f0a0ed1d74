"""The objective of a hyperparameter search: a metric of a fit on validation rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Decision, Training
from lockstep.evaluation.metrics import LOWER_IS_BETTER, evaluate
from lockstep.models.calibration import calibrated
from lockstep.models.matrices import read_matrix
from lockstep.models.search import Evaluate, Report
from lockstep.models.train_multi_model import read_encoder
from lockstep.models.training import fit, scores
from lockstep.models.training_run import TrainingInput, scored_rows, threshold_of
from lockstep.problems.schema import load_schema

STEPS = 10
"""How often a trial may be judged while it trains."""


def sign_of(metric: str) -> int:
    """Return -1 for a metric that is better when it is smaller: a search always maximises."""
    return -1 if metric in LOWER_IS_BETTER else 1


def objective(
    layout: ProblemLayout, training: Training, decision: Decision, metric: str
) -> Evaluate:
    """Return the objective: early stopping, scores and decisions as in a training.

    The test part is never read.
    """
    parts = {part: read_matrix(layout, part) for part in ("train", "stop", "choose")}
    stop, method = parts["stop"], training.calibration
    job = TrainingInput(
        training, decision, load_schema(training.problem), read_encoder(layout.encoder), parts
    )
    choose, task, recipe = parts["choose"], job.schema.task, job.recipe

    def score(params: dict[str, Any], report: Report) -> float:
        tried = replace(recipe, params={**recipe.params, **params})
        rounds = training.early_stopping_rounds
        fitted = fit(training.type, tried, parts["train"], stop, rounds, reporting(report))
        model = calibrated(method, fitted.estimator, stop.features, stop.target, task)
        found = scores(model, choose.features, task)
        rows = scored_rows(job, threshold_of(job, found), choose.target, found)
        return sign_of(metric) * evaluate(rows)[metric]

    return score


def reporting(report: Report) -> Callable[[int, int, float | None], None]:
    """Return a step callback that reports the loss so far, ``STEPS`` times a training.

    What is wholly trained is judged by the metric, not by its loss.
    """
    reported = {0}

    def on_step(done: int, total: int, loss: float | None) -> None:
        step = done * STEPS // total
        if loss is not None and done < total and step not in reported:
            reported.add(step)
            report(step, -loss)

    return on_step
