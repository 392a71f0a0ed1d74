"""The report in a browser: what it shows equals the files; it works at any size, by keyboard."""

import json
import re

import pytest
from tests.browser import SIZES, VIEWS, check_page, opened, wait_for_charts
from tests.reports.test_report import HOSTILE, PROBLEM, hostile_classes, told

from lockstep.reports.report import Registered, report
from lockstep.reports.report_figures import slider_of
from lockstep.reports.report_files import read_report_files


@pytest.fixture(scope="session")
def page_file(reported):
    path = reported / "report.html"
    path.write_text(report(read_report_files(reported, PROBLEM), Registered()), encoding="utf-8")
    return path


def outputs(page):
    """Return what the threshold's panel shows, by name."""
    return {
        element.get_attribute("data-out"): element.inner_text().strip()
        for element in page.locator("#threshold [data-out]").all()
    }


@pytest.mark.parametrize(("size", "scheme"), VIEWS)
def test_it_passes_axe_and_fits_at_every_size(browser, page_file, size, scheme):
    with opened(browser, page_file, size, scheme) as page:
        wait_for_charts(page)
        check_page(page)
        # Every chart was drawn, and none is empty.
        empty = page.eval_on_selector_all(
            "figure.chart", "all => all.filter(f => !f.querySelector('svg path')).map(f => f.id)"
        )
        assert empty == []


def test_the_first_lines_are_those_of_the_comparison(browser, page_file, reported):
    files = read_report_files(reported, PROBLEM)
    row = files.comparison.loc[files.champion.name]
    with opened(browser, page_file) as page:
        head = page.locator("header").inner_text()
        assert f"{files.champion.name} is the champion: ROC AUC {row['roc_auc']:.4f}" in head
        shown = page.locator("#types tbody tr").all_inner_texts()
        for text, (name, values) in zip(shown, files.comparison.iterrows(), strict=True):
            assert text.startswith(name)
            assert f"{values['average_precision']:.4f}" in text


def test_the_slider_moves_counts_and_rates_by_keyboard(browser, page_file, reported):
    facts = slider_of(read_report_files(reported, PROBLEM))
    with opened(browser, page_file) as page:
        wait_for_charts(page)
        kind = page.locator("#threshold-type").input_value()
        assert kind == facts["shown"]
        own = facts["types"][kind]
        page.wait_for_selector(f'#threshold[data-ready="{kind}"]')
        slider = page.locator("#threshold-slider")
        slider.focus()
        assert outputs(page)["configured"] == "the configured threshold"
        for key, step in (("ArrowRight", 1), ("ArrowLeft", 0), ("Home", None), ("End", None)):
            page.keyboard.press(key)
            place = int(slider.input_value())
            if step is not None:
                assert place == own["configured"] + step
            threshold, hits, misses = own["points"][place]
            shown = outputs(page)
            assert float(shown["threshold"]) == pytest.approx(threshold, rel=1e-5)
            assert [int(shown[k]) for k in ("tp", "fp", "fn", "tn")] == [
                hits, misses, own["positives"] - hits, own["negatives"] - misses,
            ]  # fmt: skip
            everyone = own["positives"] + own["negatives"]
            assert shown["positive-share"] == f"{(hits + misses) / everyone:.1%}".replace("%", " %")
        assert slider.get_attribute("aria-valuetext").startswith("threshold ")
        page.locator("#threshold-reset").click()
        assert outputs(page)["configured"] == "the configured threshold"


def test_another_type_can_be_chosen(browser, page_file, reported):
    facts = slider_of(read_report_files(reported, PROBLEM))
    with opened(browser, page_file) as page:
        wait_for_charts(page)
        page.locator("#threshold-type").select_option("random_forest")
        page.wait_for_selector('#threshold[data-ready="random_forest"]')
        own = facts["types"]["random_forest"]
        assert int(outputs(page)["tp"]) == own["points"][own["configured"]][1]


@pytest.mark.parametrize("size", SIZES)
def test_hostile_names_break_nothing(browser, tmp_path, monkeypatch, size):
    path = tmp_path / "hostile.html"
    path.write_text(report(hostile_classes(tmp_path, monkeypatch), told(HOSTILE)), encoding="utf-8")
    with opened(browser, path, size) as page:
        page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
        wait_for_charts(page)
        check_page(page)
        assert page.locator("img").count() == 0
        assert page.locator("h1").inner_text().startswith("</script><img")


def test_a_regression_in_the_browser(browser, tmp_path):
    from tests.conftest import PROJECT

    files = read_report_files(PROJECT, "california_housing")
    path = tmp_path / "page.html"
    path.write_text(report(files, Registered()), encoding="utf-8")
    with opened(browser, path, "phone", "dark") as page:
        wait_for_charts(page)
        check_page(page)
        (spec,) = re.findall(r'id="chart-coverage".*?json">(.*?)</script>', page.content())
        drawn = [row["y"] for layer in [json.loads(spec)] for row in layer["data"]["values"]]
        wanted = [v for one in files.types for v in one.plots["coverage"]["coverage"]]
        assert drawn == wanted
