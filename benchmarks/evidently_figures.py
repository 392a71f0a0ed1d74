"""Evidently's figures of two tables, as JSON; runs in the environment that evidently_side makes.

python benchmarks/evidently_figures.py FOLDER

FOLDER holds reference.parquet and current.parquet. Columns of numbers and of text are told apart by
their type. Evidently reports p values for some tests only, so a statistic is asked of the function
that it calls.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import evidently
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import tvd_stattest
from evidently.metrics import ValueDrift
from scipy.stats import ks_2samp

OF_NUMBERS = {"psi": "psi", "ks p value": "ks", "wasserstein": "wasserstein"}
OF_CATEGORIES = {"psi": "psi", "chi-squared p value": "chisquare"}
DEFAULT = "default"


def main() -> None:
    """Print the version, and each column's figures and whether evidently calls it drift."""
    folder = Path(sys.argv[1])
    reference, current = (
        pd.read_parquet(folder / f"{n}.parquet") for n in ("reference", "current")
    )
    found = {name: figures(reference, current, name) for name in reference}
    print(json.dumps({"version": evidently.__version__, "figures": found}))


def figures(reference: pd.DataFrame, current: pd.DataFrame, name: str) -> dict[str, float]:
    """Return the figures of one column."""
    is_number = reference[name].dtype.kind == "f"
    kind = {"numerical_columns": [name]} if is_number else {"categorical_columns": [name]}
    sides = [
        Dataset.from_pandas(table[[name]], data_definition=DataDefinition(**kind))
        for table in (current, reference)
    ]
    methods = OF_NUMBERS if is_number else OF_CATEGORIES
    found = {label: drift(sides, name, method)[0] for label, method in methods.items()}
    score, limit = drift(sides, name, None)
    one, other = (table[name].dropna() for table in (reference, current))
    if is_number:
        found["ks gap"] = float(ks_2samp(one, other).statistic)
    else:
        found["total variation"] = float(tvd_stattest._total_variation_distance(one, other))
    return {**found, DEFAULT: float(score >= limit)}


def drift(sides: list, name: str, method: str | None) -> tuple[float, float]:
    """Return the drift score of a column and its threshold; by default a distance."""
    metric = ValueDrift(column=name, method=method)
    content = Report([metric]).run(*sides).dict()["metrics"][0]
    return float(content["value"]), float(content["config"].get("threshold") or "nan")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
