"""The same rows have equal probabilities by whatever path.

The paths are training's own, the file prediction, the API and `mlflow models serve`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from benchmarks.serve import mlflow_server, posted, request_rows, split
from tests.serving.conftest import Running, Trained

from lockstep.config.layout import ProblemLayout
from lockstep.data.records import records_to_table
from lockstep.evaluation.metrics import SCORE_DECIMALS
from lockstep.models.type_metrics import read_type_metrics

ROWS = 200


@pytest.fixture(scope="module", params=["credit_risk", "accidents"])
def running(request: pytest.FixtureRequest) -> Running:
    return request.getfixturevalue("credit_server" if request.param == "credit_risk" else "server")


@pytest.fixture(scope="module")
def trained(running: Running, request: pytest.FixtureRequest) -> Trained:
    problem = running.variables.get("PROBLEM", "accidents")
    return Trained(running.root, problem, "lightgbm" if problem == "credit_risk" else "xgboost")


@pytest.fixture(scope="module")
def records(trained: Trained) -> list[dict[str, Any]]:
    """Rows of what each column may hold: each code, both ends of its range, nothing if allowed."""
    plain = request_rows(trained.schema, ROWS)
    found = plain + [
        {**plain[0], column.name: end}
        for column in trained.schema.features
        for end in (column.low, column.high)
        if end is not None and not column.codes
    ]
    for column in trained.schema.features:
        values = {row[column.name] for row in found}
        assert (None in values) == column.missing, column.name
        assert values >= {*column.codes} or len(column.codes) > 60, column.name
    return found


def test_every_way_to_a_prediction_gives_equal_probabilities(
    running: Running,
    trained: Trained,
    records: list[dict[str, Any]],
    tmp_path: Path,
    capsys,
    monkeypatch,
):
    wanted = trained.model.score(records_to_table(trained.schema, records))
    assert len(np.unique(wanted)) > ROWS / 10
    by_file = [
        one["probability"]
        for one in predicted_from_file(trained, records, tmp_path, capsys, monkeypatch)
    ]
    assert by_file == wanted.tolist()

    with mlflow_server(trained.file, tmp_path, trained.schema) as port:
        theirs = np.array(posted(port, "/invocations", split(records))["predictions"])
    answered = running.post("/predict", records).json["predictions"]
    explained = running.post("/explain", records).json["explanations"]
    singly = [running.post("/predict", one).json["probability"] for one in records[:50]]
    assert [one["probability"] for one in answered] == wanted.tolist()
    assert [one["probability"] for one in explained] == wanted.tolist()
    assert singly == wanted[:50].tolist()
    # MLflow calls predict_proba, which nobody rounds;
    # everything of ours is rounded so that no platform shows.
    assert np.round(theirs[:, 1], SCORE_DECIMALS).tolist() == wanted.tolist()
    assert np.abs(theirs[:, 1] - wanted).max() <= 0.5 * 10**-SCORE_DECIMALS + 1e-15


def predicted_from_file(
    trained: Trained,
    records: list[dict[str, Any]],
    folder: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> list[dict[str, Any]]:
    from lockstep.commands.predict_model import main

    file = folder / "records.json"
    file.write_text(json.dumps(records))
    monkeypatch.chdir(trained.root)
    main([str(file), "--model-path", str(trained.file), "--json"])
    return json.loads(capsys.readouterr().out)


def test_what_training_scored_encoded_is_what_the_whole_pipeline_scores_raw(credit: Trained):
    layout, schema = ProblemLayout(credit.root, "credit_risk"), credit.schema
    matrix, table = pd.read_parquet(layout.matrix("test")), pd.read_parquet(layout.tidy)
    pipeline = credit.model.pipeline
    raw = table.iloc[matrix["__row__"].to_numpy()]
    encoded = matrix[list(pipeline["encoder"].feature_kinds_)]
    assert (raw[schema.target].to_numpy() == matrix["__target__"].to_numpy()).all()
    ours = credit.model.score(raw[schema.feature_names])
    theirs = pipeline["model"].predict_proba(encoded)[:, 1]
    assert np.array_equal(ours, np.round(theirs, SCORE_DECIMALS))
    told = read_type_metrics(layout, "lightgbm")["test"]["roc_auc"]
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(matrix["__target__"], ours) == pytest.approx(told, abs=1e-5)
