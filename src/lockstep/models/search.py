"""Hyperparameter search with the same result whether or not it was killed on the way.

Each trial's sampler is seeded by the number of finished trials and sees only those. So a search
that is started again continues as the uninterrupted one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna import Study
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from lockstep.config.params import Decision, Search, Space, Training
from lockstep.errors import ConfigError, LockstepError
from lockstep.io import sha256_json

STARTUP_TRIALS = 6
"""Trials drawn at random before the sampler learns, and before any trial is pruned."""


Report = Callable[[int, float], None]
"""Called with a step and the score so far; raises TrialPruned where going on is not worth it."""
Evaluate = Callable[[dict[str, Any], Report], float]


@dataclass(frozen=True)
class TrialResult:
    """One finished trial."""

    number: int
    params: dict[str, Any]
    value: float | None
    pruned: bool
    history: dict[int, float] = field(default_factory=dict)
    seconds: float = 0.0


def study_name(
    key: str, search: Search, training: Training, decision: Decision, metric: str, data_digest: str
) -> str:
    """Return a name that is the same just when the search would go the same way."""
    fixed = {k: v for k, v in training.params.items() if k not in search.space}
    content: dict[str, Any] = {
        "search": search.model_dump(mode="json"),
        "judge": {"metric": metric, "decision": decision.model_dump(mode="json")},
        "training": {**training.model_dump(mode="json"), "params": fixed},
        "data": data_digest,
    }
    if training.calibration != "none":  # trials before it was calibrated too go by another name
        content["scores"] = "calibrated"
    return f"{key}-{sha256_json(content)[:12]}"


@contextmanager
def usable(storage: Path) -> Iterator[None]:
    """Translate errors of a full, read-only or damaged file of trials into one line."""
    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError) as error:
        raise LockstepError(
            f"{storage} keeps the search's trials and can't be used ({_innermost(error)}); "
            "free some space or make it writable and search again: it goes on from the last whole "
            "trial. A damaged file: move it away"
        ) from error


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def open_study(storage: Path, name: str, current: dict[str, Any], search: Search) -> Study:
    """Open a study in the sqlite file, or begin it with the current hyperparameters."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage.parent.mkdir(parents=True, exist_ok=True)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=1)
    study = optuna.create_study(
        storage=f"sqlite:///{storage}",
        study_name=name,
        direction="maximize",
        pruner=pruner,
        load_if_exists=True,
    )
    for killed in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(killed.number, state=TrialState.FAIL)  # so that it runs again
    inside = {
        k: current[k] for k, s in search.space.items() if k in current and _fits(k, s, current[k])
    }
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    if not finished(study) and not waiting and len(inside) == len(search.space):
        study.enqueue_trial(inside)
    return study


def run_study(
    study: Study, search: Search, evaluate: Evaluate, ended: Callable[[TrialResult], None]
) -> dict[str, Any]:
    """Run what is left of a study and return the winner's hyperparameters.

    ``evaluate`` returns a trial's score, higher is better; ``ended`` is called after each trial.
    """
    for number in range(len(finished(study)), search.trials):
        seed = search.seed * 100_003 + number
        study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)
        _run_trial(study, {k: _distribution(k, s) for k, s in search.space.items()}, evaluate)
        ended(finished(study)[-1])
    return dict(study.best_params)


def finished(study: Study) -> list[TrialResult]:
    """Return the trials that ended, in their order, numbered without gaps."""
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [_result(number, trial) for number, trial in enumerate(ended)]


def _run_trial(study: Study, space: dict[str, Any], evaluate: Evaluate) -> None:
    trial = study.ask(space)
    try:
        study.tell(trial, evaluate(dict(trial.params), _reporter(trial)))
    except optuna.TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)


def _reporter(trial: Trial) -> Report:
    def report(step: int, value: float) -> None:
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned

    return report


def _distribution(name: str, space: Space) -> Any:
    if space.choice is not None:
        return CategoricalDistribution(space.choice)
    if space.log and not (space.low or 0) > 0:
        raise ConfigError(
            f"params.yaml: search space of {name}: low must be above 0 where log is true"
        )
    if isinstance(space.low, int) and isinstance(space.high, int):
        return IntDistribution(space.low, space.high, log=space.log)
    return FloatDistribution(float(space.low or 0), float(space.high or 0), log=space.log)


def _fits(name: str, space: Space, value: Any) -> bool:
    """Tell whether a trial may have a value: `balanced` is no number, and no other choice."""
    try:
        _distribution(name, space).to_internal_repr(value)
    except (ValueError, TypeError):
        return False
    return True


def _result(number: int, trial: FrozenTrial) -> TrialResult:
    took = trial.datetime_complete - trial.datetime_start  # type: ignore[operator]
    return TrialResult(
        number,
        dict(trial.params),
        trial.value,
        trial.state.name == "PRUNED",
        dict(trial.intermediate_values),
        took.total_seconds(),
    )
