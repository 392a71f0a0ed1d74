"""The page's HTML: each feature has a control with unit, range and room for its fault."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from lockstep.monitoring.bins import Bins, number_bins
from lockstep.monitoring.feature_counts import FeatureCounts
from lockstep.problems.schema import Schema, load_schema, problem_names
from lockstep.serving.openapi import example
from lockstep.serving.what_if_page import FIRST, STEPS, what_if_page

VOID = {"meta", "link", "input", "path"}


class Page(HTMLParser):
    """The elements of a page, each with its attributes and the text that follows its start."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))

    def handle_data(self, data):
        if self.elements:
            self.elements[-1][2].append(data)

    def fields(self):
        return {a["name"]: (tag, a) for tag, a, _ in self.elements if "data-kind" in a}

    def of_id(self, name):
        return next((a, "".join(text)) for _, a, text in self.elements if a.get("id") == name)

    @property
    def facts(self):
        return json.loads(self.of_id("facts")[1])


@pytest.mark.parametrize("problem", problem_names())
def test_the_page_has_a_control_a_feature_and_fetches_nothing_from_elsewhere(problem):
    schema = load_schema(problem)
    text = what_if_page(schema)
    page = Page(text)
    assert list(page.fields()) == schema.feature_names
    assert list(page.facts["begins"]) == schema.feature_names
    assert page.facts["begins"] == example(schema)
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)
    assert len(text.encode()) < 150_000


@pytest.mark.parametrize("problem", problem_names())
def test_each_control_has_a_label_what_it_takes_and_room_for_its_fault(problem):
    schema = load_schema(problem)
    text = what_if_page(schema)
    page = Page(text)
    labels = {a.get("for") for tag, a, _ in page.elements if tag == "label"}
    for column in schema.features:
        _, field = page.fields()[column.name]
        assert field["id"] in labels
        hint, place, fault = field["aria-describedby"].split()
        words = text.split(f'id="{hint}">')[1].split("</span>")[0]
        assert ("optional" in words) == column.missing == ("aria-required" not in field)
        assert page.of_id(fault)[1].strip() == page.of_id(place)[1].strip() == ""
        if column.unit:
            assert f"({column.unit})</label>" in text
        if not column.codes and column.high is not None:
            assert f"{column.high:.12g}" in words.replace(",", "")
            assert page.facts["columns"][column.name]["high"] == column.high


def test_years_are_written_as_years_and_large_numbers_are_grouped():
    words = what_if_page(load_schema("accidents"))
    assert "whole number, 2005 to 2100<" in words.replace(", optional", "")
    assert "number, 0 to 10,000,000<" in what_if_page(load_schema("credit_risk"))


@pytest.mark.parametrize(
    ("problem", "scale", "told"),
    [
        ("accidents", "probability", "killed or taken to hospital for more than 24 hours"),
        ("credit_risk", "balanced", "default on the loan"),
    ],
)
def test_the_answer_says_of_what_and_on_which_scale(problem, scale, told):
    schema = load_schema(problem)
    facts = Page(what_if_page(schema, scale=scale)).facts
    codes = schema.columns[schema.target].codes
    assert facts["classes"] == {str(code): text for code, text in codes.items()}
    assert (facts["positive"], facts["scale"]) == (told, scale)


def test_the_answer_of_a_number_has_its_unit():
    facts = Page(what_if_page(load_schema("california_housing"))).facts
    assert facts["unit"] == "100,000 dollars"
    assert facts["target"].startswith("median value of owner-occupied homes")


def test_the_page_says_whether_it_begins_with_typical_values():
    schema = load_schema("credit_risk")
    assert "begins with an invented record." in what_if_page(schema)
    for typical in ("damaged", {"income": -1}):
        assert "begins with an invented record." in what_if_page(schema, typical)
    page = what_if_page(schema, {"income": 54321, "purpose": "MEDICAL"})
    begins = "begins with typical values of the model’s training rows"
    assert f"{begins}, where they are known." in page
    assert f"{begins}." in what_if_page(schema, example(schema))
    assert Page(page).fields()["income"][1]["value"] == "54321"
    assert '<option value="MEDICAL" selected>' in page


def test_controls_stand_in_a_given_order_and_the_others_in_a_section_of_their_own():
    schema = load_schema("accidents")
    order = list(reversed(schema.feature_names))
    text = what_if_page(schema, order=order)
    assert list(Page(text).fields()) == order
    shown, more = text.split('<details id="more">')
    assert list(Page(shown).fields()) == order[:FIRST]
    assert f"<summary>{len(order) - FIRST} more features</summary>" in more
    assert '<details id="more">' not in what_if_page(load_schema("california_housing"))


def test_positions_come_from_counts_and_the_page_says_of_which_rows():
    schema = load_schema("credit_risk")
    assert "is not known here" in what_if_page(schema)
    incomes = np.linspace(20_000, 90_000, 1001)
    bins = number_bins(incomes, 50)
    rows = np.append(np.bincount(bins.places(incomes), minlength=bins.size - 1), 7)
    housing = Bins(values=("OWN", "RENT"))
    counts = FeatureCounts(
        1008,
        "of a test",
        {"income": (bins, rows), "housing": (housing, np.array([600, 401, 0, 7]))},
    )
    text = what_if_page(schema, {"income": 50_000}, counts=counts)
    assert "Positions are among the 1,008 rows of a test." in text
    columns = Page(text).facts["columns"]
    told = columns["income"]["counts"]
    assert (sum(told["rows"]), told["missing"], told["alone"]) == (1001, 7, [])
    assert len(told["rows"]) == len(told["edges"]) + 1
    # Not the schema's range, 1000 to 10,000,000, of which the rows fill less than a hundredth.
    low, high, step = columns["income"]["slider"]
    assert 20_000 <= low <= 21_000 < 89_000 <= high <= 90_000
    assert (high - low) / step >= STEPS
    assert columns["housing"]["counts"] == {
        "values": ["OWN", "RENT"], "rows": [600, 401, 0], "missing": 7,
    }  # fmt: skip
    assert "counts" not in columns["loan_amount"]


def test_where_answers_need_a_key_the_page_holds_no_counts():
    schema = load_schema("credit_risk")
    housing = Bins(values=("OWN", "SECRET"))
    counts = FeatureCounts(9, "of a test", {"housing": (housing, np.array([5, 4, 0, 0]))})
    assert "SECRET" in what_if_page(schema, counts=counts)
    text = what_if_page(schema, counts=counts, withheld=True)
    assert "is not shown: this server asks for an API key." in text
    assert "SECRET" not in text
    assert not any("counts" in column for column in Page(text).facts["columns"].values())


def test_a_bound_of_zero_is_kept():
    columns = {"y": {"kind": "target"}, "x": {"kind": "numeric", "low": 0, "missing": True}}
    facts = Page(what_if_page(schema_with(columns))).facts["columns"]["x"]
    assert (facts["low"], "high" in facts, "integer" in facts) == (0, False, False)
    columns["x"] = {"kind": "numeric", "low": -5, "high": 0}
    assert Page(what_if_page(schema_with(columns))).facts["columns"]["x"]["high"] == 0


def test_the_score_is_that_of_class_1_by_its_code_where_it_has_no_meaning():
    columns = {"y": {"kind": "target", "codes": {0: "stays", 1: ""}}, "x": {"kind": "numeric"}}
    schema = schema_with(columns, task="binary")
    assert Page(what_if_page(schema)).facts["positive"] == "1"


@pytest.mark.parametrize(
    ("column", "value", "slider"),
    [
        ({"low": 0, "high": 120}, 3, [0, 120, 0.5]),
        ({"low": 0, "high": 23, "integer": True}, 3, [0, 23, 1]),
        ({"low": 0}, 3, None),
        ({"kind": "categorical", "integer": True, "low": 0, "high": 9}, 3, None),
    ],
)
def test_without_counts_a_slider_has_the_schemas_range(column, value, slider):
    columns = {"y": {"kind": "target"}, "x": {"kind": "numeric", **column}}
    facts = Page(what_if_page(schema_with(columns), {"x": value})).facts
    assert facts["columns"]["x"].get("slider") == slider


def schema_with(columns: dict[str, dict], **more) -> Schema:
    content = {"name": "p", "title": "p", "task": "regression", "unit": "p", "columns": columns}
    names = {"registered_name": "P", "experiment": "p"}
    return Schema.model_validate(content | names | more)


def test_names_and_codes_that_describe_themselves_are_shown_once():
    columns = {
        "y": {"kind": "target"},
        "bill_mm": {"kind": "numeric", "low": 0, "description": "bill_mm"},
        "sex": {"kind": "categorical", "codes": {"MALE": "MALE", "F": "", "X": "other"}},
    }
    text = what_if_page(schema_with(columns))
    assert ">number, from 0<" in text
    assert "<code>" not in text
    assert re.findall(r"<option[^>]*>([^<]*)<", text) == ["MALE", "F", "X: other"]


def test_what_a_schema_says_stays_text():
    odd = """"><script>alert('x')</script>&amp; {{ title }} \u202eabc"""
    columns = {
        "y": {"kind": "target", "codes": {0: odd, 1: odd}, "description": odd, "unit": odd},
        "x": {"kind": "categorical", "codes": {odd: odd}, "description": odd, "missing": True},
        "z": {"kind": "numeric", "unit": odd, "description": odd},
    }
    schema = schema_with(columns, title=odd, task="binary", unit=odd, positive=odd)
    page = Page(what_if_page(schema))
    scripts = [a for tag, a, _ in page.elements if tag == "script"]
    assert [sorted(a) for a in scripts] == [["id", "type"], ["defer", "src"], []]
    assert list(page.fields()) == ["x", "z"]
    assert page.facts["positive"] == odd
    assert page.facts["columns"]["x"]["codes"] == [[odd, ""]]
    options = [text for tag, _, text in page.elements if tag == "option"]
    assert ["".join(text).strip() for text in options] == ["not known", odd]
