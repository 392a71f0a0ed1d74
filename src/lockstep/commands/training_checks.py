"""The trainings of params.yaml, checked before any stage runs."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Sequence

from lockstep.config.params import Params, training_key
from lockstep.models.types import model_type
from lockstep.problems.schema import load_schema


def problem_options(parser: ArgumentParser, problem: str) -> None:
    """Add the options for what is trained: a problem, by default ``problem``, and model types."""
    parser.add_argument(
        "--problem", default=problem, help=f"a problem of params.yaml (default: {problem})"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="TYPE",
        help="only these model types (default: all declared)",
    )


def check_trainings(params: Params, problem: str, model_types: Sequence[str]) -> None:
    """Raise for a metric, policy, calibration, type or hyperparameter that doesn't fit the task."""
    from lockstep.decision.policies import policy_of
    from lockstep.evaluation.metrics import check_metric
    from lockstep.models.calibration import check_calibration

    section, task = params.problem(problem), load_schema(problem).task
    check_metric(section.compare.metric, task)
    policy_of(section.decision, task)
    for name in model_types:
        check_calibration(params.training(problem, name).calibration, task)
    check_hyperparameters(params, problem, model_types)


def check_hyperparameters(params: Params, problem: str, names: Iterable[str]) -> None:
    """Raise for a hyperparameter, also of a search space, that its model type doesn't have."""
    task = load_schema(problem).task
    for name in names:
        search = params.search.get(training_key(problem, name))
        space = search.space if search else {}
        model_type(name).check_params(task, {**params.training(problem, name).params, **space})
