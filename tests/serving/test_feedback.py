import json

import pytest

from lockstep.problems.schema import Schema, load_schema
from lockstep.serving.feedback import read_labels
from lockstep.serving.http_request import Refusal

ACCIDENTS, HOUSES = load_schema("accidents"), load_schema("california_housing")


def test_one_label_or_a_list_of_them():
    assert read_labels(ACCIDENTS, b'{"request_id": "a-1", "label": 1}')[0][:3] == ("a-1", 1, 1)
    found = read_labels(
        HOUSES, b'[{"request_id": "a", "row": 3, "label": 2.5}, {"request_id": "b", "label": 1}]'
    )
    assert [one[:3] for one in found] == [("a", 3, 2.5), ("b", 1, 1)]


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ({"request_id": "a", "label": 2}, "label"),
        ({"request_id": "a", "label": None}, "label"),
        ({"request_id": "a", "label": [1]}, "label"),
        ({"request_id": "a", "label": {"x": 1}}, "label"),
        ({"request_id": "a"}, "label"),
        ({"request_id": "a b", "label": 1}, "request_id"),
        ({"label": 1}, "request_id"),
        ({"request_id": "a", "label": 1, "row": 0}, "row"),
        ({"request_id": "a", "label": 1, "row": True}, "row"),
        ({"request_id": "a", "label": 1, "lable": 1}, "lable"),
    ],
)
def test_a_fault_names_its_field(label, field):
    with pytest.raises(Refusal) as caught:
        read_labels(ACCIDENTS, json.dumps(label).encode())
    assert caught.value.status == 422
    assert [fault["field"] for fault in caught.value.faults] == [field]


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"[]", 400), (b"3", 400), (b"[1]", 400), (b"{", 400)]
)
def test_what_is_no_label_at_all(body, status):
    with pytest.raises(Refusal) as caught:
        read_labels(ACCIDENTS, body)
    assert caught.value.status == status


def test_more_than_a_thousand_are_too_many():
    with pytest.raises(Refusal, match="1,000 at most") as caught:
        read_labels(ACCIDENTS, json.dumps([{"request_id": "a", "label": 1}] * 1001).encode())
    assert caught.value.status == 413


def schema_with(task, **target):
    """Return a schema with one feature and this target."""
    columns = {"x": {"kind": "numeric"}, "y": {"kind": "target", **target}}
    content = {"name": "toy", "title": "Toy", "task": task, "unit": "row", "columns": columns}
    content |= {"registered_name": "toy", "experiment": "toy"}
    return Schema.model_validate(content)


EUROS = schema_with("regression", decimal=",", absent=["?"])
CODES = schema_with("binary", codes={0: "", 1: ""})
WORDS = schema_with("multiclass", codes={"None": "", "NA": "", "3": ""})
REFUSED = "refused"


@pytest.mark.parametrize(
    ("schema", "text", "meant"),
    [
        (EUROS, "84.015,07 €", 84015.07),
        (EUROS, " 84.015", 84015.0),
        (EUROS, "12", 12.0),
        (EUROS, "?", REFUSED),
        (EUROS, "NA", REFUSED),
        (EUROS, "much", REFUSED),
        (CODES, "1", 1),
        (CODES, "1.0", 1),
        (CODES, "", REFUSED),
        (CODES, "0.5", REFUSED),
        (CODES, "2", REFUSED),
        (WORDS, " None ", "None"),
        (WORDS, "NA", "NA"),
        (WORDS, "3", "3"),
        (WORDS, "3.0", REFUSED),
        (WORDS, "null", REFUSED),
    ],
)
def test_a_text_is_a_cell_of_the_targets_column(schema, text, meant):
    body = json.dumps([{"request_id": "a", "label": text}] * 2).encode()
    if meant == REFUSED:
        with pytest.raises(Refusal, match="label must be") as caught:
            read_labels(schema, body)
        assert [fault["field"] for fault in caught.value.faults] == ["label", "label"]
        return
    found = [one.label for one in read_labels(schema, body)]
    assert found == [meant, meant]
    assert type(found[0]) is type(meant)


@pytest.mark.parametrize(
    ("codes", "label", "meant"),
    [
        ({0: "", 1: ""}, True, 1),
        ({0: "", 1: ""}, False, 0),
        ({0: "", 1: ""}, "TRUE", 1),
        ({"FALSE": "", "TRUE": ""}, True, "TRUE"),
        ({"FALSE": "", "TRUE": ""}, "False", "FALSE"),
        ({"False": "", "True": "", "unsure": ""}, False, "False"),
    ],
)
def test_true_and_false_are_the_labels_that_a_file_has_for_them(codes, label, meant):
    schema = schema_with("multiclass" if len(codes) > 2 else "binary", codes=codes)
    body = json.dumps({"request_id": "a", "label": label}).encode()
    (found,) = read_labels(schema, body)
    assert (found.label, type(found.label)) == (meant, type(meant))


@pytest.mark.parametrize("codes", [{1: "", 2: ""}, {"no": "", "yes": ""}])
def test_true_is_no_label_of_other_classes(codes):
    with pytest.raises(Refusal, match="label must be one of"):
        read_labels(schema_with("binary", codes=codes), b'{"request_id": "a", "label": true}')
