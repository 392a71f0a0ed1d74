"""Train some model types of a problem through DVC: the work of src/models/train_multi_model.py.

The trainings of params.yaml are checked before any stage runs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lockstep.config.layout import ProblemLayout, engine_of, stage_root
from lockstep.config.params import Params, load_params, training_key
from lockstep.config.settings import load_settings
from lockstep.console import Parser
from lockstep.dvc import repro as dvc
from lockstep.dvc.lineage import is_current, training_stage
from lockstep.errors import UsageError, run_command
from lockstep.models.train_multi_model import summary
from lockstep.models.type_metrics import read_type_metrics
from lockstep.models.types import model_type
from lockstep.preload.process import preloaded
from lockstep.problems.schema import load_schema
from lockstep.promotion.configured import (
    IF_BETTER,
    check_registration_metric,
    check_sections,
)


def train_models(
    root: Path, problem: str, wanted: list[str], grid_search: bool = False
) -> list[str]:
    """Update the wanted types (none: all) and register them; return those trained."""
    params = load_params(root)
    check_registration(root)
    types = checked_types(params, problem, wanted)
    if grid_search:
        search_first(root, problem, types if wanted else ())
    train_types(root, problem, types)
    return types


def search_first(root: Path, problem: str, named: Sequence[str]) -> None:
    """Search the types that a person named; with none, those that have a section `search`."""
    dvc.module(root, "lockstep.commands.search", "--problem", problem, "--models", *named)


def check_registration(root: Path) -> None:
    """Raise for a metric or problem that the registration would refuse after the training.

    It is a matter of the policy ``if_better``; without it nothing is compared on registration.
    """
    settings = load_settings(root)
    if settings.registration_policy == IF_BETTER and (settings.publish or settings.publish_later):
        check_sections(settings.gates)
        check_registration_metric(settings.registration_metric)


def train_types(root: Path, problem: str, types: Sequence[str]) -> None:
    """Update some types and register them."""
    stages = [training_stage(problem, name) for name in types]
    repro_preloaded(root, types, stages, wanted=not is_current(root, problem, *types))
    dvc.module(root, "lockstep.registry.register_models", "--problem", problem, "--models", *types)


def repro_preloaded(
    root: Path,
    types: Iterable[str],
    words: Sequence[str],
    wanted: bool = True,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run `dvc repro` with some words, its stages in forks of one process if that is ``wanted``.

    ``types`` are those that the stages train; ``variables`` are set for DVC and its stages.
    """
    with preloaded(libraries_of(types), wanted) as process:
        more = process.variables if process else {}
        dvc.repro(root, *words, variables={**more, **(variables or {})})


def libraries_of(types: Iterable[str]) -> list[str]:
    """Return the modules that model types are trained with, each once."""
    return list(dict.fromkeys(model_type(name).library for name in types))


def declared_types(params: Params, problem: str, wanted: Sequence[str]) -> list[str]:
    """Return the wanted types once each, else all; UsageError for an undeclared or Spark's one."""
    refuse_spark(problem, wanted)
    for name in wanted:
        params.training(problem, name)
    return list(dict.fromkeys(wanted)) or list(params.problem(problem).model_types)


def refuse_spark(problem: str, names: Iterable[str]) -> None:
    """Raise a UsageError for a type that is trained on Spark: its stages are not in dvc.yaml."""
    for name in names:
        engine, own = engine_of(name)
        if engine:
            command = f"python src/models/train_spark.py --problem {problem} --models {own}"
            raise UsageError(f"{name} is trained on Spark; run `{command}`, or name {own} here")


def checked_types(params: Params, problem: str, wanted: Sequence[str]) -> list[str]:
    """Return the types to train; raise for one whose training doesn't fit the task."""
    types = declared_types(params, problem, wanted)
    check_trainings(params, problem, types)
    return types


def is_whole(params: Params, problem: str, types: Sequence[str]) -> bool:
    """Tell whether these are all of a problem's types."""
    return set(types) == set(params.problem(problem).model_types)


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
    """Raise for a hyperparameter that its model type doesn't take, or a name in a search space."""
    task = load_schema(problem).task
    for name in names:
        kind = model_type(name)
        # The search is one machine's: Spark's types have hyperparameters of their own.
        search = None if engine_of(name)[0] else params.search.get(training_key(problem, name))
        kind.check_names(task, search.space if search else ())
        kind.check_params(task, params.training(problem, name).params)


def results(root: Path, problem: str, types: list[str]) -> str:
    """Return the trained types' validation figures and the next commands."""
    layout, width = ProblemLayout(root, problem), max(map(len, types))
    found = {name: summary(read_type_metrics(layout, name)) for name in types}
    figures = "\n".join(f"  {name:<{width}}  {text}" for name, text in found.items())
    # It takes time to import, which a light command does not need.
    from lockstep.registry.publishing.destinations import model_name
    from lockstep.registry.store.names import SCRIPT

    name = model_name(load_settings(root), problem, types[0]) if len(types) == 1 else "NAME"
    return f"""Trained for {problem}:
{figures}
What to do next
  compare all types    dvc repro compare@{problem}
  see the versions     {SCRIPT} list-models
  put in Production    {SCRIPT} promote --model-name {name}
  predict              {predict_command(root, problem)}
  plots, metrics       dvc plots show · dvc metrics show"""


def predict_command(root: Path, problem: str) -> str:
    """Return the command that predicts an example of a problem by its best model."""
    command = f"python src/models/predict_model.py {example_file(root, problem)} --use-best-model"
    return command if problem == "accidents" else f"{command} --problem {problem}"


def example_file(root: Path, problem: str) -> str:
    """Return a file with one record of the problem, if the project ships one."""
    own = f"src/models/test_features{'' if problem == 'accidents' else f'_{problem}'}.json"
    drafted = f"src/lockstep/problems/{problem}/example.json"
    return next((file for file in (own, drafted) if (root / file).is_file()), "RECORDS.json")


def problem_options(parser: argparse.ArgumentParser, problem: str) -> None:
    """Add the options for what is trained: a problem, by default ``problem``, and model types."""
    shown = f"a problem of params.yaml (default: {problem})"
    parser.add_argument("--problem", default=problem, help=shown)
    types = "only these model types (default: all declared)"
    parser.add_argument("--models", nargs="+", default=[], metavar="TYPE", help=types)


def main() -> None:
    """Parse the command line, train, print the result."""
    parser = Parser(prog="python src/models/train_multi_model.py", description=__doc__)
    problem_options(parser, "accidents")
    search = "search hyperparameters first; winners go into params.yaml"
    parser.add_argument("--grid-search", action="store_true", help=search)
    arguments = parser.parse_args()
    root = stage_root()
    types = train_models(root, arguments.problem, arguments.models, arguments.grid_search)
    print(results(root, arguments.problem, types))


if __name__ == "__main__":
    run_command(main)
