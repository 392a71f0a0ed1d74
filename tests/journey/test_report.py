"""The report as a user gets it: after `make run-train`, and by its own command."""

import pytest
from tests.browser import browser, check_page, opened, wait_for_charts

__all__ = ["browser"]

pytestmark = pytest.mark.timeout(600)


def test_run_train_ends_by_naming_the_report_that_it_wrote(trained, run_train_output, browser):
    assert "see the report       reports/accidents.html, in a browser" in run_train_output
    page_file = trained.folder / "reports" / "accidents.html"
    with opened(browser, page_file) as page:
        wait_for_charts(page)
        check_page(page)
        text = page.locator("#versions").inner_text()
        assert "version 1 · None" in text
        assert "new → None" in text
        assert page.locator("#slices tbody tr").count() > 5
        assert page.locator("#model figure.chart").count() == 7


def test_make_report_works_as_typed(own):
    (own.folder / "reports" / "accidents.html").unlink()
    said = own.run("make report PROBLEM=accidents")
    assert said.endswith("accidents: report written to reports/accidents.html\n")
    assert (own.folder / "reports" / "accidents.html").is_file()
    assert own.run("git status --porcelain") == ""
