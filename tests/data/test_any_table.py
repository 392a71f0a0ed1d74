"""Tables as people have them, read by a schema.

They hold numbers in words of their own, dates, twins and columns gone astray.
"""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.params import Preprocess
from lockstep.data.checks import check_table
from lockstep.data.records import mixed_decimals, records_to_table, table_records
from lockstep.data.tables import read_any, read_table, typed
from lockstep.drafting.draft import draft
from lockstep.drafting.draft_text import schema_text
from lockstep.errors import ConfigError, DataError
from lockstep.problems.schema import Schema, read_schema, safe_name
from lockstep.serving.http_request import Refusal
from lockstep.serving.request_parsing import RecordReader

HEAD = {
    "name": "toy",
    "title": "Toy",
    "task": "binary",
    "unit": "row",
    "registered_name": "Toy",
    "experiment": "toy",
}
PRICE = {
    "kind": "numeric",
    "aliases": ["price [€]"],
    "decimal": ".",
    "absent": ["on request"],
    "missing": True,
}
COLUMNS = {
    "price": PRICE,
    "day": {"kind": "date", "format": "%d/%m/%Y", "missing": True},
    "y": {"kind": "target", "codes": {0: "", 1: ""}},
}


def schema(**more):
    return Schema.model_validate(
        {**HEAD, "columns": COLUMNS, "left_out": {"note": "free text"}, **more}
    )


def read(tmp_path, text, **more):
    path = tmp_path / "t.csv"
    path.write_text(text)
    return typed(read_any(path), schema(**more))


def test_numbers_dates_and_words_are_read_as_declared(tmp_path):
    text = (
        'price [€],day,y,note\n"€1,234.50",31/12/2023,1,a\non request,,0,b\n'
        '"-1,000,000",01/02/2024,1,c\n12 %,,0,\n'
    )
    table = read(tmp_path, text)
    assert table["price"].tolist()[::2] == [1234.5, -1e6]
    assert table["price"].isna().tolist() == [False, True, False, False]
    assert table["day"].dt.strftime("%Y%m%d").tolist()[0::2] == ["20231231", "20240201"]


@pytest.mark.parametrize("value", ["1,5", "1,23,4", "ask", "1.234,5", "€", "0,123"])
def test_what_is_written_in_another_way_is_refused_with_its_row(tmp_path, value):
    with pytest.raises(DataError, match=r"column price, row 2: '.*' is no number"):
        read(tmp_path, f'price,day,y\n1,,0\n"{value}",,1\n')


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("pric,day,y", r"lacks the column 'price' \(did you mean 'pric'\?\)"),
        ("price,day,z", "lacks the column 'y'"),
        ("price,day,y,dya", "does not know: 'dya'; declare each"),
        ("price,y,dayy", r"does not know: 'dayy' \(did you mean 'day'\?\)"),
        ("price,price,y", "has the column 'price' twice"),
    ],
)
def test_a_column_only_in_the_file_or_only_in_the_schema_is_told_with_the_nearest(
    tmp_path, header, says
):
    row = ",".join("1" for _ in header.split(","))
    with pytest.raises(DataError, match=says):
        read(tmp_path, f"{header}\n{row}\n")


def test_a_date_that_does_not_parse_is_told_with_row_and_form(tmp_path):
    with pytest.raises(
        DataError, match="column day, row 2: '2024-01-01' is no date; write it as %d/%m/%Y"
    ):
        read(tmp_path, "price,day,y\n1,31/12/2023,0\n1,2024-01-01,1\n")


def test_without_left_out_other_columns_are_passed_over(tmp_path):
    assert list(read(tmp_path, "price,day,y,more\n1,,0,x\n", left_out=None)) == [
        "price",
        "day",
        "y",
    ]


def test_a_column_without_a_name_is_called_by_its_place(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(",a,a,\n1,2,3,4\n")
    assert list(read_any(path).columns) == ["column 1", "a", "a (2)", "column 4"]


@pytest.mark.parametrize(
    "name", ["a b", "a[b]", "x<1", "{k}", "a,b", 'q"', "__target__", "a.b", "é è"]
)
def test_a_name_not_every_model_takes_is_refused_with_one_that_is(tmp_path, name):
    path = tmp_path / "schema.yaml"
    path.write_text(str({**HEAD, "columns": {name: {"kind": "numeric"}, "y": {"kind": "target"}}}))
    with pytest.raises(ConfigError, match=f"call it {safe_name(name)} and put"):
        read_schema(path)
    assert safe_name(safe_name(name)) == safe_name(name)


def test_copies_are_dropped_and_counted_where_the_rules_say_so(tmp_path):
    columns = {"id": {"kind": "id"}, "x": {"kind": "numeric"}, "y": COLUMNS["y"]}
    (tmp_path / "t.csv").write_text("id,x,y,note\n1,5,0,a\n1,5,0,a\n2,5,0,a\n2,5,0,b\n4,6,1,\n")
    kept = schema(columns=columns)
    raw = read_table(tmp_path, kept, mark_copies=True)
    checked = check_table(kept, raw, Preprocess(duplicates="drop", max_dropped=0.3))
    assert checked.dropped == {"duplicate": 1}
    assert checked.table["id"].tolist() == [1, 2, 2, 4]  # an id or a note apart: no copy
    assert len(check_table(kept, raw, Preprocess()).table) == 5


def test_records_may_use_the_files_names(tmp_path):
    table = records_to_table(schema(), [{"price [€]": 3.5}, {"price": None}])
    assert table["price"].tolist()[0] == 3.5
    with pytest.raises(DataError, match="is another name of price, which is there, too; keep one"):
        records_to_table(schema(), [{"price": 1.0, "price [€]": 2.0}])


def test_parquet_of_lists_is_refused_by_column(tmp_path):
    import pandas as pd

    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": [[1], [2]]}).to_parquet(path)
    with pytest.raises(DataError, match="the column a holds list"):
        read_any(path)


# ---------------------------------------------------------------- 1,234: a thousand or a decimal

PLAIN = {"price": {"kind": "numeric"}, "y": COLUMNS["y"]}


@pytest.mark.parametrize("cell", ["1,234", "-12,500", "+999,999", " 8,000 "])
def test_a_number_of_two_meanings_is_refused_with_both_in_every_form(tmp_path, cell):
    plain = schema(columns=PLAIN, left_out=None)
    bare = cell.strip()
    said = f"{bare.replace(',', '.')} or {bare.replace(',', '')}".replace("+", r"\+")
    (tmp_path / "t.csv").write_text(f'price,y\n1.5,0\n"{cell}",1\n')
    with pytest.raises(DataError, match=rf"row 2: '.*' is {said}; set `decimal` of price"):
        read_table(tmp_path, plain)
    fix = "write it without the comma"
    for records in (table_records(tmp_path / "t.csv", plain), [{"price": cell}]):
        with pytest.raises(DataError, match=f"price = '.*' is {said}; {fix}"):
            records_to_table(plain, records)
    with pytest.raises(Refusal, match=f"price = '.*' is {said}; {fix}"):
        RecordReader(plain).read(json.dumps({"price": cell}).encode(), 1)


@pytest.mark.parametrize(
    ("cell", "number"),
    [("1,2", 1.2), ("0,123", 0.123), ("1234,567", 1234.567), ("1,2345", 1.2345), ("01,234", 1.234),
     ("1.234", 1.234), ("1,234e0", 1.234), (",234", 0.234)],
)  # fmt: skip
def test_a_decimal_comma_that_can_part_no_thousands_is_read(tmp_path, cell, number):
    plain = schema(columns=PLAIN, left_out=None)
    (tmp_path / "t.csv").write_text(f'price,y\n"{cell}",1\n')
    assert read_table(tmp_path, plain).table["price"].tolist() == [number]
    assert records_to_table(plain, [{"price": cell}])["price"].tolist() == [number]


def test_a_feature_is_made_of_clear_numbers_only(tmp_path):
    made = {"kind": "numeric", "missing": True, "made_of": ["rooms", "houses"]}
    plain = schema(columns={"each": made, "y": COLUMNS["y"]}, left_out=None)
    (tmp_path / "t.csv").write_text('rooms,houses,y\n"1,234",2,1\n')
    with pytest.raises(DataError, match=r"column rooms, row 1: '1,234' is 1.234 or 1234"):
        read_table(tmp_path, plain)
    with pytest.raises(DataError, match=r"each = '1,234' is 1.234 or 1234"):
        records_to_table(plain, [{"rooms": "1,234", "houses": "2"}])


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@given(digits=st.integers(1, 3), rows=st.integers(120, 140))
def test_a_file_with_decimal_commas_is_read_as_drafted(tmp_path_factory, separator, digits, rows):
    path = tmp_path_factory.mktemp("commas") / "t.csv"
    cells = [f"{n + 1},{'5' * digits}" for n in range(rows)]
    if digits == 3:
        cells[0] = "0,5"  # at least one that parts no thousands
    lines = [f'"{cell}"{separator}{n % 2}\n' for n, cell in enumerate(cells)]
    path.write_text("".join([f"price{separator}y\n", *lines]))
    file = path.with_name("schema.yaml")
    file.write_text(schema_text(draft(read_any(path), "toy", "y")))
    drafted = read_schema(file)
    assert drafted.columns["price"].decimal == ","
    expected = [float(cell.replace(",", ".")) for cell in cells]
    assert typed(read_any(path), drafted)["price"].tolist() == expected
    records = table_records(path, drafted)
    assert records_to_table(drafted, records)["price"].tolist() == expected


def test_points_of_both_meanings_in_one_input_are_told_with_their_number():
    columns = {n: {"kind": "numeric", "decimal": ","} for n in ("price", "size")}
    comma = schema(columns={**columns, "y": COLUMNS["y"]})
    mixed = [{"price": "84.015", "size": "68.1"}, {"price": "9.000", "size": "1"}]
    assert mixed_decimals(comma, mixed) == (
        "2 numbers such as '84.015' read as 84015, as the file trained on has decimal commas; "
        "'68.1' is written with a decimal point"
    )
    assert records_to_table(comma, mixed)["price"].tolist() == [84015, 9000]
    for clear in ({"price": "84.015", "size": "68,1"}, {"price": "84.01", "size": "68.1"},
                  {"price": "84.015", "size": 68.1}, {"price": 1.0, "size": None}):  # fmt: skip
        assert mixed_decimals(comma, [clear]) == ""
    points = schema(columns={"price": PRICE, "y": COLUMNS["y"]})
    assert mixed_decimals(points, [{"price": "84.015"}, {"price": "1.5"}]) == ""


def test_huge_amounts_that_parquet_holds_as_floats_stay_numbers(tmp_path):
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(0)
    table = pd.DataFrame(
        {"density": generator.uniform(3e16, 8e18, 600), "y": generator.integers(0, 2, 600)}
    )
    kinds = []
    for path in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
        found = draft(read_any(path), "toy", "y")
        kinds.append({c.source: c.keys["kind"] for c in found.columns})
    assert kinds[0] == kinds[1]
    assert kinds[0]["density"] == "numeric"
