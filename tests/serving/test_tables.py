"""Tables as bodies: the same meaning, checks, words and bits as JSON; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import psutil
import pyarrow as pa
import pytest
from benchmarks.serve import request_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tests.data import test_records
from tests.serving.conftest import NAME, Running, Trained, wait_until
from tests.serving.table_forms import FORMS, stream

from lockstep.config.settings import LimitsSection
from lockstep.data.records import other_columns
from lockstep.monitoring.log_files import PREDICTIONS
from lockstep.registry.lifecycle.moves import transition
from lockstep.serving.http_request import ARROW_STREAM, PARQUET, Refusal
from lockstep.serving.logged_rows import Labels, LogReader, Notes
from lockstep.serving.prediction_log import predictions_table, read_entries
from lockstep.serving.request_parsing import RecordReader
from lockstep.serving.table_bodies import open_table
from lockstep.serving.table_parsing import (
    LoggedReader,
    ReadTable,
    TableReader,
    logged_records,
    logged_table,
)

LIMITS = LimitsSection()
FLOOR = {"floor": {"kind": "numeric", "low": 0, "high": 90}}
SCHEMA = test_records.schema_of(test_records.COLUMNS | FLOOR)


def sent(server: Running, body: bytes, kind: bytes = ARROW_STREAM, path: str = "/predict", **more):
    return server.ask("POST", path, body, {"Content-Type": kind.decode(), **more})


def answered(body: bytes) -> pa.Table:
    with pa.ipc.open_stream(body) as reader:
        return reader.read_all()


@pytest.fixture(scope="module", params=["credit_risk", "accidents"])
def running(request: pytest.FixtureRequest) -> Running:
    return request.getfixturevalue("credit_server" if request.param == "credit_risk" else "server")


@pytest.fixture(scope="module")
def records(running: Running) -> list[dict[str, Any]]:
    problem = running.variables.get("PROBLEM", "accidents")
    return request_rows(Trained(running.root, problem, "").schema, 300)


@pytest.mark.parametrize("kind", FORMS)
def test_a_table_is_answered_as_its_records_are_bit_for_bit(running, records, kind):
    got = sent(running, FORMS[kind](pa.Table.from_pylist(records)), kind)
    assert (got.status, got.headers["content-type"]) == (200, ARROW_STREAM.decode())
    wanted = running.post("/predict", records).json
    assert answered(got.body).to_pylist() == wanted["predictions"]
    said = {k.decode(): v.decode() for k, v in answered(got.body).schema.metadata.items()}
    assert said["request_id"] == got.headers["x-request-id"]
    assert said["model_digest"] == wanted["model_digest"] == got.headers["x-model-digest"]
    assert float(said["threshold"]) == wanted["threshold"]


def test_the_answer_is_json_where_the_client_accepts_only_that(running, records):
    body = stream(pa.Table.from_pylist(records))
    got = sent(running, body, Accept="application/json").json
    wanted = running.post("/predict", records).json
    del got["request_id"], wanted["request_id"]
    assert got == wanted
    assert sent(running, body, Accept="*/*").headers["content-type"] == ARROW_STREAM.decode()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_fitting_records_score_alike_in_every_form(credit: Trained, data):
    """The law: whatever JSON takes, a table of the same values gives the same bits."""
    schema, scorer = credit.schema, credit.model.scorer
    rows = data.draw(st.lists(record_of(schema), min_size=1, max_size=70))
    kind = data.draw(st.sampled_from(list(FORMS)))
    table = pa.table(
        {
            c.name: pa.array(
                [row[c.name] for row in rows], pa.float64() if c.holds_numbers else pa.string()
            )
            for c in schema.features
        }
    )
    coded = {name: table[name].dictionary_encode() for name in table.column_names}
    table = data.draw(st.sampled_from([table, pa.table(coded)]))
    reader = RecordReader(schema)
    read = TableReader(reader).read(open_table(FORMS[kind](table), kind, LIMITS))
    plain = reader.read(orjson.dumps(rows), len(rows))
    wanted = scorer.score(plain.columns, plain.rows)
    assert scorer.score(read.columns, read.rows).tobytes() == wanted.tobytes()
    logged = logged_table(schema, read)
    again = LoggedReader(RecordReader(schema)).columns(
        [logged, orjson.dumps(rows)], [len(rows)] * 2
    )
    assert scorer.score(again, 2 * len(rows)).tobytes() == wanted.tobytes() * 2
    assert logged_records(logged) == rows


def record_of(schema):
    def value(column):
        if column.codes:
            found = st.sampled_from([c if column.holds_numbers else str(c) for c in column.codes])
        elif column.holds_numbers and column.integer:
            found = st.integers(int(column.low), int(column.high)).map(float)
        elif column.holds_numbers:
            found = st.floats(column.low, column.high)
        else:
            found = st.sampled_from(["Ulm", "Köln"])
        return st.one_of(st.none(), found) if column.missing else found

    return st.fixed_dictionaries({c.name: value(c) for c in schema.features})


COMMAS = test_records.schema_of(
    {name: test_records.COLUMNS[name] for name in ("price", "town", "y_n")}, decimal=","
)


@pytest.mark.parametrize(
    ("cells", "prices"),
    [
        (pa.array([5.125, -1.5, None]), [5.125, -1.5, None]),
        (pa.array([5.125, -1.5, None], pa.float32()), [5.125, -1.5, None]),
        (pa.array([5.125, -1.5, None]).dictionary_encode(), [5.125, -1.5, None]),
        (pa.array([5125, -1, None]), [5125, -1, None]),
        (pa.array(["5,125", "-1,5", None]), [5.125, -1.5, None]),
        (pa.array(["5.125", "-1.500", None]), [5125, -1500, None]),
    ],
)
def test_numbers_mean_themselves_where_texts_have_decimal_commas(cells, prices):
    reader = RecordReader(COMMAS)
    table = pa.table({"price": cells, "town": pa.array(["Ulm"] * 3)})
    read = TableReader(reader).read(open_table(stream(table), ARROW_STREAM, LIMITS))
    assert pd.Series(read.columns["price"]).tolist() == pytest.approx(
        [np.nan if one is None else one for one in prices], nan_ok=True
    )
    rows = [{"price": price, "town": "Ulm"} for price in prices]
    assert logged_records(logged_table(COMMAS, read)) == rows
    again = LoggedReader(reader).columns([logged_table(COMMAS, read), orjson.dumps(rows)], [3, 3])
    assert again["price"].tolist() == pytest.approx(
        [np.nan if one is None else one for one in prices] * 2, nan_ok=True
    )


def test_categories_that_no_row_has_are_no_fault_also_in_the_log():
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and c.codes)
    known = next(iter(map(str, SCHEMA.columns[name].codes)))
    coded = pa.DictionaryArray.from_arrays(pa.array([1, 1, 1], pa.int8()), ["nonsense", known])
    read = TableReader(RecordReader(SCHEMA)).read(
        open_table(stream(table_of(3, **{name: coded})), ARROW_STREAM, LIMITS)
    )
    logged = LoggedReader(RecordReader(SCHEMA)).columns([logged_table(SCHEMA, read)], [3])
    assert logged[name].tolist() == [known] * 3


def test_a_narrow_dictionary_that_is_full_has_room_for_missing_values():
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and not c.codes)
    places = pa.array([*range(128), None], pa.int8())
    texts = [f"town {number}" for number in range(128)]
    coded = pa.DictionaryArray.from_arrays(places, texts)
    read = TableReader(RecordReader(SCHEMA)).read(
        open_table(stream(table_of(129, **{name: coded})), ARROW_STREAM, LIMITS)
    )
    assert np.asarray(read.columns[name]).tolist() == [*texts, None]


# ---------------------------------------------------------------- refusals, in the words of JSON


def refusal(table: pa.Table, limits: LimitsSection = LIMITS, kind: bytes = ARROW_STREAM) -> Refusal:
    with pytest.raises(Refusal) as caught:
        TableReader(RecordReader(SCHEMA)).read(open_table(FORMS[kind](table), kind, limits))
    return caught.value


def of_json(rows: list[dict[str, Any]]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        RecordReader(SCHEMA).read(orjson.dumps(rows), 10**6)
    return caught.value


def table_of(rows: int = 3, **changed: Any) -> pa.Table:
    columns = {
        c.name: pa.array(
            [1.0] * rows if c.holds_numbers else [next(iter(map(str, c.codes)), "Ulm")] * rows
        )
        for c in SCHEMA.features
    }
    return pa.table({**columns, **changed})


@pytest.mark.parametrize("kind", FORMS)
def test_values_that_do_not_fit_are_refused_in_the_words_of_json(kind):
    name = next(
        c.name for c in SCHEMA.features if c.holds_numbers and not c.codes and not c.missing
    )
    table = table_of(4, **{name: pa.array([1.0, float("inf"), None, 2.0])})
    found, wanted = (
        refusal(table, kind=kind),
        of_json(
            [
                row | ({name: "1e999"} if row[name] == float("inf") else {})
                for row in table.to_pylist()
            ]
        ),
    )
    assert found.status == wanted.status == 422
    assert [(f["row"], f["field"], f["allowed"]) for f in found.faults] == [
        (f["row"], f["field"], f["allowed"]) for f in wanted.faults
    ]
    assert found.faults[1] == wanted.faults[1]
    assert found.message.startswith("record 2 does not fit")
    assert found.message.endswith("; and 1 more fault")


def test_many_faults_are_counted_and_a_hundred_are_shown():
    texts = next(c.name for c in SCHEMA.features if not c.holds_numbers and c.codes)
    found = refusal(table_of(1000, **{texts: pa.array(["nonsense"] * 1000)}))
    wanted = of_json(table_of(1000, **{texts: pa.array(["nonsense"] * 1000)}).to_pylist())
    assert (found.message, found.faults, found.details) == (
        wanted.message, wanted.faults, wanted.details,
    )  # fmt: skip
    assert found.details == {"fault_count": 1000}


def test_columns_that_are_missing_unknown_or_twice_are_named():
    table = table_of()
    first = SCHEMA.feature_names[0]
    unknown = refusal(table.append_column("nonsense", pa.array([1, 2, 3])))
    assert unknown.status == 422
    assert "no feature is called nonsense" in unknown.message
    missing = refusal(table.drop_columns([first]))
    assert f"missing {first}" in missing.message
    twice = refusal(table.append_column(first, table[first]))
    assert (twice.status, "twice" in twice.message) == (400, True)
    lists = refusal(table.set_column(0, first, pa.array([[1], [2], [3]])))
    assert (lists.status, lists.faults[0]["field"]) == (422, first)
    assert "no single values" in lists.message
    assert refusal(table.slice(0, 0)).message == "no records: send at least one"


@pytest.mark.parametrize("kind", FORMS)
def test_an_empty_table_of_categories_holds_no_records(kind):
    coded = {name: column.dictionary_encode() for name, column in columns_of(table_of()).items()}
    assert (
        refusal(pa.table(coded).slice(0, 0), kind=kind).message == "no records: send at least one"
    )
    views = {
        name: column.cast(pa.string_view()) if pa.types.is_string(column.type) else column
        for name, column in columns_of(table_of()).items()
    }
    found = refusal(pa.table(views).slice(0, 0), kind=kind)
    assert found.message == "no records: send at least one"


def columns_of(table: pa.Table) -> dict[str, pa.Array]:
    return {name: table[name].combine_chunks() for name in table.column_names}


@pytest.mark.parametrize("kind", FORMS)
def test_rows_and_unpacked_bytes_are_limited(kind):
    few = LIMITS.model_copy(update={"table_rows": 10})
    assert refusal(table_of(11), few, kind).status == 413
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and not c.codes)
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), ["x" * 10_000])
    small = LIMITS.model_copy(update={"table_bytes": 100_000})
    assert "unpacks to more" in refusal(table_of(100, **{name: long}), small, kind).message


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_a_stream_that_unpacks_to_too_much_is_refused_before_it_is(codec):
    table = table_of(50_000)
    body = stream(table, compression=codec)
    small = LIMITS.model_copy(update={"table_bytes": 100_000})
    assert len(body) < table.nbytes / 5
    with pytest.raises(Refusal, match="unpacks to more"):
        open_table(body, ARROW_STREAM, small).cells(table.column_names)
    cells, rows = open_table(body, ARROW_STREAM, LIMITS).cells(table.column_names)
    assert (rows, list(cells)) == (50_000, table.column_names)


def test_views_of_one_long_text_count_each():
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and not c.codes)
    views = pa.array(["x" * 9_000] * 100, pa.string_view())
    small = LIMITS.model_copy(update={"table_bytes": 100_000})
    assert refusal(table_of(100, **{name: views}), small).status == 413
    read = TableReader(RecordReader(SCHEMA)).read(
        open_table(stream(table_of(100, **{name: views})), ARROW_STREAM, LIMITS)
    )
    assert np.asarray(read.columns[name]).tolist() == ["x" * 9_000] * 100


def test_the_length_of_a_missing_view_counts_nothing():
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and not c.codes)
    views = np.array([-(2**31), 0, 0, 0, 9_000, 0, 0, 0], dtype="<i4")
    views[5:8] = np.frombuffer(b"xxxx" + bytes(8), dtype="<i4")
    buffers = [pa.py_buffer(b"\x02"), pa.py_buffer(views.tobytes()), pa.py_buffer(b"x" * 9_000)]
    hidden = pa.Array.from_buffers(pa.string_view(), 2, buffers)
    small = LIMITS.model_copy(update={"table_bytes": 1_000})
    assert refusal(table_of(2, **{name: hidden}), small).status == 413


def test_a_dictionary_of_views_is_refused():
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and not c.codes)
    views = pa.DictionaryArray.from_arrays([0, 0, 0], pa.array(["x" * 100], pa.string_view()))
    assert "no single values" in refusal(table_of(3, **{name: views})).message


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_many_rows_of_one_long_text_in_parquet_are_refused_before_they_are_made(kind):
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and not c.codes)
    rows = 20_000
    coded = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 50_000])
    sink = pa.BufferOutputStream()
    schema = table_of(1, **{name: pa.array(["x"], kind)}).schema
    with parquet.ParquetWriter(sink, schema) as writer:
        for start in range(0, rows, 1000):
            part = table_of(1000, **{name: coded.slice(start, 1000).dictionary_decode().cast(kind)})
            writer.write_table(part)
    body = sink.getvalue().to_pybytes()
    assert len(body) < 20_000_000
    before = psutil.Process().memory_info().rss
    small = LIMITS.model_copy(update={"table_bytes": 50_000_000})
    with pytest.raises(Refusal, match="unpacks to more"):
        open_table(body, PARQUET, small).cells(schema.names)
    assert psutil.Process().memory_info().rss - before < 400_000_000


def test_many_batches_over_one_large_dictionary_are_refused():
    name = next(c.name for c in SCHEMA.features if not c.holds_numbers and not c.codes)
    texts = pa.array([f"town {number}" for number in range(20_000)])
    table = table_of(500, **{name: pa.DictionaryArray.from_arrays([0] * 500, texts)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    small = LIMITS.model_copy(update={"table_bytes": 1_000_000})
    with pytest.raises(Refusal, match="too many batches"):
        open_table(sink.getvalue().to_pybytes(), ARROW_STREAM, small).cells(table.column_names)


@pytest.mark.parametrize("kind", FORMS)
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_bodies_are_refused_or_read_and_never_break(kind, data):
    body = bytearray(FORMS[kind](table_of(5)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(0, len(body)))]
    status = 200
    try:
        TableReader(RecordReader(SCHEMA)).read(open_table(bytes(body), kind, LIMITS))
    except Refusal as error:
        status = error.status
    assert status in (200, 400, 413, 422)


def test_other_routes_and_types_say_what_they_take(running):
    body = stream(pa.table({"a": [1]}))
    for path in ("/explain", "/feedback"):
        got = sent(running, body, path=path)
        assert got.status == 415
        assert got.json["error"].startswith("send Content-Type: application/json, not")
    other = sent(running, body, kind=b"text/csv")
    assert (other.status, "vnd.apache.parquet" in other.json["error"]) == (415, True)
    assert sent(running, b"nonsense").status == 400
    assert sent(running, b"").status == 400


# ---------------------------------------------------------------- log, metrics, feedback, staging


def test_what_is_answered_is_logged_with_its_labels_and_counted(server, tmp_path):
    folder, rows = server.root / "predictions", request_rows(trained_schema(server), 40)
    other = next(iter(other_columns(trained_schema(server))))
    table = pa.Table.from_pylist([{**row, other: 1} for row in rows])
    got = sent(server, stream(table), **{"X-Request-ID": "of-a-table"})
    assert got.status == 200
    assert answered(got.body).schema.metadata[b"ignored"].decode() == f'["{other}"]'
    label = {"request_id": "of-a-table", "row": 7, "label": 1}
    assert server.post("/feedback", label).status == 202
    before = server.post("/predict", rows, {"X-Request-ID": "of-json"})

    def logged():
        found = predictions_table(folder)
        found = found[found["request_id"].isin(["of-a-table", "of-json"])] if len(found) else found
        return found if len(found) == 80 and found["label"].notna().any() else None

    wait_until(lambda: logged() is not None, 5, "the log")
    found = logged()
    of_table, of_json = (found[found["request_id"] == n] for n in ("of-a-table", "of-json"))
    names = ["row", "score", "decision", *rows[0]]
    pd.testing.assert_frame_equal(
        of_table[names].reset_index(drop=True),
        of_json[names].reset_index(drop=True),
        check_exact=True,
        check_dtype=False,
    )
    assert of_table["label"].tolist()[6] == 1
    assert before.json["predictions"] == answered(got.body).to_pylist()
    assert other not in of_table.dropna(axis=1, how="all")
    assert b'lockstep_rows_total{route="/predict"}' in server.get("/metrics").body


def trained_schema(server: Running):
    return Trained(server.root, "accidents", "xgboost").schema


def test_monitoring_reads_entries_of_both_kinds_as_one_table(server):
    schema, rows = trained_schema(server), request_rows(trained_schema(server), 30)
    for number, part in enumerate((rows[:10], rows[10:20], rows[20:])):
        name = {"X-Request-ID": f"mixed-{number}"}
        if number == 1:
            assert sent(server, stream(pa.Table.from_pylist(part)), **name).status == 200
        else:
            assert server.post("/predict", part, name).status == 200
    folder: Path = server.root / "predictions"

    def entries():
        return [e for e in read_entries(folder) if e.request_id.startswith("mixed-")]

    wait_until(lambda: len(entries()) == 3, 5, "the log")
    assert list(folder.glob(PREDICTIONS))
    notes = Notes()
    reader = LogReader(schema, [0, 1], Labels(pd.Series(dtype=object)), notes)
    found = reader.rows(entries())
    assert found is not None
    assert notes.unreadable == 0
    plain = RecordReader(schema).read(orjson.dumps(rows), 30).columns
    for name, values in plain.items():
        assert found.columns[name].tolist() == pytest.approx(values.tolist(), nan_ok=True)


def test_log_0_and_staging_take_tables_too(followed):
    server, rows = followed.server, request_rows(trained_schema(followed.server), 5)
    body = stream(pa.Table.from_pylist(rows))
    assert sent(server, body, path="/predict?log=0").status == 200
    transition(followed.client, NAME, 2, "Staging")
    wait_until(
        lambda: sent(server, body, path="/predict?stage=Staging").status == 200, 10, "Staging"
    )
    got = sent(server, body, path="/predict?stage=Staging")
    assert got.headers["x-model-version"] == "2"
    wanted = server.post("/predict?stage=Staging", rows).json["predictions"]
    transition(followed.client, NAME, 2, "None")
    assert answered(got.body).to_pylist() == wanted


def test_a_logged_row_that_fits_no_longer_is_unreadable_not_fatal():
    table = table_of(2)
    columns = TableReader(RecordReader(SCHEMA)).read(
        open_table(stream(table), ARROW_STREAM, LIMITS)
    )
    logged = logged_table(SCHEMA, ReadTable(columns.columns, 2))
    other = test_records.schema_of({"else": {"kind": "numeric"}})
    with pytest.raises(Refusal):
        LoggedReader(RecordReader(other)).columns([logged], [2])
