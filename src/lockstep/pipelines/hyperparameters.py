"""Hyperparameters checked by name before anything runs: a slip costs a moment, not the trainings before it."""

from __future__ import annotations

from collections.abc import Iterable

from lockstep.config.params import Params, training_key


def check_hyperparameters(params: Params, problem: str, model_types: Iterable[str]) -> None:
    """Refuse a hyperparameter of these trainings, or of their search spaces, that its model type has not."""
    from lockstep.models.matrices import Columns
    from lockstep.models.zoo import Recipe, check_params
    from lockstep.problems.schema import load_schema

    task = load_schema(problem).task
    for name in model_types:
        search = params.search.get(training_key(problem, name))
        space = search.space if search else {}
        check_params(name, Recipe(task, Columns({}), {**params.training(problem, name).params, **space}))
