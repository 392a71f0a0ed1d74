"""Stage prepare_spark: raw files to tidy rows, fitted encoder and encoded matrices, on Spark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lockstep.config.layout import SPARK, ProblemLayout, stage_root
from lockstep.config.params import load_params
from lockstep.engines.preparing import (
    Rows,
    learn_encoder,
    read_rows,
    write_matrices,
    write_tidy,
)
from lockstep.engines.scratch import output_folder, scratch_folder
from lockstep.engines.session import spark_session
from lockstep.errors import run_command
from lockstep.features.build_features import report, write_encoder
from lockstep.features.encoder import encoder_of
from lockstep.features.matrices import summary_of
from lockstep.features.matrix_columns import GROUP, TARGET
from lockstep.io import write_json
from lockstep.problems.schema import Schema, load_schema

CODE_MODULES = ("lockstep.problems.{problem}.raw?",)
"""What reading the source imports by name."""


def run(root: Path, problem: str) -> dict[str, Any]:
    """Make a problem's tidy rows, encoder and matrices from its raw files; return the summary."""
    layout, params = ProblemLayout(root, problem, SPARK), load_params(root)
    schema, section = load_schema(problem), params.problem(problem)
    encoder = encoder_of(schema, section.features)
    with (
        # Tasks end with the session; only then are its folders renamed or removed.
        output_folder(layout.tidy) as tidy,
        output_folder(layout.features) as features,
        # Executors read it, so it lies beside what they write.
        scratch_folder(layout.data, "known") as known,
        spark_session(app=f"prepare_spark {problem}") as spark,
    ):
        source = section.source.kind
        quality = write_tidy(spark, layout.raw, source, schema, section.preprocess, tidy)
        rows = read_rows(spark, tidy, schema, section)
        learned, chunks = learn_encoder(spark, encoder, rows, schema, tidy, known)
        partitions = params.prepare_spark[problem].partitions
        write_matrices(spark, learned, chunks, schema, partitions, features)
    summary = summary_of_rows(rows, schema, len(encoder.get_feature_names_out()))
    write_encoder(layout, encoder, {"column": schema.target, "classes": rows.classes}, summary)
    write_json(layout.data_quality, quality)
    return summary


def summary_of_rows(rows: Rows, schema: Schema, encoded_columns: int) -> dict[str, Any]:
    """Return rows, groups, target and dates by part, as the features stage does."""
    parts = rows.by_part({TARGET: rows.target, GROUP: rows.group})
    return summary_of(rows.table, rows.parts, schema, rows.classes, parts, encoded_columns)


def main() -> None:
    """Parse the command line that DVC gives, and run the stage."""
    parser = argparse.ArgumentParser(
        prog="python -m lockstep.engines.prepare_spark", description=__doc__
    )
    parser.add_argument("--problem", required=True, help="a problem of params.yaml")
    print(report(run(stage_root(), parser.parse_args().problem)))


if __name__ == "__main__":
    run_command(main)
