"""Stage features: split, fitted encoder and encoded matrices of one problem."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import PARTS, ProblemLayout, stage_root
from lockstep.config.params import load_params
from lockstep.errors import run_command
from lockstep.io import read_parquet, whole_file, whole_folder, write_json, write_parquet
from lockstep.problems.schema import load_schema

if TYPE_CHECKING:
    import pandas as pd

    from lockstep.features.columns_v1 import ColumnEncoder


def run(root: Path, problem: str) -> dict[str, Any]:
    """Make a problem's matrices and encoder from its tidy table; return the summary."""
    from lockstep.features.encoder import encoder_of
    from lockstep.features.matrices import classes_of, encode_parts, summary_of
    from lockstep.features.split import split_rows

    layout, schema = ProblemLayout(root, problem), load_schema(problem)
    settings = load_params(root).problem(problem)
    table = read_parquet(layout.tidy)
    parts = split_rows(table, schema, settings.split)
    classes = classes_of(table, schema)
    encoder = encoder_of(schema, settings.features)
    matrices = encode_parts(table, parts, schema, classes, encoder)
    summary = summary_of(
        table, parts, schema, classes, matrices, len(encoder.get_feature_names_out())
    )
    write_outputs(layout, matrices, encoder, {"column": schema.target, "classes": classes}, summary)
    return summary


def write_outputs(
    layout: ProblemLayout,
    matrices: dict[str, pd.DataFrame],
    encoder: ColumnEncoder,
    labels: dict[str, Any],
    summary: dict[str, Any],
) -> None:
    """Write matrices, encoder, classes and summary."""
    with whole_folder(layout.features) as folder:
        for part, matrix in matrices.items():
            write_parquet(folder / layout.matrix(part).name, matrix)
    write_encoder(layout, encoder, labels, summary)


def write_encoder(
    layout: ProblemLayout, encoder: ColumnEncoder, labels: dict[str, Any], summary: dict[str, Any]
) -> None:
    """Write encoder, classes and summary."""
    from lockstep.joblib_files import write_joblib

    with whole_file(layout.encoder) as path, path.open("wb") as file:
        write_joblib(file, encoder)
    write_json(layout.label_encoder, labels, digits=None)
    write_json(layout.features_summary, summary)


def report(summary: dict[str, Any]) -> str:
    """Return the summary in one line."""
    rows = ", ".join(f"{part} {summary[part]['rows']:,}" for part in PARTS)
    return f"features: {summary['encoded_columns']} encoded columns; rows: {rows}"


def main() -> int | None:
    """Read the command line and run the stage."""
    parser = argparse.ArgumentParser(prog="build_features", description=__doc__)
    parser.add_argument("--problem", required=True, help="name of the problem, as in params.yaml")
    print(report(run(stage_root(), parser.parse_args().problem)))
    return 0


if __name__ == "__main__":
    run_command(main)
