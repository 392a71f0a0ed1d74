"""A draft reads its own file back, whatever the file, and says what a person must decide."""

import csv
import math
import re
import string

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from lockstep.config.params_file import parsed
from lockstep.data.checks import check_table
from lockstep.data.records import check_record
from lockstep.data.tables import read_any, typed
from lockstep.drafting.draft import bounds, draft
from lockstep.drafting.draft_text import params_text, schema_text
from lockstep.drafting.names import ID_NAME
from lockstep.errors import DataError, UsageError
from lockstep.evaluation.intervals import fit_interval
from lockstep.evaluation.scored_rows import Scored
from lockstep.features.split import split_rows
from lockstep.problems.schema import read_schema
from lockstep.problems.text_tables import MISSING, RawTable

ROWS = 120
NAMES = ["age", "my column", "a[b]", "x<1", 'say "so"', "a,b", "{k: v}", "Âge", "日本", "", "",
         "__row__", "part", "class", "no", "1", "a.b",
         "A.B", "score", "target", "true"]  # fmt: skip
WORDS = st.text(string.ascii_letters + "éß日 '\"#:-{}[]<>&%@!?*|\\", min_size=1, max_size=8).map(
    str.strip
)
NUMBERS = st.floats(-1e12, 1e12, allow_nan=False).map(lambda v: repr(round(v, 3)))
FLAGS = [["True", "False"], ["yes", "no"], ["Y", "N"], ["0", "1"], ["1.0", "0.0"]]
COLUMNS = st.one_of(
    st.tuples(st.just("text"), st.lists(WORDS.filter(bool), min_size=1, max_size=6)),
    st.tuples(st.just("number"), st.lists(NUMBERS, min_size=1, max_size=150)),
    st.tuples(
        st.just("whole"), st.lists(st.integers(-(10**6), 10**6).map(str), min_size=1, max_size=150)
    ),
    st.tuples(st.just("long"), st.lists(st.integers(0, 10**20).map(str), min_size=1, max_size=30)),
    st.tuples(st.just("coded"), st.lists(st.integers(-2, 5).map(str), min_size=1, max_size=8)),
    st.tuples(
        st.just("money"),
        st.lists(st.floats(0, 1e6).map(lambda v: f"${v:,.2f}"), min_size=1, max_size=60),
    ),
    st.tuples(
        st.just("comma"),
        st.lists(st.floats(0, 1e3).map(lambda v: f"{v:.2f}".replace(".", ",")), min_size=1),
    ),
    st.tuples(
        st.just("share"), st.lists(st.floats(0, 100).map(lambda v: f"{v:.1f} %"), min_size=1)
    ),
    st.tuples(st.just("day"), st.lists(st.dates().map(str), min_size=1, max_size=150)),
    st.tuples(st.just("flag"), st.sampled_from(FLAGS)),
    st.tuples(st.just("mixed"), st.just([*map(str, range(40)), "unknown", "inf", "-", "1e400"])),
    st.tuples(st.just("lists"), st.just([",".join(["400"] * n) for n in (2, 103, 150)])),
    st.tuples(st.just("odd"), st.just(["1,5e3", "2,02E+11", "--5", "+-5", "1,234", "7", "€ 5,5"])),
    st.tuples(
        st.just("zeros"), st.lists(st.integers(0, 999).map(lambda v: f"{v:04d}"), min_size=1)
    ),
)
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
        chosen = [
            values[i % len(values)] for i in generator.permutation(max(ROWS, len(values)))[:ROWS]
        ]
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
    declared = {a for c in schema.columns.values() for a in (c.name, *c.aliases)} | set(
        schema.left_out or {}
    )
    assert set(text.columns) <= declared


@example(low=0.0, span=5e-324)
@given(low=st.floats(-1e29, 1e29), span=st.floats(0, 1e29))
def test_a_range_holds_what_was_seen_and_more(low, span):
    high = low + span
    wide_low, wide_high = bounds(low, high)
    assert wide_low <= low
    assert wide_high >= high or math.isclose(wide_high, high)
    assert wide_low == 0 or low < 0


def drafted_from(tmp_path, columns, target="y", task="", separator=","):
    path = written(
        tmp_path / "t.csv", list(columns), [list(map(str, v)) for v in columns.values()], separator
    )
    return draft(read_any(path), "toy", target, task)


def noise(seed, rows=600):
    return np.random.Generator(np.random.PCG64(seed)).normal(size=rows).round(3)


Y = ["yes" if v > 0 else "no" for v in noise(0)]


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (Y, "binary"),
        ([i % 7 for i in range(600)], "multiclass"),
        ([f"kind {i % 12}" for i in range(600)], "multiclass"),
        ([i % 40 for i in range(600)], "regression"),
        (noise(1), "regression"),
        ([f"{v:,.2f} €" for v in 1e4 * noise(1)], "regression"),
    ],
)
def test_the_task_is_told_by_the_target(tmp_path, values, task):
    assert drafted_from(tmp_path, {"x": noise(2), "y": values}).task == task


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (["0" if v > 1 else "1" for v in noise(0)], 1),
        (["good" if v > 1 else "bad" for v in noise(0)], "bad"),
        (["red" if v > 1 else "blue" for v in noise(0)], "red"),
        (["2" if v > 1 else "1" for v in noise(0)], 2),
    ],
)
def test_the_positive_class_is_last(tmp_path, values, positive):
    assert list(drafted_from(tmp_path, {"x": noise(2), "y": values}).target.codes)[-1] == positive


def test_a_column_that_tells_the_target_is_left_out_and_said(tmp_path):
    amount = noise(3)
    found = drafted_from(
        tmp_path, {"x": noise(2), "paid": [v * 2 + 1 for v in amount], "y": amount}
    )
    assert list(found.left_out) == ["paid"]
    assert any("paid" in what and "leak" in what for what in found.decide)


def test_rows_belong_together_by_evidence_only(tmp_path):
    people = [i // 4 for i in range(600)]
    born = [1950 + (p * 7) % 50 for p in people]
    with_evidence = {"patient_id": people, "born": born, "x": noise(2), "y": Y}
    found = {c.name: c.keys["kind"] for c in drafted_from(tmp_path, with_evidence).columns}
    assert found["patient_id"] == "group"
    by_chance = {
        "patient_id": np.random.Generator(np.random.PCG64(4)).permutation(people),
        "x": noise(2),
        "y": Y,
    }
    assert "group" not in {c.keys["kind"] for c in drafted_from(tmp_path, by_chance).columns}


@pytest.mark.parametrize(
    ("name", "days", "split"),
    [("opened", 300, "time"), ("birth_date", 300, "group"), ("opened", 5, "group")],
)
def test_time_parts_the_rows_where_that_is_sensible(tmp_path, name, days, split):
    dates = np.datetime64("2020-01-01") + np.arange(600) % days
    found = drafted_from(tmp_path, {name: dates, "x": noise(2), "y": Y})
    assert found.split == split
    assert (name in found.left_out) == (split == "group")


def test_a_file_with_semicolons_has_decimal_commas(tmp_path):
    columns = {"preis": [f"{v:.3f}".replace(".", ",") for v in 3 + noise(2)], "x": noise(3), "y": Y}
    (planned, _) = drafted_from(tmp_path, columns, separator=";").columns
    assert planned.keys["high"] <= 20


@pytest.mark.parametrize("target", ["y", "region_code"])
def test_whole_codes_with_a_comma_and_with_a_point_are_one_code(tmp_path, target):
    forms = ["1,0", "1,0", "2,0", "3.0", "3,0"]
    found = drafted_from(
        tmp_path, {"region_code": [forms[i % 5] for i in range(600)], "x": noise(2), "y": Y}, target
    )
    (codes,) = [c.codes for c in [found.target, *found.columns] if c.source == "region_code"]
    assert codes == {1: 240, 2: 120, 3: 240}


def with_gaps(generator, values, share):
    gone = generator.random(len(values)) < share
    return [None if lost else value for lost, value in zip(gone, values, strict=True)]


def test_a_list_of_numbers_too_long_for_a_number_is_text(tmp_path):
    """Its commas part thousands, and its value is above what a float64 holds."""
    lists = [",".join(["400"] * (110 + row % 7)) for row in range(120)]
    columns = [lists, [str(row % 5) for row in range(120)], ["yes", "no", "no"] * 40]
    path = written(tmp_path / "t.csv", ["waves", "x", "the target"], columns)
    drafted = draft(read_any(path), "toy", "the target")
    assert [c.keys["kind"] for c in drafted.columns if c.source == "waves"] == ["categorical"]


@pytest.mark.parametrize(("rows", "copies"), [(100, 0), (108, 0), (149, 0), (150, 0), (82, 30)])
def test_a_small_table_has_validation_rows_for_an_interval(tmp_path, rows, copies):
    generator = np.random.Generator(np.random.PCG64(0))
    values = [[f"{v:.3f}" for v in generator.normal(size=rows)] for _ in range(2)]
    values = [column + column[:copies] for column in values]
    path = written(tmp_path / "t.csv", ["x", "the target"], values)
    drafted = draft(read_any(path), "toy", "the target")
    schema, _, checked = read_back(path, tmp_path, drafted)
    problem = parsed(params_text(drafted)).problems["toy"]
    chosen = split_rows(checked.table, schema, problem.split) == "choose"
    target = checked.table.loc[chosen, "the_target"].to_numpy()
    fit_interval(Scored(target, target + 1), problem.decision.coverage)


def test_rows_without_a_target_are_none_to_learn_from(tmp_path):
    columns = [[str(row) for row in range(130)], ["1.5", "2.5", ""] * 43 + ["3.5"]]
    path = written(tmp_path / "t.csv", ["x", "the target"], columns)
    with pytest.raises(DataError, match=r"t\.csv has 87 rows with a target 'the target'; at least"):
        draft(read_any(path), "toy", "the target")


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
def test_parquet_gives_the_draft_of_its_table_as_csv(tmp_path, task):
    generator = np.random.Generator(np.random.PCG64(7))
    thing = generator.permutation(600) % 60
    y = (generator.normal(0, 3, 60)[thing] + generator.normal(0, 0.5, 600)).round(3)
    words = {"binary": np.where(y > 0, "ill", "well"), "multiclass": np.round(y / 3).astype(int)}
    columns = {
        "shop": (thing * 13 + 100, 0.02),
        "firm": ([f"firm {v}" for v in thing], 0.02),
        "trait": (generator.integers(20, 80, 60)[thing], 0.1),
        "rare": (generator.integers(0, 9, 600), 0.99),
        "amount": (generator.normal(size=600).round(3), 0.1),
        "paid": (generator.random(600) < 0.4, 0.1),
        "y": (words.get(task, y), 0.05),
    }
    table = {
        name: pa.array(with_gaps(generator, np.asarray(values).tolist(), share))
        for name, (values, share) in columns.items()
    }
    parquet.write_table(pa.table(table), tmp_path / "t.parquet")
    # Parquet's booleans are read as 0 and 1, the words of a file of text as texts.
    arrow_csv.write_csv(pa.table(table | {"paid": table["paid"].cast("int8")}), tmp_path / "t.csv")
    drafts = [draft(read_any(tmp_path / name), "toy", "y") for name in ("t.csv", "t.parquet")]
    assert drafts[0].decide == drafts[1].decide
    assert drafts[0].left_out == drafts[1].left_out
    assert params_text(drafts[0]) == params_text(drafts[1])
    assert schema_text(drafts[0]) == schema_text(drafts[1]).replace("t.parquet", "t.csv")


def test_a_target_named_by_its_safe_name_or_misspelt(tmp_path):
    columns = {"x": noise(2), "the answer?": Y}
    assert drafted_from(tmp_path, columns, "the_answer").target.source == "the answer?"
    with pytest.raises(UsageError, match="did you mean 'the answer"):
        drafted_from(tmp_path, columns, "the anser?")


def test_every_text_of_the_draft_is_yaml_that_says_what_was_meant(tmp_path):
    odd = ["yes", "no", "null", "1e3", "a: b", "#", "é\t", "'", '"', "{x}", "- y", "~"]
    found = drafted_from(
        tmp_path, {"odd": [odd[i % 12] for i in range(600)], "x": noise(2), "y": Y}
    )
    codes = yaml.safe_load(schema_text(found))["columns"]["odd"]["codes"]
    assert sorted(codes) == sorted({text.strip() for text in odd} - MISSING)
    assert codes == {code: code for code in codes}


def test_whole_number_classes_are_all_listed_however_many(tmp_path):
    columns = {"x": noise(3, 1681), "y": [*(i % 80 for i in range(1680)), "NA"]}
    assert list(drafted_from(tmp_path, columns, task="multiclass").target.codes) == list(range(80))


@pytest.mark.parametrize(
    ("name", "is_id"),
    [("id", True), ("customer_id", True), ("customerID", True), ("Patient", True),
     ("id number", True), ("row", True), ("person_income", False), ("num_visits", False),
     ("paid", False), ("fluid", False), ("number of rooms", False)],
)  # fmt: skip
def test_names_of_identifiers(name, is_id):
    assert bool(ID_NAME.search(name)) == is_id


@pytest.mark.parametrize(
    ("rows", "task", "share"),
    [(312_500, "binary", None), (1_000_000, "multiclass", 0.31), (3_000_000, "regression", 0.1)],
)
def test_a_tree_of_the_forest_sees_part_of_many_rows(tmp_path, rows, task, share):
    levels = {"binary": 2, "multiclass": 5, "regression": 97}[task]
    small = drafted_from(
        tmp_path,
        {"x": [i % 7 for i in range(400)], "y": [i % levels + 0.5 for i in range(400)]},
        task=task,
    )
    small.rows = rows
    params = parsed(params_text(small))
    assert params.train["toy-random_forest"].params.get("max_samples") == share
    assert params.train["toy-random_forest"].params["max_features"] == 0.3


def test_columns_of_few_levels_are_slices_then_numbers(tmp_path):
    columns = {
        "amount": noise(1), "age": noise(2), "many": [f"level {i % 20}" for i in range(600)],
        "colour": ["red", "green", "blue"] * 200, "y": ["0", "1"] * 300,
    }  # fmt: skip
    drafted = drafted_from(tmp_path, columns)
    assert [c.name for c in drafted.columns if c.keys.get("slice")] == ["amount", "age", "colour"]
    (tmp_path / "schema.yaml").write_text(schema_text(drafted), encoding="utf-8")
    assert read_schema(tmp_path / "schema.yaml").slices == ["amount", "age", "colour"]
    coded = {f"c{i}": [str((row // (i + 1)) % 3) + "x" for row in range(600)] for i in range(7)}
    drafted = drafted_from(tmp_path, {"amount": noise(1), **coded, "y": Y})
    assert [c.name for c in drafted.columns if c.keys.get("slice")] == [
        "c0",
        "c1",
        "c2",
        "c3",
        "c4",
    ]


def drafted_of(tmp_path, **columns):
    generator = np.random.default_rng(0)
    noise, target = generator.normal(size=400), generator.integers(0, 2, 400)
    table = {"x": noise, "y": target, **columns}
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return draft(read_any(path), "toy", "y")


def test_a_stray_word_among_prices_is_asked_by_its_column(tmp_path):
    prices = [f"{n % 90}.99" for n in range(398)] + ["12,5", "€3.99"]
    found = drafted_of(tmp_path, price=prices)
    (planned,) = [c for c in found.columns if c.source == "price"]
    assert planned.keys["kind"] == "numeric"
    assert any("price" in asked for asked in found.decide)


@pytest.mark.parametrize(
    ("signs", "shown"),
    [(("$", "€"), r"'\$\d+\.5' and '€\d+\.5'"), (("$", ""), r"'\$\d+\.5' and '\d+\.5'")],
)
def test_numbers_with_different_signs_are_asked(tmp_path, signs, shown):
    prices = [f"{signs[n % 2]}{n % 83 + 1}.5" for n in range(400)]
    found = drafted_of(tmp_path, price=prices)
    (planned,) = [c for c in found.columns if c.source == "price"]
    assert "unit" not in planned.keys
    told = " ".join(found.decide)
    assert re.search(f"Not all numbers have the same sign beside them: {shown}", told), told
    alike = drafted_of(tmp_path, price=[f"$ {n % 83 + 1}.5" for n in range(400)])
    assert "sign beside them" not in " ".join(alike.decide)


def test_rows_without_a_date_are_told_also_with_a_split_of_the_files_own(tmp_path):
    days = [f"2021-{n % 12 + 1:02}-{n % 28 + 1:02}" for n in range(400)]
    parts = ["test" if n % 5 == 0 else "train" for n in range(400)]
    found = drafted_of(tmp_path, day=["", "", *days[2:]], part=parts)
    assert found.split == "given"
    assert any("2 rows have no date and are dropped" in asked for asked in found.decide)


@pytest.mark.parametrize("power", ["2,02E+11", "1,5e3"])
@pytest.mark.parametrize("more", ["7", "€ 5,5"])
def test_powers_with_a_decimal_comma_settle_what_a_comma_means(tmp_path, power, more):
    cells = ([power, "1,234", more] * 2 + [""] * ROWS)[:ROWS]
    path = written(tmp_path / "t.csv", ["age", "the target"], [cells, ["3", "7", "9"] * 40])
    drafted = draft(read_any(path), "toy", "the target")
    assert [planned.keys.get("decimal") for planned in drafted.columns] == [","]
    _, raw, _ = read_back(path, tmp_path, drafted)
    assert raw["age"][1] == 1.234
    assert raw["age"][0] == float(power.replace(",", "."))
