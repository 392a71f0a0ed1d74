"""Stages compare and compare_engines: the types of one problem side by side, and the champion."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import SPARK, ProblemLayout, stage_root
from lockstep.config.params import load_params
from lockstep.dvc.lineage import stage_target
from lockstep.errors import DataError, run_command
from lockstep.io import read_parquet, write_csv, write_json
from lockstep.models.type_metrics import read_type_metrics, type_metrics_file
from lockstep.problems.schema import load_schema

if TYPE_CHECKING:
    import pandas as pd

    from lockstep.evaluation.comparison import Candidate


def run(root: Path, problem: str, engine: str = "") -> str:
    """Compare a problem's types, write comparison and champion, return the table for people.

    With an engine named, its types stand beside those of this machine, in its own files.
    """
    layout, params = ProblemLayout(root, problem, engine), load_params(root)
    more = params.spark_types(problem) if engine else []
    types = [*params.problem(problem).model_types, *more]
    table, champion, text = compare(root, problem, types)
    write_csv(layout.comparison, table)
    write_json(layout.champion, champion)
    return text


def compare(
    root: Path, problem: str, types: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, Any], str]:
    """Return the comparison of trained types, the champion and why, and the table for people."""
    from lockstep.evaluation.comparison import (
        best_reachable,
        champion_of,
        check_same_rows,
        comparison_table,
        readable,
    )
    from lockstep.evaluation.metrics import check_metric

    settings, layout = load_params(root).problem(problem).compare, ProblemLayout(root, problem)
    metric = check_metric(settings.metric, load_schema(problem).task)
    candidates = [read_candidate(layout, name) for name in types]
    check_same_rows(candidates)
    champion, value = champion_of(candidates, metric)
    table = comparison_table(candidates, settings, champion)
    reachable = best_reachable(candidates[0])
    content: dict[str, Any] = {"type": champion, "metric": metric, "value": value}
    content |= {"best_reachable": reachable} if reachable else {}
    return table, content, readable(table, metric, reachable)


def read_candidate(layout: ProblemLayout, model_type: str) -> Candidate:
    """Read a type's scores and threshold; DataError, with the command, if it was not trained."""
    from lockstep.evaluation.comparison import Candidate

    needed = layout.scores(model_type), type_metrics_file(layout, model_type)
    missing = [path for path in needed if not path.is_file()]
    if missing:
        stage = stage_target(layout.problem, model_type)
        where = missing[0].relative_to(layout.root)
        raise DataError(f"{model_type} has no {where}; run `dvc repro {stage}`")
    metrics = read_type_metrics(layout, model_type)
    scores = read_parquet(layout.scores(model_type))
    return Candidate(model_type, metrics.get("threshold"), scores, _more(metrics))


def _more(metrics: dict[str, Any]) -> dict[str, float]:
    """Return metrics that don't follow from the scores: of training rows and intervals."""
    held = metrics.get("interval", {})
    found = {f"train_{name}": value for name, value in metrics.get("train", {}).items()}
    wanted = {"interval_coverage": held.get("coverage"), "interval_width": held.get("mean_width")}
    return found | {name: value for name, value in wanted.items() if value is not None}


def main() -> None:
    """Parse the command line, compare, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m lockstep.models.compare_models", description=__doc__
    )
    parser.add_argument("--problem", required=True, help="a problem of params.yaml")
    parser.add_argument("--engine", default="", choices=[SPARK], help="compare its types too")
    arguments = parser.parse_args()
    print(run(stage_root(), arguments.problem, arguments.engine))


if __name__ == "__main__":
    run_command(main)
