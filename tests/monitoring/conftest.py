"""A served model with its registry, and a prediction log of any length, written as the API does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest
import yaml
from tests.serving.conftest import LOCAL, NAME, UNSET, client_of

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Sample, load_params
from lockstep.config.settings import PredictionLogSection
from lockstep.data.import_raw import import_sample
from lockstep.data.preprocess import tidy
from lockstep.data.values import json_values
from lockstep.features import build_features
from lockstep.io import write_json, write_parquet
from lockstep.models import train_multi_model
from lockstep.monitoring.log_files import Entry, Label
from lockstep.problems.accidents import sample
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.lifecycle.moves import promote
from lockstep.registry.train_stage import publish_training
from lockstep.serving.prediction_log import PredictionLog

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "scripts" / "monitor.py"
A_REQUEST = 25
UNITS = 2500
"""Accidents of the sample: about 5,700 persons."""


@dataclass
class Served:
    """A workspace whose version 1 is in Production."""

    root: Path
    client: Any
    rows: pd.DataFrame

    @property
    def folder(self) -> Path:
        return self.root / ".lockstep" / "predictions"

    def new(self, month: str) -> pd.DataFrame:
        """Return new rows of a month, as its season has them: the sample's year is repeated."""
        return self.rows[self.rows["date"].dt.month == int(month[5:])]

    def model(self, version: int = 1) -> Any:
        found = find_version(self.client, NAME, version=version)
        return open_version(locate(self.client, found, self.root))

    def answer(
        self,
        month: str,
        table: pd.DataFrame | None = None,
        labels: np.ndarray | None = None,
        version: int = 1,
    ) -> list[Entry]:
        """Log rows, by default new ones, as answered on the days of a month; return the entries."""
        table = self.new(month) if table is None else table
        model = self.model(version)
        scores = model.score(table)
        decided = (scores >= model.threshold).astype(int).tolist()
        names = model.schema.feature_names
        columns = [json_values(table[name].tolist()) for name in names]
        records = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        start = pd.Timestamp(f"{month}-01", tz="UTC").value // 10**6
        log = PredictionLog(self.folder, PredictionLogSection())
        log.start()
        made = []
        for number, first in enumerate(range(0, len(table), A_REQUEST)):
            part = slice(first, min(first + A_REQUEST, len(table)))
            moment = start + (number % 28) * 86_400_000
            request = f"{month}-{version}-{number}"
            known = (request, moment, NAME, version, model.digest, part.stop - first)
            given = (scores[part], decided[part], orjson.dumps(records[part]))
            made.append(Entry(*known, *given, "accidents", model.threshold, "probability"))
            log.add(made[-1])
            if labels is not None:
                own = labels[part].tolist()
                log.label([Label(request, n, one, moment) for n, one in enumerate(own, 1)])
        log.writer.close()
        assert log.writer.dropped == 0
        return made

    def run(self, *words: str, code: int = 0) -> str:
        """Run the command and return what it printed."""
        environment = {k: v for k, v in os.environ.items() if k not in UNSET} | LOCAL
        done = subprocess.run(
            [sys.executable, SCRIPT, "--problem", "accidents", *words],
            cwd=self.root, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def written(self) -> Path:
        return self.root / ".lockstep" / "monitoring" / "accidents"

    @property
    def report(self) -> Any:
        return orjson.loads((self.written / "report.json").read_bytes())


@pytest.fixture(scope="session")
def trained_twice(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Two versions of a model of a small sample, with all its tables."""
    root = tmp_path_factory.mktemp("watched") / "made"
    root.mkdir()
    shutil.copyfile(PROJECT / "dvc.yaml", root / "dvc.yaml")
    shutil.copyfile(PROJECT / "requirements.lock", root / "requirements.lock")
    shutil.copyfile(empty_store, root / "mlflow.db")
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    section, training = content["problems"]["accidents"], content["train"]["accidents-xgboost"]
    section["source"]["sample"]["units"] = UNITS
    section["model_types"] = ["xgboost"]
    training["cv_folds"] = 0
    for depth in (4, 3):
        training["params"] |= {"n_estimators": 60, "learning_rate": 0.15, "max_depth": depth}
        told = {"problems": {"accidents": section}, "train": {"accidents-xgboost": training}}
        (root / "params.yaml").write_text(yaml.safe_dump(told))
        if depth == 4:
            prepare(root)
        train_multi_model.run(root, "accidents", "xgboost")
        shutil.rmtree(root / "metrics/accidents/types/xgboost/plots")  # drawing takes a while
        publish_training(root, "accidents", "xgboost")
    return root


def prepare(root: Path) -> None:
    """Make the tables of a workspace."""
    problem, layout = load_params(root).problem("accidents"), ProblemLayout(root, "accidents")
    layout.raw.mkdir(parents=True)
    import_sample(root, "accidents", problem.source, layout.raw)
    source = (layout.raw, problem.source.kind, load_schema("accidents"))
    table, quality = tidy(*source, problem.preprocess)
    write_parquet(layout.tidy, table)
    write_json(layout.data_quality, quality)
    build_features.run(root, "accidents")


@pytest.fixture(scope="session")
def new_rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """A year of rows that no model has seen."""
    folder = tmp_path_factory.mktemp("new")
    sample.write_sample(Sample(units=9000, seed=77, years=[2021]), folder)
    section = load_params(PROJECT).problem("accidents")
    return tidy(folder, "sample", load_schema("accidents"), section.preprocess)[0]


@pytest.fixture
def served(trained_twice: Path, new_rows: pd.DataFrame, tmp_path: Path) -> Served:
    """A workspace of the test's own, version 1 in Production."""
    root = tmp_path / "a project"
    shutil.copytree(trained_twice, root)
    client = client_of(root)
    promote(client, NAME, 1)
    return Served(root, client, new_rows)
