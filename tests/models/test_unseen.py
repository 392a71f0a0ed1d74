"""Texts that did not come up in training are told with their number."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.models import served

from lockstep.models.scoring.unseen import unseen_texts
from lockstep.problems.schema import Schema

TOWN = {"kind": "categorical", "missing": True}
KNOWN = ["Oslo", "01067", "56832", "São Paulo", "New York", "a-1"]


def lines(texts, known=KNOWN, **town):
    columns = {"town": TOWN | town, "y": {"kind": "target", "codes": {0: "", 1: ""}}}
    head = {"name": "toy", "title": "Toy", "task": "binary", "unit": "row"}
    head |= {"registered_name": "Toy", "experiment": "toy", "columns": columns}
    encoder = SimpleNamespace(known_levels_={"town": np.array(known)})
    table = pd.DataFrame({"town": pd.Series(texts, dtype="str")})
    return unseen_texts(encoder, Schema.model_validate(head), table)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("oslo", "Oslo"),
        ("OSLO.", "Oslo"),
        ("1067", "01067"),
        ("56832.0", "56832"),
        ("new  york", "New York"),
        ("A1", "a-1"),
    ],
)
def test_another_spelling_is_told_with_the_one_of_training(text, other):
    (said,) = lines(["Oslo", text, None, text])
    assert said == (
        f"town: 2 of 3 values did not come up in training (e.g. '{text}'; training has '{other}')"
    )


def test_a_text_like_no_other_is_told_alone():
    (said,) = lines(["Rome", "Oslo"])
    assert said == "town: 1 of 2 values did not come up in training (e.g. 'Rome')"


def test_an_example_with_a_like_is_preferred():
    (said,) = lines(["Rome", "oslo"])
    assert "(e.g. 'oslo'; training has 'Oslo')" in said


@pytest.mark.parametrize("texts", [["Oslo", "New York"], [None, None], []])
def test_nothing_is_told_of_what_training_has(texts):
    assert lines(texts) == []


def test_columns_with_codes_are_checked_elsewhere():
    assert lines(["Rome"], codes={"Oslo": ""}) == []


def test_a_trained_encoder_knows_the_texts_of_every_column_that_models_see():
    encoder = served.pipeline_of("binary", "lightgbm", "none").named_steps["encoder"]
    schema = served.schema_of("binary")
    table = served.rows_of("binary", 500, 10)  # the rows that it was trained on
    assert unseen_texts(encoder, schema, table) == []
    names = [c.name for c in schema.features if not c.holds_numbers and not c.codes]
    assert names
    changed = table.assign(**dict.fromkeys(names, "never"))
    said = unseen_texts(encoder, schema, changed)
    assert [line.split(":")[0] for line in said] == names
