"""A draft reads its own file back, whatever the file, and says what a person must decide."""

import csv
import math
import string

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.config.params_file import parsed
from lockstep.data.checks import check_record, check_table
from lockstep.data.draft import bounds, draft
from lockstep.data.draft_text import params_text, schema_text
from lockstep.data.tables import read_any, typed
from lockstep.errors import DataError
from lockstep.problems.schema import read_schema
from lockstep.problems.text_tables import MISSING, RawTable

ROWS = 120
NAMES = ["age", "my column", "a[b]", "x<1", 'say "so"', "a,b", "{k: v}", "Âge", "日本", "", "", "__row__", "part",
         "class", "no", "1", "a.b",
         "A.B", "score", "target", "true"]  # fmt: skip
WORDS = st.text(string.ascii_letters + "éß日 '\"#:-{}[]<>&%@!?*|\\", min_size=1, max_size=8).map(str.strip)
NUMBERS = st.floats(-1e12, 1e12, allow_nan=False).map(lambda v: repr(round(v, 3)))
FLAGS = [["True", "False"], ["yes", "no"], ["Y", "N"], ["0", "1"], ["1.0", "0.0"]]
COLUMNS = st.one_of(
    st.tuples(st.just("text"), st.lists(WORDS.filter(bool), min_size=1, max_size=6)),
    st.tuples(st.just("number"), st.lists(NUMBERS, min_size=1, max_size=150)),
    st.tuples(st.just("whole"), st.lists(st.integers(-(10**6), 10**6).map(str), min_size=1, max_size=150)),
    st.tuples(st.just("long"), st.lists(st.integers(0, 10**20).map(str), min_size=1, max_size=30)),
    st.tuples(st.just("coded"), st.lists(st.integers(-2, 5).map(str), min_size=1, max_size=8)),
    st.tuples(st.just("money"), st.lists(st.floats(0, 1e6).map(lambda v: f"${v:,.2f}"), min_size=1, max_size=60)),
    st.tuples(st.just("comma"), st.lists(st.floats(0, 1e3).map(lambda v: f"{v:.2f}".replace(".", ",")), min_size=1)),
    st.tuples(st.just("share"), st.lists(st.floats(0, 100).map(lambda v: f"{v:.1f} %"), min_size=1)),
    st.tuples(st.just("day"), st.lists(st.dates().map(str), min_size=1, max_size=150)),
    st.tuples(st.just("flag"), st.sampled_from(FLAGS)),
    st.tuples(st.just("mixed"), st.just([*map(str, range(40)), "unknown", "inf", "-", "1e400"])),
    st.tuples(st.just("zeros"), st.lists(st.integers(0, 999).map(lambda v: f"{v:04d}"), min_size=1)),
)  # fmt: skip
TARGETS = st.sampled_from(
    [
        ["yes", "no"],
        ["0", "1"],
        ["1", "2"],
        ["a", "b é", "c<"],
        ["3", "7", "9"],
        ["1.5", "2.25", "7", "0.125"],
    ]
)


@st.composite
def tables(draw):
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
    columns, generator = [], np.random.Generator(np.random.PCG64(draw(st.integers(0, 99))))
    for _ in names:
        _, values = draw(COLUMNS)
        gone = draw(st.sampled_from([0, 0, 0.4, 0.97]))
        chosen = [values[i % len(values)] for i in generator.permutation(max(ROWS, len(values)))[:ROWS]]
        columns.append(["" if generator.random() < gone else v for v in chosen])
    target = draw(TARGETS)
    shuffled = [target[i % len(target)] for i in generator.permutation(ROWS)]
    place = draw(st.integers(0, len(names)))
    columns.insert(place, shuffled)
    names.insert(place, "the target")
    return names, columns, draw(st.sampled_from([",", ";", "\t"]))


def written(path, names, columns, separator=","):
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, delimiter=separator, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*columns, strict=True))
    return path


def read_back(path, folder, drafted):
    (folder / "schema.yaml").write_text(schema_text(drafted), encoding="utf-8")
    schema = read_schema(folder / "schema.yaml")
    rules = parsed(params_text(drafted)).problems[drafted.problem].preprocess
    table = typed(read_any(path), schema)
    return schema, table, check_table(schema, RawTable(table, {}, len(table), {}), rules)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
def test_a_draft_reads_its_own_file_back_without_loss(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("draft")
    path = written(folder / "t.csv", *table)
    text = read_any(path)
    try:
        drafted = draft(text, "toy", "the target")
    except DataError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert "no column to predict" in told
        return
    schema, raw, checked = read_back(path, folder, drafted)
    assert checked.unknown_codes == {}
    assert checked.out_of_range == {}
    assert set(checked.dropped) <= {"duplicate"}
    assert len(checked.table) == ROWS - checked.dropped.get("duplicate", 0)
    for planned in drafted.columns:
        told = text.columns[planned.source].to_pylist()
        column = schema.columns[planned.name]
        gone = [v in MISSING or v in column.absent for v in told]
        lost = {v for v, g, n in zip(told, gone, raw[planned.name].isna(), strict=True) if g != n}
        assert lost == set(), (planned, column)
        if not column.holds_numbers and column.kind == "categorical":
            assert [v for v, g in zip(raw[planned.name], gone, strict=True) if not g] == [
                v for v, g in zip(told, gone, strict=True) if not g
            ]
        if column.kind == "numeric" and not column.decimal:
            plain = [float(v.replace(",", ".")) for v, g in zip(told, gone, strict=True) if not g]
            assert raw[planned.name].dropna().tolist() == plain
    check_record(schema, drafted.example)
    declared = {a for c in schema.columns.values() for a in (c.name, *c.aliases)} | set(schema.left_out or {})
    assert set(text.columns) <= declared


@given(low=st.floats(-1e29, 1e29), span=st.floats(0, 1e29))
def test_a_range_holds_what_was_seen_and_more(low, span):
    high = low + span
    wide_low, wide_high = bounds(low, high)
    assert wide_low <= low
    assert wide_high >= high or math.isclose(wide_high, high)
    assert wide_low == 0 or low < 0
