"""Stage prepare_spark: raw files to tidy rows, fitted encoder and encoded matrices, on Spark."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lockstep.config.layout import SPARK, ProblemLayout, stage_root
from lockstep.config.params import load_params
from lockstep.engines.preparing import learn_encoder, read_rows, write_matrices, write_tidy
from lockstep.engines.session import spark_session
from lockstep.errors import run_command
from lockstep.features.build_features import report
from lockstep.features.encoder import encoder_of
from lockstep.features.matrices import summary_of
from lockstep.features.matrix_columns import CLASSES, GROUP, TARGET
from lockstep.io import whole_file, whole_folder, write_json
from lockstep.joblib_files import write_joblib
from lockstep.problems.schema import load_schema

CODE_MODULES = ("lockstep.problems.{problem}.raw?",)
"""What reading the source imports by name."""


def run(root: Path, problem: str) -> dict[str, Any]:
    """Make a problem's tidy rows, encoder and matrices from its raw files; return the summary."""
    layout, schema = ProblemLayout(root, problem, SPARK), load_schema(problem)
    params = load_params(root)
    section, partitions = params.problem(problem), params.prepare_spark[problem].partitions
    encoder = encoder_of(schema, section.features)
    with (
        spark_session(app=f"prepare_spark {problem}") as spark,
        whole_folder(layout.tidy) as tidy,
        whole_folder(layout.features) as features,
    ):
        quality = write_tidy(
            spark, layout.raw, section.source.kind, schema, section.preprocess, tidy
        )
        rows = read_rows(tidy, schema, section)
        if schema.task == "multiclass":
            setattr(encoder, CLASSES, rows.classes)
        known = features / "known"
        learned, chunks = learn_encoder(spark, encoder, rows, schema, tidy, known)
        write_matrices(spark, learned, chunks, schema, partitions, features)
        for path in known.iterdir():
            path.unlink()
        known.rmdir()
    summary = summary_of(
        rows.table,
        rows.parts,
        schema,
        rows.classes,
        rows.by_part({TARGET: rows.target, GROUP: rows.group}),
        len(encoder.get_feature_names_out()),
    )
    with whole_file(layout.encoder) as path, path.open("wb") as file:
        write_joblib(file, encoder)
    labels = {"column": schema.target, "classes": rows.classes}
    write_json(layout.label_encoder, labels, digits=None)
    write_json(layout.data_quality, quality)
    write_json(layout.features_summary, summary)
    return summary


def main() -> None:
    """Parse the command line that DVC gives, and run the stage."""
    parser = argparse.ArgumentParser(
        prog="python -m lockstep.engines.prepare_spark", description=__doc__
    )
    parser.add_argument("--problem", required=True, help="a problem of params.yaml")
    print(report(run(stage_root(), parser.parse_args().problem)))


if __name__ == "__main__":
    run_command(main)
