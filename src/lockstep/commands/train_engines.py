"""Train a problem's models with scikit-learn or on Spark, in an environment of params.yaml.

Everything goes through DVC's stages: those of dvc.yaml, and for Spark those of spark/dvc.yaml.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from lockstep.commands.environments import root_of
from lockstep.commands.train import next_steps, train
from lockstep.commands.train_models import problem_options
from lockstep.commands.train_spark import train_on_spark
from lockstep.config.layout import stage_root
from lockstep.config.params import load_params
from lockstep.config.settings import SPARK_MASTER
from lockstep.console import Parser
from lockstep.errors import UsageError

DOORS = {"sklearn": "train_sklearn", "spark": "train_spark", None: "train"}


def run(engine: str | None, options: argparse.Namespace) -> str:
    """Train in the environment's folder; return the comparison and the commands to run next."""
    root = stage_root()
    environment = load_params(root).environment(options.env)
    chosen = engine or environment.engine
    if options.master and chosen != "spark":
        raise UsageError(
            f"--master is for Spark, and --env {options.env} trains with {chosen}; run "
            "`python src/models/train_spark.py`, or set environments."
            f"{options.env}.engine: spark in params.yaml"
        )
    where = root_of(root, options.env)
    apart = where != root
    spark = chosen == "spark"
    found = _on_spark(where, options) if spark else _here(where, options, apart)
    if not apart:
        return found
    place = where.relative_to(root)
    return f"{found}\nTrained apart in {place} (--env {options.env}); nothing is registered."


def _on_spark(where: Path, options: argparse.Namespace) -> str:
    os.environ.update({SPARK_MASTER: options.master} if options.master else {})
    return train_on_spark(where, options.problem, options.models)


def _here(where: Path, options: argparse.Namespace, apart: bool) -> str:
    champion, comparison = train(where, options.problem, options.models)
    return comparison + ("" if apart else next_steps(where, options.problem, champion))


def parser(engine: str | None) -> argparse.ArgumentParser:
    """Return the command line's parser."""
    about = {
        "sklearn": "Train a problem's models on this machine.",
        "spark": "Train a problem's models on Spark.",
        None: "Train a problem's models by the engine that the environment names.",
    }[engine]
    top = Parser(prog=f"python src/models/{DOORS[engine]}.py", description=about)
    problem_options(top, "accidents")
    shown = "an environment of params.yaml: dev is a small trial apart (default: prod)"
    top.add_argument("--env", default="prod", help=shown)
    shown = "Spark's master, as local[4] or spark://host:7077 (default: this machine's cores)"
    top.add_argument("--master", help=shown if engine != "sklearn" else argparse.SUPPRESS)
    return top


def main(engine: str | None = None) -> None:
    """Parse the command line, train, print the result."""
    print(run(engine, parser(engine).parse_args()))
