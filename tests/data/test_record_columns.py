"""A column read at once means what its cells mean row by row."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tests.data import test_records

from lockstep.data.record_columns import ColumnReader
from lockstep.data.records import records_to_table, table_records
from lockstep.data.tables import read_table
from lockstep.errors import DataError

numbers = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 2.5, -1.0, 1e300, 1e-7, 123456.789, 2.0**53]),
    st.floats(allow_nan=True, allow_infinity=True),
)
texts = st.sampled_from(
    ["", " ", "NA", "none", "None", "1", " 2 ", "2.0", "2,5", "1,234", "1.234,5", "1_0", "inf", "x",
     "true", "TRUE", "False", "e\u0301", "3+", "LOW", "low", "12 €", "1e3", "٣", "0x1"]
)  # fmt: skip
TYPED = [
    (pa.string(), texts),
    (pa.large_string(), texts),
    (pa.dictionary(pa.int32(), pa.string()), texts),
    (pa.float64(), numbers),
    (pa.float32(), st.sampled_from([0.1, 2.0, -3.5, float("nan")])),
    (pa.int64(), st.integers(-(2**40), 2**40)),
    (pa.uint8(), st.integers(0, 3)),
    (pa.bool_(), st.booleans()),
    (pa.decimal128(9, 2), st.sampled_from([decimal.Decimal("1.00"), decimal.Decimal("2.50")])),
    (pa.date32(), st.just(datetime.date(2020, 1, 2))),
    (pa.null(), st.none()),
]
"""The types that a column of a Parquet file may have, with values of each."""
FEATURES = {
    **test_records.COLUMNS,
    "smoker": {"kind": "categorical", "codes": {0: "", 1: ""}},
    "member": {"kind": "categorical", "codes": {"true": "", "false": ""}, "missing": True},
}


FITTING = {
    "town": "Ulm", "level": "low", "zone": "1", "children": "2", "size": "1", "rooms": "4",
    "houses": "2", "smoker": "1", "member": "true", "price": "5",
}  # fmt: skip


@st.composite
def tables(draw):
    """Return a schema, and a Parquet table in which one or two columns are of any type and cells.

    Were all of them so, hardly a row would fit.
    """
    schema = test_records.schema_of(FEATURES, decimal=draw(st.sampled_from(["", ".", ","])))
    rows = draw(st.integers(1, 6))
    wild = draw(st.lists(st.sampled_from(list(FITTING)), min_size=1, max_size=2))
    columns = {name: pa.array([cell] * rows) for name, cell in FITTING.items()}
    for name in wild:
        kind, cells = draw(st.sampled_from(TYPED))
        values = draw(st.lists(st.one_of(st.none(), cells), min_size=rows, max_size=rows))
        columns[name] = pa.array(values, kind)
    price = draw(st.sampled_from(["price", "Price (€)", " price "]))
    return schema, pa.table({price if n == "price" else n: c for n, c in columns.items()})


FLOATS = [
    pa.array([5.125, -1234.5, 1.5e-07, None]),
    pa.array([5.125, -1234.5, 1.5e-07, None], pa.float32()),
    pa.array([decimal.Decimal(n) for n in ("5.125", "-1234.500", "0.000")] + [None]),
    pa.array([5.125, -1234.5, 1.5e-07, None]).dictionary_encode(),
]


@pytest.mark.parametrize("cells", FLOATS)
def test_numbers_of_parquet_have_decimal_points_whatever_the_file_trained_on_has(cells, tmp_path):
    schema = test_records.schema_of(
        {name: test_records.COLUMNS[name] for name in ("price", "y_n")}, left_out=(), decimal=","
    )
    table = pa.table({"price": cells, "y_n": ["N", "Y", "N", "Y"]})
    (tmp_path / "data").mkdir()
    taken, refused = by_record(schema, table, tmp_path / "data" / "rows.parquet")
    assert refused == {}
    wanted = [float("nan") if one is None else float(one) for one in cells.to_pylist()]
    assert [taken[place]["price"] for place in range(4)] == pytest.approx(wanted, nan_ok=True)
    trained = read_table(tmp_path / "data", schema).table["price"]
    assert trained.tolist() == pytest.approx(wanted, nan_ok=True)
    columns, fits = ColumnReader(schema, table.column_names, "rows").read(
        {name: table[name].combine_chunks() for name in table.column_names}, 4
    )
    assert fits.all()
    assert columns["price"].tolist() == pytest.approx(wanted, nan_ok=True)


def by_record(schema, table, path):
    """Return the rows that predictions of a file take, by place, and why they refuse the others."""
    taken, refused = {}, {}
    for place, record in enumerate(records(schema, table, path)):
        try:
            taken[place] = records_to_table(schema, [record]).iloc[0].to_dict()
        except DataError as error:
            refused[place] = str(error)
    return taken, refused


def records(schema, table, path):
    parquet.write_table(table, path)
    return table_records(path, schema)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(found=tables())
def test_any_table_is_read_as_its_records_are(found, tmp_path_factory):
    schema, table = found
    path = tmp_path_factory.mktemp("table") / "rows.parquet"
    taken, refused = by_record(schema, table, path)
    stored = parquet.read_table(path).combine_chunks()
    cells = {
        name: pa.concat_arrays(stored[name].chunks) if len(stored[name].chunks) != 1
        else stored[name].chunk(0) for name in stored.column_names
    }  # fmt: skip
    reader = ColumnReader(schema, table.column_names, "rows.parquet")
    columns, fits = reader.read(cells, len(table))
    assert np.flatnonzero(fits).tolist() == list(taken)
    for place, expected in taken.items():
        for name, value in expected.items():
            read = np.asarray(columns[name])[place]
            assert read == value or (pd.isna(read) and pd.isna(value)), name
    bad = pa.array(~fits)
    numbers = (np.flatnonzero(~fits) + 1).tolist()
    reasons = reader.reasons({n: column.filter(bad) for n, column in cells.items()}, numbers)
    said = [f"record {place + 1}{text[len('the record') :]}" for place, text in refused.items()]
    assert reasons == said


def test_the_first_reason_is_what_a_prediction_of_the_file_says(tmp_path):
    schema = test_records.schema_of(decimal=",")
    rows = [{**test_records.ROW, "children": n} for n in ("0", "1", "many", "x")]
    table = pa.Table.from_pylist(rows)
    with pytest.raises(DataError) as caught:
        records_to_table(schema, records(schema, table, tmp_path / "rows.parquet"))
    cells = {name: table[name].chunk(0) for name in table.column_names}
    reader = ColumnReader(schema, table.column_names, "rows.parquet")
    bad = {name: column.slice(2) for name, column in cells.items()}
    assert reader.read(cells, 4)[1].tolist() == [True, True, False, False]
    assert reader.reasons(bad, [3, 4])[0] == str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"town": None, "twon": "x"}, r"rows lacks town \(did you mean 'twon'\?\)"),
        ({"rooms": None}, "rows lacks rooms_each; add it"),
        ({"price": "1"}, r"rows: (price|Price \(€\)) is another name of price, .* keep one"),
    ],
)
def test_features_that_are_missing_or_twice_are_named(change, said):
    row = {**test_records.ROW, **change}
    names = [name for name, value in row.items() if value is not None]
    with pytest.raises(DataError, match=said):
        ColumnReader(test_records.schema_of(), names, "rows")


def test_a_column_without_single_values_is_named():
    schema = test_records.schema_of()
    names = list(test_records.ROW)
    cells = {name: pa.array([], pa.string()) for name in names}
    cells["Price (€)"] = pa.array([], pa.list_(pa.float64()))
    with pytest.raises(DataError, match=r"rows: Price \(€\) holds no single values .*as text"):
        ColumnReader(schema, names, "rows").read(cells, 0)
