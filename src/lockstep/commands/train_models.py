"""Train some model types of a problem through DVC: the work of src/models/train_multi_model.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lockstep.commands.training_checks import check_trainings, problem_options
from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import Params, load_params, training_key
from lockstep.dvc import repro as dvc
from lockstep.errors import run_command
from lockstep.io import read_json
from lockstep.models.train_multi_model import summary


def train_models(
    root: Path, problem: str, wanted: list[str], grid_search: bool = False
) -> list[str]:
    """Update the wanted types (none: all) and register them; return those trained."""
    params = load_params(root)
    types = declared_types(params, problem, wanted)
    check_trainings(params, problem, types)
    if grid_search:
        dvc.module(root, "lockstep.commands.search", "--problem", problem, "--models", *types)
    train_types(root, problem, types)
    return types


def train_types(root: Path, problem: str, types: Sequence[str]) -> None:
    """Update some types and register them."""
    dvc.repro(root, *(f"train_multi_model@{training_key(problem, name)}" for name in types))
    dvc.module(root, "lockstep.registry.register_models", "--problem", problem, "--models", *types)


def declared_types(params: Params, problem: str, wanted: Sequence[str]) -> list[str]:
    """Return the wanted types once each, else all; UsageError for an undeclared one."""
    for name in wanted:
        params.training(problem, name)
    return list(dict.fromkeys(wanted)) or list(params.problem(problem).model_types)


def results(root: Path, problem: str, types: list[str]) -> str:
    """Return the trained types' validation figures and the next commands."""
    layout, width = ProblemLayout(root, problem), max(map(len, types))
    lines = [
        f"  {name:<{width}}  {summary(read_json(layout.type_metrics(name)))}" for name in types
    ]
    return "\n".join(
        [
            f"Trained for {problem}:",
            *lines,
            "What to do next",
            f"  compare all types    dvc repro compare@{problem}",
            "  see the versions     python scripts/manage_model_registry.py list-models",
            "  predict              python src/models/predict_model.py "
            "src/models/test_features.json --use-best-model",
            "  plots, metrics       dvc plots show · dvc metrics show",
        ]
    )


def main() -> None:
    """Parse the command line, train, print the result."""
    parser = argparse.ArgumentParser(
        prog="python src/models/train_multi_model.py", description=__doc__
    )
    problem_options(parser, "accidents")
    parser.add_argument(
        "--grid-search",
        action="store_true",
        help="search hyperparameters first; winners go into params.yaml",
    )
    arguments = parser.parse_args()
    root = project_root()
    types = train_models(root, arguments.problem, arguments.models, arguments.grid_search)
    print(results(root, arguments.problem, types))


if __name__ == "__main__":
    run_command(main)
