"""docs/columns.md is what the schemas say."""

from pathlib import Path

import pytest

from lockstep.commands import columns_page as command
from lockstep.config.params import load_params
from lockstep.problems.schema import Column, load_schema
from lockstep.reports.columns_page import MOST_CODES, columns_page, values_of

ROOT = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    told = (ROOT / command.PAGE).read_text(encoding="utf-8")
    assert told == command.page_of(ROOT), "run `make columns`"


def test_the_command_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(command, "project_root", lambda: tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    assert command.main([]) == 0
    assert (tmp_path / command.PAGE).read_text() == command.page_of(ROOT)
    assert capsys.readouterr().out == "columns written to docs/columns.md\n"


def test_every_column_and_every_derived_one_has_its_row() -> None:
    for name in load_params(ROOT).problems:
        schema = load_schema(name)
        page = columns_page([schema])
        for column in (*schema.columns, *(derived.name for derived in schema.derived)):
            assert page.count(f"\n| `{column}` | ") == 1, column


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        ({"kind": "categorical", "codes": {1: "male", 2: "female"}}, "1 male; 2 female"),
        ({"kind": "categorical", "codes": {"RENT": "RENT"}}, "RENT"),
        ({"kind": "numeric", "low": 0, "high": 120, "unit": "years"}, "0 to 120 (years)"),
        ({"kind": "numeric", "low": -1.5, "integer": True}, "from -1.5, whole number"),
        ({"kind": "numeric", "high": 1e6}, "up to 1,000,000"),
        ({"kind": "numeric", "low": 2005, "high": 2100}, "2005 to 2100"),
        ({"kind": "categorical"}, ""),
    ],
)
def test_values_are_codes_or_a_range(declared, shown) -> None:
    assert values_of(Column(**declared)) == shown


def test_a_long_list_of_codes_is_cut() -> None:
    codes = {str(number): str(number) for number in range(MOST_CODES + 2)}
    assert values_of(Column(kind="categorical", codes=codes)).endswith("; 29; and 2 more")
