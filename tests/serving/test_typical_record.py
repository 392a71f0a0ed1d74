"""Page, description and checklist begin with a typical record, whatever a model is served from."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.models.served import pipeline_of, rows_of, schema_of
from tests.serving.conftest import LOCAL, NAME, Running, Trained, client_of, train_and_publish

from lockstep.audit.bundle import export
from lockstep.config.layout import ProblemLayout
from lockstep.config.serving import load_serving
from lockstep.config.settings import LimitsSection
from lockstep.io import read_json, read_parquet, write_json, write_parquet
from lockstep.models.golden_rows import golden_rows
from lockstep.models.scoring.prediction import Model
from lockstep.models.typical_record import CARD_KEY, typical_of_training, typical_record
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.packaging import Package
from lockstep.registry.artifact.released import release
from lockstep.registry.lifecycle.moves import promote
from lockstep.serving.loaded_model import CheckedModel, ServedModel, prepare
from lockstep.serving.openapi import example, openapi
from lockstep.serving.responses import explained, predicted

ACCIDENTS = load_schema("accidents")
FILE = "models/accidents/xgboost_model.joblib"
TYPICAL = example(ACCIDENTS) | {"victim_age": 31, "lum": 5, "lat": 43.3, "motor": None}


def write_tables(root: Path) -> None:
    """Give a workspace the tidy rows that its matrices came from; all are alike."""
    layout = ProblemLayout(root, "accidents")
    rows = len(read_parquet(layout.matrix("train")))
    columns = {c.name: [TYPICAL[c.name]] * rows for c in ACCIDENTS.features}
    write_parquet(layout.tidy, pd.DataFrame(columns).astype("float64"))


def example_of(served: ServedModel | None) -> dict[str, object]:
    """Return the example of a model's description, which is also that of its page."""
    assert served is not None
    told = json.loads(served.openapi)
    shown = told["components"]["schemas"]["Record"]["example"]
    asked = told["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    assert asked["example"] == shown
    facts = re.search(r'id="facts">(.*?)</script>', served.page.begun().result(30).decode())
    assert facts is not None
    assert json.loads(facts[1])["begins"] == shown
    return dict(shown)


def test_it_travels_with_a_version_a_bundle_a_release_and_a_file(root, source_of):
    write_tables(root)
    train_and_publish(root, 2)
    client = client_of(root)
    promote(client, NAME, 3)
    layout = ProblemLayout(root, "accidents")
    release(layout, "xgboost", {"name": NAME, "version": 3}, lambda model: None)
    export(client, root, NAME, root / "bundle", version=3)
    assert example_of(source_of(root, MODEL_PATH=FILE).served) == TYPICAL
    layout.tidy.unlink()  # what follows knows it without the data
    assert example_of(source_of(root, **LOCAL).served) == TYPICAL
    assert example_of(source_of(root, MODEL_PATH="bundle").served) == TYPICAL
    released = "models/accidents/production.pkl"
    assert example_of(source_of(root, MODEL_PATH=released).served) == TYPICAL
    assert CARD_KEY not in read_json(layout.model_card("xgboost"))


def test_mlflows_input_example_is_the_typical_record_if_no_value_is_missing():
    rows, complete = golden_rows(ACCIDENTS), TYPICAL | {"motor": 3}
    packed = Package(b"", ACCIDENTS, {}, rows, [], typical_record=complete)
    assert packed.example.to_dict("records") == [complete]
    assert packed.full_card == {CARD_KEY: complete}
    golden = rows.dropna().head(1).to_dict("records")
    for record in (TYPICAL, None, {"lum": 1}):
        packed = Package(b"", ACCIDENTS, {}, rows, [], typical_record=record)
        assert packed.example.to_dict("records") == golden


def test_an_older_version_begins_with_the_middle_of_each_range(root, source_of):
    for variables in ({**LOCAL, "MODEL_URI": f"models:/{NAME}/1"}, {"MODEL_PATH": FILE}):
        assert example_of(source_of(root, **variables).served) == example(ACCIDENTS)


def test_an_older_version_whose_rows_are_in_the_workspace_begins_with_their_values(root, source_of):
    write_tables(root)
    source = source_of(root, **LOCAL, MODEL_URI=f"models:/{NAME}/1")
    assert example_of(source.served) == TYPICAL


@pytest.mark.parametrize("odd", ["text", ["list"], {"lum": 99, "victim_age": "old", "no": 1}])
def test_a_card_that_holds_no_record_does_no_harm(root, source_of, odd):
    card = ProblemLayout(root, "accidents").model_card("xgboost")
    write_json(card, read_json(card) | {CARD_KEY: odd}, digits=None)
    assert example_of(source_of(root, MODEL_PATH=FILE).served) == example(ACCIDENTS)


def test_what_fits_of_it_is_shown_and_the_rest_is_the_schemas():
    shown = example(ACCIDENTS, {"victim_age": 31, "lum": 99, "motor": None, "year_acc": 2021})
    assert shown == example(ACCIDENTS) | {"victim_age": 31, "motor": None, "year_acc": 2021}
    described = openapi(ACCIDENTS, LimitsSection(), shown)
    assert described["components"]["schemas"]["Record"]["example"] == shown


@pytest.mark.parametrize(
    ("task", "name"),
    [("binary", "xgboost"), ("multiclass", "lightgbm"), ("regression", "ridge")],
)
def test_a_users_table_of_any_task_begins_with_a_record_that_is_answered(task, name, root):
    schema = schema_of(task)
    rows = rows_of(task, 300, 1).replace("__never_seen__", None)
    rows["hour"] = np.nan  # a column without any value
    typical = typical_record(schema, rows, np.arange(len(rows)))
    pipeline = pipeline_of(task, name, "none")
    threshold = 0.5 if task == "binary" else None
    model = Model(pipeline, schema, threshold, "Lending", version=1, digest="d")
    served = prepare(CheckedModel(model, "path", "", typical=typical), load_serving(root))
    shown = example_of(served)
    assert shown["hour"] is None
    body = json.dumps(shown).encode()
    for answer in (predicted(served, body, 1), explained(served, body, 1)):
        assert answer.rows == 1
        assert np.isfinite(answer.scores).all()
    page = served.page.begun().result(30).decode()
    assert 'name="hour" id="field-hour" data-kind="number" ' in page
    assert not re.search(r'value="(None|nan|null)"', page)


def test_a_server_over_real_stages_answers_the_record_that_its_form_begins_with(
    credit: Trained, credit_server: Running
):
    layout = ProblemLayout(credit.root, credit.problem)
    card = read_json(layout.model_card(credit.type))
    told = credit_server.get("/openapi.json").json["components"]["schemas"]["Record"]["example"]
    assert told == typical_of_training(layout, credit.schema, card)
    rows = read_parquet(layout.matrix("train"), ["__row__"])["__row__"]
    train = read_parquet(layout.tidy).iloc[rows]
    assert told["credit_score"] == train["credit_score"].quantile(interpolation="lower")
    assert told["income"] == pytest.approx(train["income"].median(), rel=1e-3)
    assert told["purpose"] == train["purpose"].mode()[0]
    assert credit_server.post("/predict", told).status == 200
    assert f'value="{told["income"]}"' in credit_server.get("/").body.decode()
