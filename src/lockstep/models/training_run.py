"""One training as values: its input, its result, and the content of each output file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import stdev
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from lockstep.config.layout import PARTS
from lockstep.config.params import Decision, Training
from lockstep.decision.decision_rule import DecisionRule
from lockstep.decision.policies import Costs, costs_of, policy_of
from lockstep.decision.score_scale import Scale, check_scale, scale_of
from lockstep.decision.thresholds import choose_threshold, rates
from lockstep.evaluation import curves, curves_regression
from lockstep.evaluation.effects import effects_table, frequent_classes, strongest
from lockstep.evaluation.intervals import COVERAGE, Interval, coverage_of, fit_interval
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.features.level_names import level_names
from lockstep.features.matrix_columns import (
    CLASSES,
    DECISION,
    GROUP,
    ROW,
    SCORE,
    TARGET,
    TRUTH,
)
from lockstep.models.artifact import model_digest
from lockstep.models.calibration import calibrated
from lockstep.models.matrices import Matrix, columns_of
from lockstep.models.model_type import Fitted, ModelType, OnStep, Recipe
from lockstep.models.naming import registered_name
from lockstep.models.training import (
    cores,
    fit,
    fold_metrics,
    pipeline_of,
    scores,
    silent,
)
from lockstep.models.types import model_type
from lockstep.problems.schema import Schema

CODE_FILES = {"../problems/{problem}/schema.yaml": ()}
"""The card holds the digest of the whole schema, its texts for people too."""
EVALUATED = {"choose": "validation", "test": "test"}
"""The parts whose scores are stored, and the names of their metrics."""
RATED = ("fixed", "approval_rate")
"""The binary policies about how many rows pass: their metrics include that."""
OF_PROBABILITIES = ("brier", "calibration_error", "log_loss")
"""The metrics of probabilities, whatever is decided by them."""
FOLD_METRICS = ("roc_auc", "ks")
"""The metrics that are reported fold by fold."""


@dataclass(frozen=True)
class TrainingInput:
    """The input of one training."""

    training: Training
    decision: Decision
    schema: Schema
    encoder: Any
    parts: dict[str, Matrix]

    @property
    def kind(self) -> ModelType:
        """The model type."""
        return model_type(self.training.type)

    @property
    def recipe(self) -> Recipe:
        """What the estimator is built from."""
        columns = columns_of(self.encoder, self.schema)
        return Recipe(self.schema.task, columns, self.training.params, self.training.seed, cores())

    @property
    def classes(self) -> list[Any]:
        """The class labels of a multiclass problem in their encoded order, else none."""
        return list(getattr(self.encoder, CLASSES, []))

    @property
    def scale(self) -> Scale:
        """The scale its scores are on."""
        target = self.parts["train"].target
        return scale_of(self.training, self.schema.task, target, self.kind.positive_weight)

    @property
    def costs(self) -> Costs | None:
        """The costs that decide among several classes, None for the most probable class."""
        return costs_of(self.decision, self.classes) if self.schema.task == "multiclass" else None

    @property
    def evaluated(self) -> dict[str, str]:
        """The parts that are scored and the names of their metrics; binary: no training rows."""
        return EVALUATED if self.schema.task == "binary" else {"train": "train", **EVALUATED}


@dataclass(frozen=True)
class Trained:
    """The result of one training; regression has no threshold, classes have no interval."""

    pipeline: Any
    estimator: Any
    threshold: float | None
    best_iteration: int | None
    history: dict[str, list[float]]
    scores: dict[str, NDArray[Any]]
    folds: list[dict[str, float]]
    interval: Interval | None = None
    uncalibrated: dict[str, NDArray[Any]] = field(default_factory=dict)
    """The scores of the parts in EVALUATED before calibration; empty without any."""


def train(job: TrainingInput, on_step: OnStep = silent) -> Trained:
    """Fit, calibrate, choose threshold or prediction interval, and score the evaluated parts."""
    check_decision(job)
    train, stop, rounds = job.parts["train"], job.parts["stop"], job.training.early_stopping_rounds
    fitted = fit(job.training.type, job.recipe, train, stop, rounds, on_step)
    return evaluated(job, fitted, lambda model, part: _scored_part(job, model, part))


def check_decision(job: TrainingInput) -> None:
    """Raise ConfigError for a policy that does not fit the task or the scale of the scores."""
    policy_of(job.decision, job.schema.task)
    check_scale(job.decision, job.training, job.scale)


def _scored_part(job: TrainingInput, model: Any, part: str) -> NDArray[Any]:
    return scores(model, job.parts[part].features, job.schema.task, job.kind)


def evaluated(
    job: TrainingInput, fitted: Fitted, score: Callable[[Any, str], NDArray[Any]]
) -> Trained:
    """Calibrate, score and decide what was fitted; ``score`` scores a part by a model."""
    task, stop = job.schema.task, job.parts["stop"]
    model = calibrated(job.training.calibration, fitted.estimator, stop.features, stop.target, task)
    found = {part: score(model, part) for part in job.evaluated}
    before_too = EVALUATED if job.training.calibration != "none" else ()
    before = {part: score(fitted.estimator, part) for part in before_too}
    threshold = threshold_of(job, found["choose"])
    decided = partial(scored_rows, job, threshold)
    return Trained(
        pipeline=pipeline_of(job.encoder, model),
        estimator=fitted.estimator,
        threshold=threshold,
        best_iteration=fitted.best_iteration,
        history=fitted.history,
        scores=found,
        folds=fold_metrics(job.training, job.recipe, job.parts, decided),
        interval=_interval(job, found["choose"]),
        uncalibrated=before,
    )


def threshold_of(job: TrainingInput, score: NDArray[Any]) -> float | None:
    """Return the policy's threshold for scores of the ``choose`` part; None if not binary."""
    if job.schema.task != "binary":
        return None
    return choose_threshold(job.decision, job.parts["choose"].target, score)


def _interval(job: TrainingInput, score: NDArray[Any]) -> Interval | None:
    if job.schema.task != "regression":
        return None
    target, coverage = job.schema.columns[job.schema.target], job.decision.coverage or COVERAGE
    rows = Scored(job.parts["choose"].target, score)
    return fit_interval(rows, coverage, target.low, target.high)


def scored(job: TrainingInput, trained: Trained, part: str) -> Scored:
    """Return the rows of an evaluated part with their scores and the threshold or the decisions."""
    return scored_rows(job, trained.threshold, job.parts[part].target, trained.scores[part])


def scored_rows(
    job: TrainingInput, threshold: float | None, target: NDArray[Any], score: NDArray[Any]
) -> Scored:
    """Return rows with their scores and the threshold, or for several classes the decisions."""
    rule = DecisionRule(job.schema.task, threshold, job.classes, job.costs, job.scale)
    return Scored(target, score, threshold, rule.apply(score) if score.ndim == 2 else None)


def metrics_of(job: TrainingInput, trained: Trained) -> dict[str, Any]:
    """Return the content of details.json: metrics by part, fold means, threshold, best iteration.

    Two classes also have the threshold of the best F1 on validation, whatever the policy's is, a
    calibrated model the figures before and after calibration, and a regression the coverage of its
    prediction intervals on the test part.
    """
    found: dict[str, Any] = {
        label: evaluate(scored(job, trained, part)) for part, label in job.evaluated.items()
    }
    if trained.folds:
        names = [name for name in trained.folds[0] if name != "fold"]
        count = len(trained.folds)
        found["cv"] = {name: sum(fold[name] for fold in trained.folds) / count for name in names}
        found |= fold_summary(trained.folds)
    if job.schema.task == "binary" and policy_of(job.decision, "binary") in RATED:
        evaluated = {label: scored(job, trained, part) for part, label in EVALUATED.items()}
        found["decided"] = {k: rates(rows.target, rows.decided) for k, rows in evaluated.items()}
    if trained.interval:
        held = coverage_of(trained.interval, scored(job, trained, "test"))
        found["interval"] = {"declared": trained.interval["coverage"], **held}
    if trained.uncalibrated:
        found["calibration"] = calibration_figures(job, trained)
    known = {"threshold": trained.threshold, "best_iteration": trained.best_iteration}
    known["best_f1_threshold"] = best_f1_threshold(job, trained)
    return found | {name: value for name, value in known.items() if value is not None}


def best_f1_threshold(job: TrainingInput, trained: Trained) -> float | None:
    """Return the threshold of the best F1 on the ``choose`` part; None if not binary."""
    if job.schema.task != "binary":
        return None
    rows = job.parts["choose"].target, trained.scores["choose"]
    return choose_threshold(Decision(policy="f1"), *rows)


def calibration_figures(job: TrainingInput, trained: Trained) -> dict[str, dict[str, Any]]:
    """Return what calibration changes: Brier score, error and log loss, before and after, by part.

    ``before`` and ``after`` each have the metrics of the parts validation and test.
    """
    found = {"before": trained.uncalibrated, "after": trained.scores}
    return {
        when: {
            label: _probability_metrics(job, trained, part, score[part])
            for part, label in EVALUATED.items()
        }
        for when, score in found.items()
    }


def _probability_metrics(
    job: TrainingInput, trained: Trained, part: str, score: NDArray[Any]
) -> dict[str, float]:
    rows = scored_rows(job, trained.threshold, job.parts[part].target, score)
    found = evaluate(rows)
    return {name: found[name] for name in OF_PROBABILITIES}


def fold_summary(folds: list[dict[str, float]]) -> dict[str, Any]:
    """Return AUC and KS by fold and their standard deviations, if the task has them."""
    names = [name for name in FOLD_METRICS if name in folds[0]]
    if not names:
        return {}
    return {
        "cv_std": {name: stdev([fold[name] for fold in folds]) for name in names},
        "folds": {str(int(fold["fold"])): {name: fold[name] for name in names} for fold in folds},
    }


def scores_table(job: TrainingInput, trained: Trained) -> pd.DataFrame:
    """Return every evaluated row: number, group, part, target, score, true probability if known.

    Several classes have ``score_0`` and so on, and ``decision``, the place of the decided class.
    """
    tables = []
    for part in EVALUATED:
        matrix = job.parts[part]
        content = {ROW: matrix.row, GROUP: matrix.group, "part": part, TARGET: matrix.target}
        content |= _score_columns(scored(job, trained, part))
        content |= {} if matrix.truth is None else {TRUTH: matrix.truth}
        tables.append(pd.DataFrame(content))
    return pd.concat(tables, ignore_index=True)


def _score_columns(rows: Scored) -> dict[str, NDArray[Any]]:
    if rows.decision is None:
        return {SCORE: rows.score}
    return {
        **{f"{SCORE}_{k}": column for k, column in enumerate(rows.score.T)},
        DECISION: rows.decision,
    }


def plot_tables(job: TrainingInput, trained: Trained) -> dict[str, pd.DataFrame]:
    """Return the tables behind the plots; scores are those of the test part, effects of choose."""
    importance = job.kind.importance(trained.estimator, job.parts["choose"].features)
    tested = scored(job, trained, "test")
    before = trained.uncalibrated.get("test")
    tables = curves.tables(tested, importance, trained.history, job.classes, before)
    tables["effects"] = effects_of(job, trained.pipeline.named_steps["model"], importance)
    if trained.interval:
        tables["coverage"] = curves_regression.coverage(tested, trained.interval)
    return {**tables, "folds": pd.DataFrame(trained.folds)} if trained.folds else tables


def effects_of(job: TrainingInput, model: Any, importance: dict[str, float]) -> pd.DataFrame:
    """Return the strongest effects on the scores of the ``choose`` part; see ``effects_table``."""
    choose = job.parts["choose"]
    return effects_table(
        choose.features,
        strongest(importance, choose.features),
        level_names(job.encoder, job.schema),
        lambda rows: scores(model, rows, job.schema.task, job.kind),
        frequent_classes(choose.target, job.classes) if job.classes else None,
    )


def card_of(job: TrainingInput, trained: Trained, file_sha256: str) -> dict[str, Any]:
    """Return what the model is: names, digests, threshold, score scale, hyperparameters, rows."""
    training, policy = job.training, policy_of(job.decision, job.schema.task)
    return {
        "problem": training.problem,
        "type": training.type,
        "task": job.schema.task,
        "registered_name": registered_name(training.problem, training.type),
        "model_digest": model_digest(trained.pipeline),
        "file_sha256": file_sha256,
        "schema_digest": job.schema.digest,
        "feature_names": job.schema.feature_names,
        "encoded_names": list(job.parts["train"].features),
        "threshold": trained.threshold,
        "decision": {"policy": policy, **job.decision.model_dump(exclude_none=True)},
        **({"classes": job.classes} if job.classes else {}),
        **({"interval": trained.interval} if trained.interval else {}),
        "score_scale": job.scale.name,
        "positive_weight": job.scale.positive_weight,
        **({"class_ratio": job.scale.class_ratio} if job.scale.class_ratio else {}),
        "calibration": training.calibration,
        **({"monotone": job.recipe.columns.monotone} if job.recipe.columns.monotone else {}),
        "seed": training.seed,
        "params": {**training.params, **job.kind.resolved_params(trained.estimator)},
        "best_iteration": trained.best_iteration,
        "rows": {part: len(job.parts[part]) for part in PARTS},
    }
