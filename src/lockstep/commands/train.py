"""The main job: one problem from its raw files to registered models.

Everything goes through the stages of dvc.yaml: load, preprocess, features, train, evaluate, log,
register.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from lockstep.commands import train_beside
from lockstep.commands.overrides import FORMS, with_overrides
from lockstep.commands.train_models import (
    check_registration,
    check_trainings,
    declared_types,
    is_whole,
    libraries_of,
    predict_command,
    problem_options,
    train_types,
)
from lockstep.config.layout import ProblemLayout, stage_root
from lockstep.config.pages import page_file
from lockstep.config.settings import LATER, PUBLISH, load_settings
from lockstep.console import documented_parser, without_password
from lockstep.dvc import repro as dvc
from lockstep.dvc.lineage import have_run, is_current, training_stage
from lockstep.errors import run_command
from lockstep.io import read_json, write_text
from lockstep.models import compare_models
from lockstep.preload.process import preloaded


def train(
    root: Path, problem: str, wanted: Sequence[str] = (), given: Sequence[str] = ()
) -> tuple[str, str]:
    """Update a problem's models (none named: all), versions and report.

    Return champion and comparison.

    ``given`` are KEY=VALUE pairs, written to params.yaml when all are valid. All types go through
    the compare stage; some of them are compared here, and its files stay as they are.
    """
    text, params = with_overrides(root, problem, given)
    check_registration(root)
    types = declared_types(params, problem, wanted)
    stages = [*(training_stage(problem, name) for name in types), f"compare@{problem}"]
    # What has trained already fits its types, whose libraries take seconds to import.
    if given or not have_run(root, stages):
        check_trainings(params, problem, types)
    if given:
        write_text(root / "params.yaml", text)
    if is_whole(params, problem, types):
        layout = ProblemLayout(root, problem)
        before = _written(layout)
        update_models(root, problem, types)
        # The compare stage prints its table; DVC skips the stage if the committed one is valid.
        text = _comparison(layout) if _written(layout) == before else ""
        return read_json(layout.champion)["type"], text
    train_types(root, problem, types)
    _, best, comparison = compare_models.compare(root, problem, types)
    # Its modules take time to import, in which a fault of the options is told already.
    from lockstep.commands.write_report import write_report

    write_report(root, problem, page_file(root, problem))
    return best["type"], comparison


def update_models(root: Path, problem: str, types: Sequence[str]) -> None:
    """Have DVC bring a problem's models up to date, register them and write the report.

    Each model is published while the next one trains. A preloaded process saves the stages their
    imports; where nothing seems to be trained, there is none.
    """
    target, later = f"compare@{problem}", {PUBLISH: LATER} if load_settings(root).publish else {}
    current = is_current(root, problem, *types)
    with preloaded(libraries_of(types), wanted=not current) as process:
        if process is not None:
            words = ("-m", "lockstep.commands.train_beside", "--problem", problem)
            # Interrupted, it gets no word: it ends when its input does, with the model at hand.
            with process.start(*words, folder=root) as beside:
                dvc.repro(root, target, variables=process.variables | later)
                beside.communicate(train_beside.DONE)
            if beside.returncode:  # it has said why
                sys.exit(beside.returncode)
            return
    with dvc.repro_beside(root, target, variables=later) as ended:
        if current:  # the report's modules take time to import, in which DVC starts
            import_module("lockstep.commands.write_report")
        else:
            train_beside.publish_beside(root, problem, types, ended)
    train_beside.finish(root, problem)


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
    from lockstep.registry.store.names import SCRIPT
    from lockstep.registry.store.uris import is_http, resolve_uri

    settings = load_settings(root)
    name, store = model_name(settings, problem, champion), resolve_uri(settings, root)
    runs = f"mlflow ui --backend-store-uri {shlex.quote(without_password(store))}"
    runs = f"{without_password(store)}, in a browser" if is_http(store) else runs
    return f"""
What to do next (after: source .venv/bin/activate)
  see the report       {page_file(root, problem).relative_to(root)}, in a browser
  see the runs         {runs}
  see the versions     {SCRIPT} list-versions --model-name {name}
  try in Staging       {SCRIPT} transition --model-name {name} --version N --stage Staging
  put in Production    {SCRIPT} promote --model-name {name} --stage Production
  predict              {predict_command(root, problem)}
  serve                make serve PROBLEM={problem}
  retrain              python scripts/retrain_model.py --problem {problem}
  plots, metrics       dvc plots show · dvc metrics show"""


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
    print(comparison + next_steps(root, options.problem, champion))


if __name__ == "__main__":
    run_command(main)
