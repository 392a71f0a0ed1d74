"""The main job: one problem from its raw files to registered models."""

from __future__ import annotations

import argparse
from pathlib import Path

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import Params, load_params
from lockstep.errors import run_command
from lockstep.pipelines import dvc
from lockstep.pipelines.hyperparameters import check_hyperparameters


def train(root: Path, problem: str) -> None:
    """Bring one problem's models and comparison up to date, and its versions into the registry."""
    check(load_params(root), problem)
    from lockstep.registry.prepare import prepare
    from lockstep.registry.register_models import register_models

    with dvc.repro_beside(root, f"compare@{problem}"):
        prepare(root)
    register_models(root, problem)


def check(params: Params, problem: str) -> None:
    """Refuse a metric or a hyperparameter that does not exist now, not after the stages and trainings before it."""
    from lockstep.models.evaluation import check_metric
    from lockstep.problems.schema import load_schema

    check_metric(params.problem(problem).compare.metric, load_schema(problem).task)
    check_hyperparameters(params, problem, params.problem(problem).model_types)


def next_steps(root: Path, problem: str) -> str:
    """Return what a person does after a training, with names that work as typed."""
    from lockstep.config.settings import load_settings
    from lockstep.io import read_json
    from lockstep.registry.publish import model_name

    champion = read_json(ProblemLayout(root, problem).champion)["type"]
    name = model_name(load_settings(root), problem, champion)
    script = "python scripts/manage_model_registry.py"
    return f"""
What to do next (after: source .venv/bin/activate)
  see the runs         mlflow ui --backend-store-uri sqlite:///mlflow.db
  see the versions     {script} list-versions --model-name {name}
  try in Staging       {script} transition --model-name {name} --version N --stage Staging
  put in Production    {script} promote --model-name {name} --stage Production
  predict              python src/models/predict_model.py src/models/test_features.json --use-best-model
  plots, metrics       dvc plots show · dvc metrics show"""


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m lockstep.pipelines.train", description=__doc__)
    parser.add_argument(
        "--problem", default="accidents", help="a problem of params.yaml (default: accidents)"
    )
    problem = parser.parse_args().problem
    root = project_root()
    train(root, problem)
    print(next_steps(root, problem))


if __name__ == "__main__":
    run_command(main)
