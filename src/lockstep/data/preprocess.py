"""Stage preprocess: raw files → one tidy, checked table and what was done to it."""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import ProblemLayout, stage_root
from lockstep.config.params import Preprocess, load_params
from lockstep.errors import ConfigError, DataError, run_command
from lockstep.io import write_json, write_parquet
from lockstep.problems.schema import Schema, load_schema

if TYPE_CHECKING:
    import pandas as pd

    from lockstep.data.checks import Checked
    from lockstep.problems.text_tables import RawTable

CODE_MODULES = ("lockstep.problems.{problem}.raw?",)
"""What ``read_source`` imports by name."""


def main() -> None:
    """Run the stage for one problem."""
    about = "Make one tidy, checked table of a problem's raw files."
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--problem", required=True, help="a problem of params.yaml")
    problem, root = parser.parse_args().problem, stage_root()
    section, schema = load_params(root).problem(problem), load_schema(problem)
    layout = ProblemLayout(root, problem)
    table, quality = tidy(layout.raw, section.source.kind, schema, section.preprocess)
    write_parquet(layout.tidy, table)
    write_json(layout.data_quality, quality)
    rows = quality["rows"]
    print(f"{problem}: {rows['in']:,} rows in, {rows['out']:,} out → {layout.tidy}")


def tidy(
    folder: Path, kind: str, schema: Schema, rules: Preprocess
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the tidy table of the raw files in ``folder`` and its quality figures."""
    from lockstep.data.checks import check_table

    raw = read_source(folder, kind, schema, mark_copies=rules.duplicates == "drop")
    checked = check_table(schema, raw, rules)
    return checked.table, quality_of(checked, raw.counts, missing_values(checked.table), schema)


def read_source(folder: Path, kind: str, schema: Schema, mark_copies: bool = False) -> RawTable:
    """Read a table by the schema, or raw files by the problem's own loader.

    Files of a generator or publisher are a table too, where the problem has no loader.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is missing; run `dvc repro` (or `dvc checkout`) to make it")
    name = f"lockstep.problems.{schema.name}.raw"
    has_loader = importlib.util.find_spec(name) is not None
    if kind == "table" or (kind != "files" and not has_loader):
        from lockstep.data.tables import read_table

        return read_table(folder, schema, mark_copies)
    if not has_loader:
        fix = f"set problems.{schema.name}.source.kind to table"
        raise ConfigError(f"{schema.name} reads prepared tables only; {fix}")
    return importlib.import_module(name).read_raw(folder)


def missing_values(table: pd.DataFrame) -> dict[str, int]:
    """Return how many values each column lacks."""
    return {str(name): int(n) for name, n in table.isna().sum().items() if n}


def quality_of(
    checked: Checked, counts: dict[str, int], missing: dict[str, int], schema: Schema
) -> dict[str, Any]:
    """Return rows in, out and dropped, values set to missing, and a summary of the table.

    ``counts`` are the source's own. Of the table, only what the summary names is read.
    """
    table, rows_in = checked.table, checked.rows_in
    quality = {
        "rows": {"in": rows_in, "out": len(table), "dropped": rows_in - len(table)},
        "dropped": {reason: n for reason, n in sorted(checked.dropped.items()) if n},
        "unknown_codes": checked.unknown_codes,
        "out_of_range": checked.out_of_range,
        "missing": missing,
        "source": dict(sorted(counts.items())),
    }
    return quality | _summary(table, schema)


def _summary(table: pd.DataFrame, schema: Schema) -> dict[str, Any]:
    """Return groups, rows by year and by part, and the target's mean or class shares."""
    found: dict[str, Any] = {"groups": int(table[schema.group].nunique())} if schema.group else {}
    if schema.date and table[schema.date].dtype.kind == "M":
        found["years"] = _counts(table[schema.date].dropna().dt.year)  # NaN would make years floats
    if schema.part and table[schema.part].notna().any():
        found["parts"] = _counts(table[schema.part])
    target = table[schema.target]
    if schema.task == "binary" and target.dtype.kind == "i":
        return found | {"positive_rate": float(target.mean())}
    if schema.task == "regression":
        return found | {"target_mean": float(target.mean())}
    return found | {"classes": _counts(target)}


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(value): int(count) for value, count in values.value_counts().sort_index().items()}


if __name__ == "__main__":
    run_command(main)
