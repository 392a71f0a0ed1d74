"""The pages' look: escaping, and the script that draws charts."""

import importlib.util
import json
import re
from pathlib import Path

from lockstep.reports import look

ROOT = Path(__file__).parents[2]
HOSTILE = "</script><script>alert(1)</script>\u2028 & \u202eright to left"


def test_the_script_is_that_of_the_pinned_package():
    spec = importlib.util.spec_from_file_location("bundle", ROOT / "scripts/bundle_charts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.SCRIPT.read_text("utf-8") == module.bundle()


def test_json_inside_a_page_ends_no_script_and_keeps_its_value():
    text = look.as_json({HOSTILE: [HOSTILE]})
    assert not re.search("[<>&]", text)
    assert json.loads(text) == {HOSTILE: [HOSTILE]}


def test_a_chart_escapes_its_texts():
    made = look.chart("one", {"title": HOSTILE}, HOSTILE, HOSTILE)
    assert made.count("<script") == 1
    assert "alert(1)</" not in made


def test_no_number_but_zero_is_shown_as_zero():
    shown = {0: "0.0000", 0.8623: "0.8623", 0.001: "0.0010", 0.00081234: "0.000812"}
    shown |= {3.2e-5: "3.2e-05"}
    assert {value: look.figure(value) for value in shown} == shown
    differences = {0: "+0.0000", -0.0003: "-0.0003", 4e-7: "+4.0e-07"}
    assert {value: look.signed(value) for value in differences} == differences
