"""The what-if page in a real browser, over real servers: what it shows is what the API answers."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Page, Route, expect
from tests.browser import VIEWS, browser, check_page, opened
from tests.models.served import pipeline_of, rows_of, schema_of
from tests.serving.conftest import NAME, Followed, Running, wait_until

from lockstep.config.serving import load_serving
from lockstep.models.scoring.prediction import Model
from lockstep.models.typical_record import typical_record
from lockstep.monitoring.bins import bins_of, counted
from lockstep.monitoring.feature_counts import FeatureCounts
from lockstep.problems.schema import Schema
from lockstep.registry.lifecycle.moves import transition
from lockstep.serving.api_keys import new_key
from lockstep.serving.app import Api
from lockstep.serving.connection_limits import BoundedProtocol
from lockstep.serving.loaded_model import CheckedModel, prepare
from lockstep.serving.model_source import ModelSource
from lockstep.serving.telemetry import JsonLog

__all__ = ["browser"]

TYPES = {
    "binary": ("lightgbm", "sigmoid"),
    "multiclass": ("xgboost", "none"),
    "regression": ("lightgbm", "none"),
}
INTERVAL = {"coverage": 0.9, "edges": [50.0], "half_widths": [20.0, 40.0]}
HOSTILE = """"><img src=x onerror=alert(1)></script><script>alert(2)</script> & 'q' {{ x }} """
FOCUSED = "(e => [e.name || e.id, e.type, e.tagName])(document.activeElement)"
STRONGEST = """Object.entries(latest.answer.contributions)
  .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]))[0][0]"""
DRAWN = """["now", "cut", "points"]
  .map(set => set === "cut" && latest.answer.threshold === undefined ? [] : curve.view.data(set))"""
LONG = "\u202eright to left\u202c " + "unbroken" * 40


@dataclass
class Site:
    """A server in a thread of this process."""

    address: str
    schema: Schema

    def ask(self, path: str, content: Any) -> Any:
        request = urllib.request.Request(
            f"{self.address}{path}",
            json.dumps(content).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def hostile(schema: Schema) -> Schema:
    """Return a schema whose every text breaks pages that don't escape it."""
    columns = {
        name: column.model_copy(
            update={
                "description": f"{HOSTILE}{name} {LONG if name == 'age' else ''}",
                "unit": HOSTILE if name == "income" else column.unit,
                "codes": {code: f"{HOSTILE}{text}" for code, text in column.codes.items()},
            }
        )
        for name, column in schema.columns.items()
    }
    texts = {"title": HOSTILE, "unit": HOSTILE, "positive": HOSTILE}
    return schema.model_copy(update={"columns": columns, **texts})


def counts_of(schema: Schema) -> FeatureCounts:
    rows = rows_of(schema.task, 500, 10)
    features = {}
    for column in schema.features:
        bins = bins_of(column, rows[column.name], np.arange(len(rows)))
        features[column.name] = bins, counted(bins.places(rows[column.name]), bins.size)
    return FeatureCounts(len(rows), "of this test", features)


def checked(task: str, schema: Schema) -> CheckedModel:
    """Return a fitted model that knows its rows' counts and typical record."""
    pipeline = pipeline_of(task, *TYPES[task])
    threshold = 0.4 if task == "binary" else None
    interval = INTERVAL if task == "regression" else None
    model = Model(pipeline, schema, threshold, "Lending", 3, digest="d", interval=interval)
    rows = rows_of(task, 500, 10).replace("__never_seen__", None)
    typical = typical_record(schema, rows, np.arange(len(rows)))
    return CheckedModel(model, "path", "", {}, typical, partial(counts_of, schema_of(task)))


@contextmanager
def serving(root: Path, task: str, schema: Schema, keys: Path | None = None) -> Iterator[Site]:
    """Serve a model of small rows until the end of the block."""
    settings = replace(load_serving(root, {"PREDICTION_LOG": "0"}), api_keys_file=keys)
    source = ModelSource(settings, root)
    source.served = prepare(checked(task, schema), settings)
    listening = socket.create_server(("127.0.0.1", 0))
    log = JsonLog(root / "log")
    api = Api(settings, source, log)
    config = uvicorn.Config(api, http=BoundedProtocol, ws="none", lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 20, "the server to start")
    yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", schema)
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()
    log.stream.close()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """A server a task, and one whose schema has hostile texts."""
    with ExitStack() as stack:

        def start(task: str, schema: Schema) -> Site:
            return stack.enter_context(serving(tmp_path_factory.mktemp(task), task, schema))

        found = {task: start(task, schema_of(task)) for task in TYPES}
        found["hostile"] = start("binary", hostile(schema_of("binary")))
        yield found


def settled(page: Page, state: str = "current") -> None:
    page.wait_for_function(f"document.documentElement.dataset.state === '{state}'")


def open_all(page: Page) -> None:
    """Open the section of the weaker features."""
    page.locator("#more").evaluate("e => { e.open = true; }")


def shown_record(page: Page) -> dict[str, Any]:
    return dict(page.evaluate("record()"))


def move_controls(page: Page) -> None:
    """Change a number, a slider by the keyboard, a code and a value that is not known."""
    open_all(page)
    page.fill("#field-amount", "812.5")
    page.locator('[data-name="age"] [type=range]').focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.select_option("#field-grade", "D")
    page.locator('[data-unknown="income"]').check()
    settled(page)


def plain(told: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in told.items() if key != "request_id"}


def number(text: str) -> float:
    return float(text.replace("\u2212", "-").replace("\u00a0%", ""))


@pytest.mark.parametrize("task", TYPES)
def test_moved_controls_show_the_answer_of_predict_and_explain(browser, sites, task):
    site = sites[task]
    with opened(browser, site.address) as page:
        settled(page)
        first = shown_record(page)
        age = first["age"]
        assert shown_record(page) == page.evaluate("facts.begins")
        move_controls(page)
        record = shown_record(page)
        assert record == {**first, "amount": 812.5, "age": age + 3, "grade": "D", "income": None}
        explained, predicted = site.ask("/explain", record), site.ask("/predict", record)
        assert plain(page.evaluate("latest.answer")) == plain(explained)
        assert predicted.items() >= plain(predicted).items()
        shown = page.inner_text("#content")
        if task == "binary":
            assert predicted["meaning"] in shown.lower()
            chance = page.inner_text(".verdict p:nth-child(2)").split("Probability ")[1]
            assert number(chance) == pytest.approx(100 * predicted["probability"], rel=5e-4)
            assert "threshold of 40\u00a0%" in shown
        elif task == "regression":
            assert number(page.inner_text(".big")) == pytest.approx(predicted["prediction"], 5e-4)
            low, high = shown.split("90\u00a0% interval: ")[1].split("\n")[0].split(" to ")
            assert (number(low), number(high)) == (
                pytest.approx(predicted["low"], rel=5e-4, abs=1e-3),
                pytest.approx(predicted["high"], rel=5e-4, abs=1e-3),
            )
        else:
            names = page.locator(".chances b").all_inner_texts()
            chances = page.locator(".chances .number").all_inner_texts()
            ordered = sorted(predicted["probabilities"].items(), key=lambda one: -one[1])
            assert names == [label for label, _ in ordered]
            assert [number(one) for one in chances] == [
                pytest.approx(100 * chance, rel=5e-4) for _, chance in ordered
            ]
            assert f"of {predicted['decision']}" in page.inner_text("#fall caption")
        assert page.locator("#reasons li").all_inner_texts() == explained["reasons"]


@pytest.mark.parametrize("task", TYPES)
def test_the_waterfall_adds_up_as_it_is_written(browser, sites, task):
    with opened(browser, sites[task].address) as page:
        settled(page)
        move_controls(page)
        told = page.evaluate("latest.answer")
        rows = page.locator("#fall tbody tr")
        texts = [
            (row.locator("th").inner_text(), row.locator("td.number").inner_text())
            for row in rows.all()
        ]
        (base, *parts), ends = texts[:-1], dict(texts)
        total = Decimal(ends["Total"].replace("\u2212", "-"))
        written = [Decimal(one.replace("\u2212", "-")) for _, one in (base, *parts) if _ != "Total"]
        assert sum(written) == total
        unit = float(10 ** total.as_tuple().exponent)
        strongest = sorted(told["contributions"].values(), key=lambda v: -abs(v))
        exact = [told["base"], *strongest[:8], sum(strongest[8:])]
        assert [float(one) for one in written] == [pytest.approx(v, abs=1.01 * unit) for v in exact]
        assert float(total) == pytest.approx(told["margin"], abs=0.51 * unit)
        names = page.locator("#fall tbody button").evaluate_all(
            "all => all.map(b => b.dataset.feature)"
        )
        assert [told["contributions"][name] for name in names] == strongest[:8]
        last = {"binary": "After calibration", "multiclass": "As probability"}.get(task, "Total")
        assert texts[-1][0] == last


@pytest.mark.parametrize(("task", "feature"), [("binary", "age"), ("regression", "grade")])
def test_the_curve_is_what_predict_answers_and_marks_the_record(browser, sites, task, feature):
    site = sites[task]
    with opened(browser, site.address) as page:
        settled(page)
        page.select_option("#pick", feature)
        settled(page)
        page.wait_for_function(f"byId('curve-place').dataset.drawn === '{feature}'")
        record, points = shown_record(page), page.evaluate("curve.points")
        values = [point["x"] for point in points]
        assert record[feature] in values
        if feature == "age":
            assert values == list(range(18, 91))
        else:
            assert values == ["A", "B", "C", "D", None]
        answers = site.ask("/predict", [{**record, feature: value} for value in values])
        key = "probability" if task == "binary" else "prediction"
        assert [p["y"] for p in points] == [one[key] for one in answers["predictions"]]
        drawn = page.evaluate(DRAWN)
        assert [one["y"] for one in drawn[0]] == [site.ask("/predict", record)[key]]
        assert [one["y"] for one in drawn[1]] == ([0.4] if task == "binary" else [])
        assert [one["y"] for one in drawn[2]] == [p["y"] for p in points]
        assert page.locator("#curve-place svg path").count() > 3
        page.locator("#curve-values summary").click()
        cells = page.locator("#curve-values tbody tr td:nth-child(2)").all_inner_texts()
        assert [float(cell) for cell in cells] == [p["y"] for p in points]


def test_the_curve_follows_the_control_that_moves_until_one_is_chosen(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        settled(page)
        assert page.input_value("#pick") == page.evaluate(STRONGEST)
        open_all(page)
        page.fill("#field-age", "40")
        settled(page)
        assert page.input_value("#pick") == "age"
        page.locator("#fall button").nth(2).focus()
        page.keyboard.press("Enter")
        chosen = page.input_value("#pick")
        assert page.locator("#fall [aria-pressed=true]").get_attribute("data-feature") == chosen
        page.fill("#field-age", "50")
        settled(page)
        assert page.input_value("#pick") == chosen


def test_a_link_opens_the_same_record_and_the_same_answer(browser, sites):
    site = sites["binary"]
    with opened(browser, site.address) as page:
        settled(page)
        assert "#" not in page.url
        move_controls(page)
        page.fill("#field-employer", HOSTILE.strip())
        settled(page)
        record, link, answer = (
            shown_record(page),
            page.inner_text("#link"),
            page.evaluate("latest.answer"),
        )
        assert page.url == link
    with opened(browser, link) as page:
        settled(page)
        assert shown_record(page) == record
        assert plain(page.evaluate("latest.answer")) == plain(answer)
        page.get_by_role("button", name="Back to the first record").click()
        settled(page)
        assert shown_record(page) == page.evaluate("facts.begins")


def test_what_a_link_holds_that_does_not_fit_is_told_at_the_field(browser, sites):
    told = {"age": 200, "grade": "Z", "hour": "noon", "nothing": 1}
    with opened(browser, f"{sites['binary'].address}/#{quote(json.dumps(told))}") as page:
        settled(page, "faulty")
        for name, words in {
            "age": "age = 200 is not among whole numbers from 18 to 90",
            "grade": "grade = 'Z' is no known code",
            "hour": "hour = 'noon' must be a number",
        }.items():
            expect(page.locator(f"#fault-{name}")).to_have_text(words)
            assert page.get_attribute(f"#field-{name}", "aria-invalid") == "true"
        assert "no feature: nothing" in page.inner_text("#strangers")
        assert "amount" in page.inner_text("#strangers")
        page.fill("#field-age", "30")
        page.select_option("#field-grade", "A")
        page.fill("#field-hour", "")
        settled(page)
        assert page.locator("[aria-invalid]").count() == 0
        assert page.locator("#field-grade option").count() == 5
    inherited = {"constructor": 1, "__proto__x": 2, "age": 40}
    address = sites["binary"].address
    with opened(browser, f"{address}/#{quote(json.dumps(inherited))}") as page:
        settled(page)
        assert "no feature: constructor, __proto__x." in page.inner_text("#strangers")
        assert shown_record(page) == page.evaluate("({...facts.begins, age: 40})")
        assert page.evaluate("className('constructor')") == "constructor"
        page.evaluate("location.hash = encodeURIComponent(JSON.stringify({grade: 'A'}))")
        page.wait_for_function("latest.given.grade === 'A'")
        settled(page)
        assert shown_record(page) == page.evaluate("({...facts.begins, grade: 'A'})")
    for broken in ("{", "[1]", "%"):
        with opened(browser, f"{sites['binary'].address}/#{broken}") as page:
            settled(page)
            assert "The link holds no record" in page.inner_text("#strangers")


def test_a_browser_that_refuses_to_change_its_address_keeps_no_answer_away(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        settled(page)
        page.evaluate("""() => {
          window.calls = 0;
          history.replaceState = () => {
            calls += 1;
            throw new DOMException("too many calls", "SecurityError");
          };
        }""")
        page.evaluate("""() => {
          const e = field("age");
          for (let age = 20; age < 60; age += 1) {
            e.value = String(age);
            e.dispatchEvent(new Event("input", {bubbles: true}));
          }
        }""")
        page.wait_for_function("latest.given.age === 59")
        settled(page)
        assert 1 <= page.evaluate("calls") < 40
        assert "age%22%3A59" in page.inner_text("#link")


def test_without_a_curve_no_old_one_is_shown(browser, sites):
    refused = {"status": 503, "content_type": "application/json", "body": '{"error": "too busy"}'}
    # Not `opened`: a refused request is an error in the console.
    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(sites["binary"].address)
        settled(page)
        page.wait_for_function("curve.drawn")
        page.route("**/predict?log=0", lambda route: route.fulfill(**refused))
        page.fill("#field-age", "33")
        page.select_option("#pick", "hour")
        expect(page.locator("#curve-caption")).to_have_text("No curve: too busy")
        assert page.locator("#curve-place > *, #curve-values td").count() == 0
        page.unroute("**/predict?log=0")
        page.fill("#field-age", "34")
        settled(page)
        page.wait_for_function("curve.drawn && byId('curve-place').dataset.drawn === 'hour'")
        assert page.locator("#curve-values td").count() > 0


def test_a_curve_without_a_slider_follows_its_value(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        settled(page)
        page.select_option("#pick", "income")
        page.evaluate("delete columns.income.slider")
        for income in (1000, 2000):
            page.fill("#field-income", str(income))
            page.wait_for_function(f"latest.given.income === {income}")
            settled(page)
            assert page.evaluate("curve.points.at(-1).x") == 2 * income


def test_a_fault_of_an_older_answer_does_not_mark_the_newer_one(browser, sites):
    # Not `opened`: a refused request is an error in the console.
    with closing(browser.new_context()) as context:
        page = context.new_page()
        page.goto(sites["binary"].address)
        settled(page)
        held = []

        def hold_first(route: Route) -> None:
            route.continue_() if held else held.append(route)

        page.route("**/predict?log=0", hold_first)
        page.fill("#field-age", "33")
        page.select_option("#pick", "hour")
        page.wait_for_function("latest.given.age === 33")
        wait_until(lambda: page.evaluate("1") and held, 20, "the request for the curve")
        page.fill("#field-age", "34")
        page.wait_for_function("latest.given.age === 34")
        held[0].abort()
        settled(page)
        assert page.inner_text("#problem") == ""
        assert page.get_attribute("#curve-place", "data-drawn") == "hour"


def test_the_command_gives_the_same_answer_in_a_shell(browser, sites, tmp_path):
    site = sites["binary"]
    with opened(browser, site.address) as page:
        settled(page)
        move_controls(page)
        page.fill("#field-employer", """O'Neil's $(touch made) `touch made` "x" \\ ! #""")
        settled(page)
        command, record = page.inner_text("#curl"), shown_record(page)
        answer = page.evaluate("latest.answer")
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True, timeout=60
    )
    assert plain(json.loads(done.stdout)) == plain(site.ask("/predict", record))
    assert json.loads(done.stdout)["probability"] == answer["probability"]
    assert not (tmp_path / "made").exists()


def test_the_link_and_the_command_can_be_copied(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        settled(page)
        for name, part in (("Copy the link", "link"), ("Copy the command", "curl")):
            page.get_by_role("button", name=name).click()
            expect(page.locator("#copied")).to_have_text("Copied.")
            assert page.evaluate("navigator.clipboard.readText()") == page.inner_text(f"#{part}")


def test_a_slow_version_in_staging_keeps_no_answer_waiting(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        settled(page)
        waiting: list[Route] = []

        def hold(route: Route) -> None:
            """Answer the curve, whose version the server does not have; let a record wait."""
            if isinstance(route.request.post_data_json, list):
                route.fulfill(json={"predictions": []})
            else:
                waiting.append(route)

        page.route("**/predict?stage=Staging", hold)
        page.evaluate("staging = 7; healthAt = Infinity")  # and /health is asked no more
        for amount in ("100", "200"):
            page.fill("#field-amount", amount)
            page.wait_for_function(f"latest.given.amount === {amount}")
        assert "7 in Staging is being loaded" in page.inner_text("#versions")
        assert len(waiting) == 1
        answer = {"version": 7, "probability": 0.5, "decision": 1, "meaning": "yes"}
        waiting.pop().fulfill(json=answer)
        page.wait_for_function("byId('versions').querySelector('table')")


def test_a_bad_value_is_told_at_its_field_and_the_old_answer_is_greyed(browser, sites):
    site = sites["binary"]
    with opened(browser, site.address) as page:
        settled(page)
        open_all(page)
        before = page.inner_text("#content")
        page.fill("#field-age", "17.5")
        settled(page, "faulty")
        fault = page.inner_text("#fault-age")
        assert page.evaluate("document.activeElement.id") == "field-age"
        assert page.inner_text("#content") == before
        page.wait_for_function("getComputedStyle(byId('content')).opacity < .5")
        assert "age of the applicant" in page.inner_text("#problem")
        record = shown_record(page)
    with pytest.raises(urllib.error.HTTPError, match="422") as refusal:
        site.ask("/predict", record)
    with refusal.value as refused:
        (found,) = json.load(refused)["faults"]
    assert (found["field"], found["message"]) == ("age", fault)


def test_faults_that_only_the_api_knows_are_told_at_their_field(browser, sites):
    context = browser.new_context()
    page = context.new_page()
    page.goto(sites["binary"].address)
    settled(page)
    # A page that was opened before the schema became stricter.
    page.evaluate("columns.age.high = 1000")
    open_all(page)
    page.fill("#field-age", "500")
    settled(page, "faulty")
    assert "is not among whole numbers from 18 to 90" in page.inner_text("#fault-age")
    page.fill("#field-age", "50")
    settled(page)
    assert page.inner_text("#fault-age") == page.inner_text("#problem") == ""
    context.close()


def test_the_last_record_is_the_one_that_is_answered(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        settled(page)
        asked = []
        page.on("request", lambda r: r.url.endswith("/explain") and asked.append(r.post_data_json))
        open_all(page)
        for age in range(20, 60):
            page.fill("#field-age", str(age))
        settled(page)
        assert page.evaluate("latest.given.age") == 59
        assert asked[-1]["age"] == 59
        assert len(asked) < 40


@pytest.mark.parametrize(
    ("site", "size", "scheme"),
    [
        *(("hostile", size, scheme) for size, scheme in VIEWS),
        ("multiclass", "phone", "light"),
        ("regression", "desk", "dark"),
    ],
)
def test_the_page_passes_axe_and_fits_both_sizes(browser, sites, site, size, scheme):
    with opened(browser, sites[site].address, size, scheme) as page:
        settled(page)
        open_all(page)
        page.locator("#curve-values").evaluate("e => { e.open = true; }")
        page.fill("#field-age", "200")
        settled(page, "faulty")
        page.fill("#field-age", "44")
        settled(page)
        page.wait_for_function("getComputedStyle(byId('content')).opacity === '1'")
        check_page(page)
        assert page.evaluate("document.querySelectorAll('img').length") == 0


def test_hostile_texts_are_shown_as_they_are(browser, sites):
    with opened(browser, sites["hostile"].address) as page:
        settled(page)
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        assert page.inner_text("h1") == " ".join(HOSTILE.split())
        move_controls(page)
        page.fill("#field-employer", HOSTILE)
        page.select_option("#pick", "grade")
        settled(page)
        label = page.locator("label[for=field-age]").inner_text()
        assert HOSTILE.strip() in label
        assert LONG in label
        assert HOSTILE.strip() in page.inner_text("#field-grade")
        assert HOSTILE.strip() in page.inner_text("#content .spare >> nth=0")
        assert "<img" in str(page.text_content("#curve-place svg"))
        assert page.locator("main img, main script").count() == 0


def test_positions_are_the_share_of_lower_rows(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        settled(page)
        open_all(page)
        assert "among the 500 rows of this test" in page.inner_text("#form")
        rows = rows_of("binary", 500, 10)
        amounts = rows["amount"].dropna().to_numpy()
        for value in (150, 500, 850):
            page.fill("#field-amount", str(value))
            words = page.inner_text("#place-amount")
            share = float(words.removeprefix("higher than about ").removesuffix("\u00a0% of rows"))
            assert share == pytest.approx(100 * (amounts < value).mean(), abs=2)
        grades = rows["grade"].isin(["D"]).mean()
        page.select_option("#field-grade", "D")
        assert (
            page.inner_text("#place-grade") == f"{100 * grades:.0f}\u00a0% of rows have this value"
        )
        page.select_option("#field-grade", "")
        assert page.inner_text("#place-grade").startswith("not known in ")
        settled(page)


def test_the_keyboard_reaches_and_moves_everything(browser, sites):
    with opened(browser, sites["binary"].address) as page:
        settled(page)
        assert not page.get_by_text("Board").is_visible()  # a file has no registry
        order = page.evaluate("Object.keys(columns)")
        seen, kinds = [], set()
        page.locator("h1 ~ p a:visible").last.focus()
        for _ in range(100):
            page.keyboard.press("Tab")
            name, kind, tag = page.evaluate(FOCUSED)
            if tag == "BODY":
                break
            seen.append(name)
            kinds.add(kind)
        names = [name for name in seen if name in order]
        assert names == [name for name in order if name in names]
        assert len(names) >= 10
        assert {"range", "checkbox", "select-one", "button"} <= kinds
        assert {"pick", "link", "curl"} <= set(seen)


def test_where_the_server_asks_for_a_key_the_page_asks_for_it_first(browser, tmp_path):
    key, line = new_key("tester")
    keys = tmp_path / "keys"
    keys.write_text(line + "\n")
    with (
        serving(tmp_path, "binary", schema_of("binary"), keys) as site,
        opened(browser, site.address) as page,
    ):
        settled(page, "faulty")
        assert "Enter the API key first." in page.inner_text("#problem")
        assert "is not shown: this server asks for an API key." in page.inner_text("#form")
        assert not page.evaluate("Object.values(columns).some((one) => one.counts)")
        page.get_by_label("API key").fill(key)
        page.keyboard.press("Enter")
        settled(page)
        command = page.inner_text("#curl")
        assert key not in command
        done = subprocess.run(
            ["bash", "-c", command], env={"API_KEY": key, "PATH": "/usr/bin:/bin"},
            capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        assert json.loads(done.stdout)["probability"] == page.evaluate("latest.answer.probability")


@pytest.fixture
def in_staging(followed: Followed) -> Iterator[Callable[[str], None]]:
    """Move version 2 to a stage; afterwards it is in none again."""

    def move(stage: str) -> None:
        transition(followed.client, NAME, 2, stage)
        expected = 2 if stage == "Staging" else None
        wait_until(
            lambda: followed.health["source"]["staging"] == expected, 10, f"version 2 in {stage}"
        )

    yield move
    move("None")


def test_two_versions_stand_beside_each_other_while_one_is_in_staging(
    browser, followed: Followed, in_staging
):
    server: Running = followed.server
    address = f"http://127.0.0.1:{server.port}"
    with opened(browser, address) as page:
        settled(page)
        assert page.inner_text("#versions") == ""
        assert page.get_by_role("link", name="Board").is_visible()
        open_all(page)
        in_staging("Staging")
        page.evaluate("healthAt = 0")
        page.fill("#field-hour", "3")
        settled(page)
        record = shown_record(page)
        first = server.post("/predict", record).json
        second = server.post("/predict?stage=Staging", record).json
        assert (first["version"], second["version"]) == (1, 2)
        assert first["probability"] != second["probability"]
        rows = [
            row.locator("th, td").all_inner_texts()
            for row in page.locator("#versions tbody tr").all()
        ]
        assert [row[0] for row in rows] == ["Production 1", "Staging 2"]
        assert [number(row[1]) for row in rows] == [
            pytest.approx(100 * one["probability"], rel=5e-4) for one in (first, second)
        ]
        assert [row[2] for row in rows] == [first["meaning"], second["meaning"]]
        difference = 100 * (second["probability"] - first["probability"])
        assert number(rows[1][3].split()[0]) == pytest.approx(difference, abs=0.0051)
        name = page.input_value("#pick")
        other = page.evaluate("curve.other")
        answers = server.post(
            "/predict?stage=Staging", [{**record, name: point["x"]} for point in other]
        ).json["predictions"]
        assert [one["probability"] for one in answers] == [point["y"] for point in other]
        in_staging("Archived")
        page.evaluate("healthAt = 0")
        page.fill("#field-hour", "4")
        settled(page)
        assert page.inner_text("#versions") == ""
