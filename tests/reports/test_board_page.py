"""The board in a real browser: its figures are the registry's, and no text breaks it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.browser import VIEWS, check_page, opened, wait_for_charts
from tests.promotion import registry_story
from tests.promotion.registry_story import CREDIT, HOSTILE, LONG, NOW, RIGHT_TO_LEFT, SCRIPTS, Story

from lockstep.io import write_text
from lockstep.promotion.board_facts import board_facts
from lockstep.registry.record.registered_models import get_record, list_models
from lockstep.registry.store.opening import open_to_read
from lockstep.reports.board import Away, Board, BoardModel, BoardVersion, Moved, Span
from lockstep.reports.board_chart import production_chart
from lockstep.reports.board_page import age, board_page


@pytest.fixture(scope="module")
def written(empty_store, new_home, tmp_path_factory):
    """Write the board of a registry that a function fills; return the workspace and the page."""

    def write(kind, fill):
        home = new_home(tmp_path_factory.mktemp(kind) / "made", empty_store)
        fill(Story(home.client, home.root))
        board = board_facts(open_to_read(home.root), home.root, "sqlite:///mlflow.db", NOW)
        write_text(home.root / "board.html", board_page(board, NOW))
        return home, home.root / "board.html"

    return write


@pytest.fixture(scope="module")
def told(written):
    return written("told", registry_story.tell)


@pytest.fixture(scope="module")
def hostile(written):
    return written("hostile", registry_story.tell_hostile)


def texts(place, selector):
    return [" ".join(text.split()) for text in place.locator(selector).all_inner_texts()]


@pytest.mark.parametrize(("size", "scheme"), VIEWS)
def test_the_board_passes_at_both_sizes_in_both_schemes(browser, told, size, scheme):
    with opened(browser, told[1], size, scheme) as page:
        wait_for_charts(page)
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
        check_page(page)


def test_figures_on_the_page_are_those_of_the_registry(browser, told):
    home, file = told
    with opened(browser, file) as page:
        for model in list_models(home.client):
            for stage in ("Production", "Staging", "None", "Archived"):
                column = page.get_by_label(f"{stage} of {model.name}", exact=True)
                found = [
                    f"version {v.version} {v.scores['validation_roc_auc']:.4f}"
                    for v in reversed(model.in_stage(stage))
                ]
                assert texts(column, ".first") == found
        (credit,) = [one for one in list_models(home.client) if one.name == CREDIT]
        lines = page.locator("table.rivals tbody tr").all()
        cells = [line.locator("th, td").all_text_contents() for line in lines]
        rows = {name: figures for name, *figures in cells}
        order = [credit.version(number) for number in (4, 6, 5)]
        for name in credit.newest.scores:
            assert rows[name] == [f"{one.scores[name]:.4f}" for one in order]
        events = [e for e in get_record(home.client, CREDIT).events if e.action != "register"]
        moves = [one for one in texts(page, ".moves > li") if CREDIT in one]
        assert len(moves) == len(events)
        for shown, event in zip(moves, reversed(events), strict=True):
            assert f"event {event.number} " in shown
            assert f"{event.who.actor}: {event.who.reason}" in shown
            assert event.time[:16].replace("T", " ") in shown


def test_the_gates_lines_and_verdicts_are_shown(browser, told):
    with opened(browser, told[1]) as page:
        shown = page.get_by_text("Gates of version 5, against version 4: refused").locator("..")
        (line,) = [one for one in texts(shown, "tbody tr") if one.startswith("champion")]
        assert line.startswith("champion refused roc_auc 0.7512 against 0.7389")
        staging = page.get_by_label(f"Staging of {CREDIT}", exact=True)
        assert texts(staging, ".badge") == ["not compared yet", "gates: refused"]
        assert texts(page, ".moves .undone .badge") == ["undone by event 10", "gates: passed"]


def test_everything_is_reached_by_keyboard(browser, told):
    with opened(browser, told[1]) as page:
        seen = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            name = page.evaluate("document.activeElement.tagName")
            seen.add(name)
            if name == "BODY":
                break
        assert {"A", "BUTTON", "SUMMARY"} <= seen
        copy = page.locator(".copy").first
        copy.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('.copy').textContent !== 'Copy'")
        assert copy.inner_text() in ("Copied", "Selected")
        details = page.locator("details").first
        details.locator("summary").focus()
        page.keyboard.press("Enter")
        assert details.get_attribute("open") is not None


def test_the_chart_draws_a_bar_for_each_span_in_production(browser, told):
    with opened(browser, told[1]) as page:
        wait_for_charts(page)
        assert page.locator("#chart-production path[aria-roledescription=bar]").count() == 7
        assert "credit-risk-model: version 4 since 2026-11-10 08:00" in (
            page.locator("#chart-production > div").get_attribute("aria-label")
        )


@pytest.mark.parametrize(("size", "scheme"), [("phone", "light"), ("desk", "dark")])
def test_hostile_texts_are_shown_and_break_nothing(browser, hostile, size, scheme):
    with opened(browser, hostile[1], size, scheme) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a text ran as script: {dialog.message}"))
        wait_for_charts(page)
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
        check_page(page)
        assert page.locator("img, bdi *:not(wbr)").count() == 0
        shown = [text.replace("\n", "") for text in page.locator("bdi").all_inner_texts()]
        for text in (HOSTILE, SCRIPTS, RIGHT_TO_LEFT, LONG, "<b>ana</b>", "n" * 190):
            assert text in shown
        assert "49" not in shown


def test_an_empty_registry_says_how_to_begin(browser, tmp_path):
    file = tmp_path / "board.html"
    write_text(file, board_page(Board("sqlite:///mlflow.db", NOW), NOW))
    with opened(browser, file, "phone") as page:
        check_page(page)
        assert page.get_by_text("No model yet").is_visible()
        assert page.get_by_text("make run-train", exact=True).is_visible()
        assert page.locator("figure").count() == 0


def test_one_model_with_one_version_is_a_whole_board(browser, written):
    _, file = written("one", lambda story: story.version(CREDIT, 1, validation_roc_auc=0.7))
    with opened(browser, file, "phone", "dark") as page:
        check_page(page)
        assert page.get_by_role("heading", name=CREDIT).is_visible()
        assert page.get_by_text("Put version 1 into Production").is_visible()
        assert texts(page, ".serving .big") == ["nothing"]


@pytest.mark.parametrize("known", [None, Board("http://registry", NOW)])
def test_a_registry_that_is_away_is_named_with_since_when(browser, tmp_path, known):
    file, now = tmp_path / "board.html", NOW + timedelta(hours=3)
    away = Away(f"the server refused <{SCRIPTS}>", NOW + timedelta(hours=1))
    write_text(file, board_page(known, now, away))
    with opened(browser, file) as page:
        check_page(page)
        alert = page.get_by_role("alert").inner_text()
        assert "can’t be read since 2026-11-29 09:00 UTC" in alert
        assert SCRIPTS in alert
        assert ("3 hours ago" in alert) == (known is not None)


def test_many_versions_are_folded_and_counted():
    versions = tuple(
        BoardVersion(number, "Archived", "xgboost", NOW, 0.5) for number in range(1, 101)
    )
    model = BoardModel("M", "accidents", "roc_auc", versions)
    text = board_page(Board("x", NOW, (model,)), NOW)
    assert "30 more of 97" in text
    assert "67 older ones are not shown" in text
    assert text.count('<div class="version">') == 33


def test_the_chart_is_bounded_and_keeps_the_newest():
    since = [NOW - timedelta(days=500 - day) for day in range(500)]
    spans = tuple(
        Span(number, one, one + timedelta(days=1)) for number, one in enumerate(since, start=1)
    )
    models = tuple(
        BoardModel(f"M{number}", "p", "roc_auc", (), spans=spans) for number in range(40)
    )
    values = production_chart(Board("x", NOW, models), NOW)["data"]["values"]
    assert len(values) == 30 * 200
    assert values[199]["version"] == "500"
    page = board_page(Board("x", NOW, models), NOW)
    assert "Not drawn: 10 models and 9,000 older bars." in page
    few = tuple(replace(one, spans=spans[:3]) for one in models[:30])
    assert "Not drawn" not in board_page(Board("x", NOW, few), NOW)


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        (("r", "r"), "All are of the same rows."),
        (("r", "s"), "Each version’s own rows differ, so"),
        (("r", ""), "They are not known to be of the same rows, so"),
        (("", ""), "They are not known to be of the same rows, so"),
    ],
)
def test_rows_that_are_not_on_record_are_not_said_to_differ(rows, text):
    versions = tuple(
        BoardVersion(number, "Staging", "xgboost", NOW, 0.5, {"validation_roc_auc": 0.5}, one)
        for number, one in enumerate(rows, start=1)
    )
    page = board_page(Board("x", NOW, (BoardModel("M", "p", "roc_auc", versions),)), NOW)
    assert text in page
    assert ("rows differ" in page) == text.startswith("Each")


def test_a_version_that_was_rolled_back_is_marked():
    back = Moved(NOW, "ana", "errors doubled")
    one = BoardVersion(1, "Staging", "xgboost", NOW, 0.5, rolled_back=back)
    page = board_page(Board("x", NOW, (BoardModel("M", "p", "roc_auc", (one,)),)), NOW)
    assert "rolled back 2026-11-29 08:00" in page


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (86_400, "1 day ago"),
        (86_400 * 29, "29 days ago"),
        (86_400 * 62, "2 months ago"),
        (86_400 * 800, "2 years ago"),
    ],
)
def test_ages_are_in_words(seconds, text):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert age(now, now - timedelta(seconds=seconds)) == text
    assert age(now, None) == ""
