"""The main job: one problem from its raw files to registered models.

Everything goes through the stages of dvc.yaml: load, preprocess, features, train, evaluate, log,
register.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lockstep.commands.overrides import FORMS, with_overrides
from lockstep.commands.train_models import checked_types, is_whole, problem_options, train_types
from lockstep.config.layout import ProblemLayout, stage_root
from lockstep.config.pages import page_file
from lockstep.config.settings import load_settings
from lockstep.console import documented_parser
from lockstep.dvc import repro as dvc
from lockstep.errors import run_command
from lockstep.io import read_json, write_text
from lockstep.models import compare_models
from lockstep.registry.store import opening


def train(
    root: Path, problem: str, wanted: Sequence[str] = (), given: Sequence[str] = ()
) -> tuple[str, str]:
    """Update a problem's models (none named: all) and versions; return champion and comparison.

    ``given`` are KEY=VALUE pairs, written to params.yaml when all are valid. All types go through
    the compare stage; some of them are compared here, and its files stay as they are.
    """
    text, params = with_overrides(root, problem, given)
    types = checked_types(params, problem, wanted)
    if given:
        write_text(root / "params.yaml", text)
    if is_whole(params, problem, types):
        layout = ProblemLayout(root, problem)
        before = _written(layout)
        with dvc.repro_beside(root, f"compare@{problem}"):
            opening.prepare_store(root)
            # Its import of MLflow takes a second, in which DVC starts.
            from lockstep.registry import publish_models
        publish_models.register_models(root, problem)
        # The compare stage prints its table; DVC skips the stage if the committed one is valid.
        text = _comparison(layout) if _written(layout) == before else ""
        return read_json(layout.champion)["type"], text
    train_types(root, problem, types)
    _, best, comparison = compare_models.compare(root, problem, types)
    return best["type"], comparison


def _written(layout: ProblemLayout) -> int:
    """Return when the comparison was written, in ns; 0 where there is none."""
    return layout.comparison.stat().st_mtime_ns if layout.comparison.is_file() else 0


def _comparison(layout: ProblemLayout) -> str:
    """Return the stored comparison as a table for people."""
    import pandas as pd

    from lockstep.evaluation.comparison import readable

    best = read_json(layout.champion)
    return readable(pd.read_csv(layout.comparison), best["metric"], best.get("best_reachable"))


def next_steps(root: Path, problem: str, champion: str) -> str:
    """Return the commands to run after a training, as they can be typed."""
    from lockstep.registry.publishing.destinations import model_name

    name = model_name(load_settings(root), problem, champion)
    script = "python scripts/manage_model_registry.py"
    predict = f"python src/models/predict_model.py {example_file(root, problem)} --use-best-model"
    predict += "" if problem == "accidents" else f" --problem {problem}"
    return f"""
What to do next (after: source .venv/bin/activate)
  see the report       {page_file(root, problem).relative_to(root)}, in a browser
  see the runs         mlflow ui --backend-store-uri sqlite:///mlflow.db
  see the versions     {script} list-versions --model-name {name}
  try in Staging       {script} transition --model-name {name} --version N --stage Staging
  put in Production    {script} promote --model-name {name} --stage Production
  predict              {predict}
  serve                make serve PROBLEM={problem}
  retrain              python scripts/retrain_model.py --problem {problem}
  plots, metrics       dvc plots show · dvc metrics show"""


def example_file(root: Path, problem: str) -> str:
    """Return a file with one record of the problem, if the project ships one."""
    own = f"src/models/test_features{'' if problem == 'accidents' else f'_{problem}'}.json"
    drafted = f"src/lockstep/problems/{problem}/example.json"
    return next((file for file in (own, drafted) if (root / file).is_file()), "RECORDS.json")


def parser(problem: str) -> argparse.ArgumentParser:
    """Return the command line's parser; ``problem`` is the default."""
    top = documented_parser("python -m lockstep.commands.train", __doc__)
    problem_options(top, problem)
    value = f"write a value into params.yaml first; may be given again: {FORMS}"
    top.add_argument("--param", action="append", default=[], metavar="KEY=VALUE", help=value)
    return top


def main(problem: str = "accidents") -> None:
    """Parse the command line and train; ``problem`` is the default."""
    options = parser(problem).parse_args()
    root = stage_root()
    champion, comparison = train(root, options.problem, options.models, options.param)
    # Its modules take time to import, in which a fault of the options is told already.
    from lockstep.commands.write_report import write_report

    write_report(root, options.problem, page_file(root, options.problem))
    print(comparison + next_steps(root, options.problem, champion))


if __name__ == "__main__":
    run_command(main)
