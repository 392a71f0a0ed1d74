"""A trained workspace with a tidy table, and the browser that looks at its pages."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.browser import browser
from tests.models.conftest import make_rows, make_workspace

from lockstep.config.layout import ProblemLayout
from lockstep.io import read_parquet, write_json, write_parquet

__all__ = ["browser"]

TYPES = ("logistic_regression", "random_forest", "xgboost", "lightgbm")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace as all stages leave it: four types trained and compared, tidy rows, figures."""
    from lockstep.models import compare_models, train_multi_model

    root = tmp_path_factory.mktemp("reported")
    make_workspace(root)
    for name in TYPES:
        train_multi_model.run(root, "accidents", name)
    compare_models.run(root, "accidents")
    layout = ProblemLayout(root, "accidents")
    write_parquet(layout.tidy, tidy_rows(layout))
    quality = {"in": 4010, "out": 4000, "dropped": 10}
    facts = {"rows": quality, "dropped": {"severity_unknown": 10}, "missing": {"hour": 33}}
    write_json(layout.data_quality, facts)
    part = {"rows": 300, "groups": 150, "positive_rate": 0.25}
    write_json(layout.features_summary, dict.fromkeys(("train", "stop", "choose", "test"), part))
    return root


def tidy_rows(layout: ProblemLayout) -> pd.DataFrame:
    """Return 4,000 rows, those of the matrices at their places with their targets and days."""
    rows = make_rows(4000, seed=9)
    rows = pd.concat([rows] * (4000 // len(rows) + 1), ignore_index=True).head(4000)
    target = np.zeros(4000)
    for part in ("train", "stop", "choose", "test"):
        matrix = read_parquet(layout.matrix(part))
        target[matrix["__row__"]] = matrix["__target__"]
    days = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.arange(4000) // 11, unit="D")
    return rows.assign(grav=target, date=days)
