"""The form: each feature has a field with unit, range and room for its fault, and can be read."""

import json
import re
from html.parser import HTMLParser

import pytest

from lockstep.problems.schema import Schema, load_schema, problem_names
from lockstep.serving.openapi import example
from lockstep.serving.what_if_page import what_if_page


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


@pytest.mark.parametrize("problem", problem_names())
def test_the_page_has_a_field_a_feature_and_fetches_nothing_from_elsewhere(problem):
    schema = load_schema(problem)
    text = what_if_page(schema)
    assert re.findall(r'<(?:input|select) name="(\w+)"', text) == schema.feature_names
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", text)
    assert "@" not in re.sub(r"@media", "", text.split("<script>")[0])


@pytest.mark.parametrize("problem", problem_names())
def test_each_field_has_a_label_what_it_takes_and_room_for_its_fault(problem):
    schema = load_schema(problem)
    text = what_if_page(schema)
    page = Page(text)
    labels = {a["for"] for tag, a, _ in page.elements if tag == "label"}
    for column in schema.features:
        _, field = page.fields()[column.name]
        assert field["id"] in labels
        hint, fault = field["aria-describedby"].split()
        words = text.split(f'id="{hint}">')[1].split("</span>")[0]
        assert ("optional" in words) == column.missing == ("required" not in field)
        assert page.of_id(fault)[1].strip() == ""
        if column.unit:
            assert f"({column.unit})</label>" in text
        if not column.codes and column.high is not None:
            assert f"{column.high:.12g}" in words.replace(",", "")
            assert float(field["max"]) == column.high


def test_years_are_written_as_years_and_large_numbers_are_grouped():
    words = what_if_page(load_schema("accidents"))
    assert "whole number, 2005 to 2100<" in words
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
    answer, _ = Page(what_if_page(schema, scale=scale)).of_id("answer")
    codes = schema.columns[schema.target].codes
    assert json.loads(answer["data-classes"]) == {str(code): text for code, text in codes.items()}
    assert (answer["data-positive"], answer["data-scale"]) == (told, scale)


def test_the_answer_of_a_number_has_its_unit():
    answer, _ = Page(what_if_page(load_schema("california_housing"))).of_id("answer")
    assert answer["data-unit"] == "100,000 dollars"
    assert answer["data-target"].startswith("median value of owner-occupied homes")


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


def test_names_and_codes_that_describe_themselves_are_shown_once():
    columns = {
        "y": {"kind": "target"},
        "bill_mm": {"kind": "numeric", "low": 0, "description": "bill_mm"},
        "sex": {"kind": "categorical", "codes": {"MALE": "MALE", "F": "", "X": "other"}},
    }
    content = {"name": "p", "title": "p", "task": "regression", "unit": "p", "columns": columns}
    text = what_if_page(
        Schema.model_validate(content | {"registered_name": "P", "experiment": "p"})
    )
    assert ">number, from 0<" in text
    assert "<code>" not in text
    assert re.findall(r"<option[^>]*>([^<]*)<", text) == ["MALE", "F", "X: other"]


def test_what_a_schema_says_stays_text():
    odd = """"><script>alert('x')</script>&amp; @FIELDS@"""
    columns = {
        "y": {"kind": "target", "codes": {0: odd, 1: odd}, "description": odd, "unit": odd},
        "x": {"kind": "categorical", "codes": {odd: odd}, "description": odd, "missing": True},
        "z": {"kind": "numeric", "unit": odd, "description": odd},
    }
    schema = Schema.model_validate(
        {
            "name": "odd", "title": odd, "task": "binary", "unit": odd, "positive": odd,
            "registered_name": "O", "experiment": "o", "columns": columns,
        }
    )  # fmt: skip
    page = Page(what_if_page(schema))
    assert sum(tag == "script" for tag, _, _ in page.elements) == 1
    assert list(page.fields()) == ["x", "z"]
    assert page.of_id("answer")[0]["data-positive"] == odd


CONTRASTS = [
    ("ink", "page", 7), ("ink", "panel", 7), ("quiet", "page", 4.5), ("quiet", "panel", 4.5),
    ("accent", "page", 4.5), ("accent", "panel", 4.5), ("on", "accent", 4.5),
    ("bad", "panel", 4.5), ("line", "panel", 3), ("up", "panel", 3), ("down", "panel", 3),
]  # fmt: skip
"""Colours of the page and the least contrast that WCAG 2.2 asks of them."""


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("above", "below", "least"), CONTRASTS)
def test_colours_have_enough_contrast(scheme, above, below, least):
    roots = re.findall(r":root \{([^}]*)\}", what_if_page(load_schema("accidents")))
    colours = dict(re.findall(r"--(\w+): (#\w+)", roots[scheme]))
    first, second = sorted((luminance(colours[above]), luminance(colours[below])), reverse=True)
    assert (first + 0.05) / (second + 0.05) >= least


def luminance(colour: str) -> float:
    """Return a colour's relative luminance, as WCAG defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
