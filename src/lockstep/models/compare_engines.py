"""Stage compare_engines: the models of both engines side by side, on the same test rows."""

from __future__ import annotations

import argparse
from pathlib import Path

from lockstep.config.layout import SPARK, ProblemLayout, stage_root
from lockstep.config.params import load_params
from lockstep.errors import run_command
from lockstep.io import write_csv, write_json
from lockstep.models.compare_models import compare


def run(root: Path, problem: str) -> str:
    """Compare the types of both engines, write the table, and return it for people."""
    params, layout = load_params(root), ProblemLayout(root, problem, SPARK)
    types = [*params.problem(problem).model_types, *params.spark_types(problem)]
    table, champion, text = compare(root, problem, types)
    write_csv(layout.comparison, table)
    write_json(layout.champion, champion)
    return text


def main() -> None:
    """Parse the command line, compare, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m lockstep.models.compare_engines", description=__doc__
    )
    parser.add_argument("--problem", required=True, help="a problem of params.yaml")
    print(run(stage_root(), parser.parse_args().problem))


if __name__ == "__main__":
    run_command(main)
