"""A row of the file that was trained on means the same in every form in which it is predicted."""

import csv
import io
import json
import unicodedata
from functools import partial

import orjson
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.record_text import given as given_content
from lockstep.data.records import (
    RowReader,
    given_records,
    other_columns,
    records_to_table,
    table_records,
)
from lockstep.data.tables import read_table
from lockstep.data.values import read_label_texts
from lockstep.errors import DataError
from lockstep.problems.headers import clean_name
from lockstep.problems.schema import Schema, read_schema
from lockstep.serving.http_request import Refusal
from lockstep.serving.request_parsing import RecordReader

COLUMNS = {
    "Loan_ID": {"kind": "id"},
    "client": {"kind": "group", "aliases": ["Client No."]},
    "day": {"kind": "date", "made_of": ["y", "m", "d"]},
    "y_n": {"kind": "target", "codes": {"N": "", "Y": ""}, "aliases": ["Y/N"]},
    "town": {"kind": "categorical", "missing": True},
    "level": {"kind": "ordered", "codes": {"None": "", "low": "", "NA": ""}, "missing": True},
    "zone": {"kind": "categorical", "codes": {1: "", 2: ""}, "missing": True},
    "children": {"kind": "numeric", "integer": True, "missing": True, "absent": ["3+"]},
    "price": {"kind": "numeric", "missing": True, "aliases": ["Price (€)"]},
    "size": {"kind": "numeric", "missing": True},
    "rooms_each": {"kind": "numeric", "missing": True, "made_of": ["rooms", "houses"], "per": 2.0},
}


def schema_of(columns=COLUMNS, left_out=("note",), **price):
    """Return a schema whose price is written as ``price`` says."""
    columns = {n: c | price if n == "price" else c for n, c in columns.items()}
    content = {"name": "loans", "title": "Loans", "task": "binary", "unit": "loan"}
    content |= {"registered_name": "Loans", "experiment": "loans", "columns": columns}
    return Schema.model_validate(content | {"left_out": dict.fromkeys(left_out, "unused")})


def rows_of(content, schema, where="piped"):
    return given_records(given_content(content, where), schema)


def assert_same(found, expected):
    pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)


def text_of(rows, separator=",", quoting=csv.QUOTE_MINIMAL):
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=separator, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


missing_words = st.sampled_from(["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"])
blanks = st.sampled_from(["", "", " ", "\u00a0", "\u202f "])
amounts = st.integers(0, 10**7).map(lambda cents: cents / 100)


def german(number):
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


WRITERS = {
    "": lambda number: str(number).replace(".", ","),
    ".": lambda number: f"$ {number:,.2f}",
    ",": lambda number: f"{german(number)} €",
}
"""How a price is written under each `decimal` of its column."""


@st.composite
def files(draw):
    """Return a schema, and rows of cells in the dialect of its file."""
    decimal = draw(st.sampled_from(list(WRITERS)))

    def number(write):
        return st.one_of(amounts.map(write), missing_words, st.integers(0, 999).map(str))

    town = st.one_of(
        missing_words,
        st.sampled_from(["Town 3", 'the "old" one', "a, b", "c;d", "e\u0301", "12", "-"]),
    )
    of_column = {
        "Loan_ID": st.integers(0, 99).map(lambda n: f"LP{n}"),
        "Client No.": st.integers(0, 9).map(str),
        "y": st.just("2019"),
        "m": st.integers(1, 12).map(str),
        "d": st.integers(1, 28).map(str),
        "Y/N": st.sampled_from(["N", "Y"]),
        "town": town,
        "level": st.sampled_from(["None", "low", "NA", "NULL", ""]),
        "zone": st.sampled_from(["1", "2", "2.0", "", "NA"]),
        "children": st.sampled_from(["0", "1", "2", "3+", "", "nan"]),
        "Price (€)": number(WRITERS[decimal]),
        "size": number(str),
        "rooms": st.sampled_from(["0", "7", "2,5", "NA"]),
        "houses": st.sampled_from(["0", "3", "8", ""]),
        "note": st.text("abc ", max_size=4),
    }
    row = st.fixed_dictionaries(of_column)
    rows = draw(st.lists(row, min_size=1, max_size=5))
    padded = {name for name in of_column if draw(st.booleans())}
    for one in rows:
        for name in padded:
            one[name] = draw(blanks) + one[name] + draw(blanks)
    return schema_of(decimal=decimal), rows


@settings(max_examples=120, deadline=None)
@given(
    file=files(),
    separator=st.sampled_from([",", ";", "\t"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_any_row_of_the_file_trained_on_is_predicted_as_it_was_trained_on(
    file, separator, quoting, encoding, tmp_path_factory
):
    schema, rows = file
    folder = tmp_path_factory.mktemp("file")
    content = text_of(rows, separator, quoting).encode(encoding)
    path = folder / "loans.csv"
    path.write_bytes(content)
    trained = read_table(folder, schema).table[schema.feature_names]
    parquet = folder / "rows.parquet"
    pd.DataFrame(rows).to_parquet(parquet)
    body = orjson.dumps(rows)
    forms = {
        "file": given_records(given_content(content, "x", path), schema),
        "pipe": rows_of(content, schema),
        "parquet": given_records(given_content(b"PAR1", "x", parquet), schema),
        "piped parquet": rows_of(parquet.read_bytes(), schema),
        "json": rows_of(body, schema),
        "lines": rows_of("\n".join(map(json.dumps, rows)).encode(), schema),
        "typed": trained.astype(object).where(trained.notna(), None).to_dict("records"),
    }
    for records in forms.values():
        assert_same(records_to_table(schema, records), trained)
    reader = RecordReader(schema)
    assert_same(pd.DataFrame(reader.read(body, 9).columns)[schema.feature_names], trained)
    for place, row in enumerate(rows):
        alone = pd.DataFrame(reader.read(orjson.dumps(row), 1).columns)[schema.feature_names]
        assert_same(alone, trained.iloc[[place]].reset_index(drop=True))


ROW = {
    "Loan_ID": "LP1", "Client No.": "7", "y": "2020", "m": "1", "d": "2", "Y/N": "N",
    "town": "NA", "level": "low", "zone": "2", "children": "3+", "Price (€)": "84.015,07 €",
    "size": "68,1", "rooms": "7", "houses": "2", "note": "",
}  # fmt: skip
OWN = {"town": None, "level": "low", "zone": 2.0, "children": None, "price": 84015.07,
       "size": 68.1, "rooms_each": 1.75}  # fmt: skip


def test_columns_that_are_no_features_are_named():
    schema = schema_of(decimal=",")
    ignored = RowReader(schema).ignored([ROW])
    assert ignored == {
        "Loan_ID": "id", "Client No.": "group", "y": "makes day", "m": "makes day",
        "d": "makes day", "Y/N": "target", "note": "left out",
    }  # fmt: skip
    read = RecordReader(schema).read(orjson.dumps(ROW), 1)
    assert read.ignored == tuple(ignored)
    assert orjson.loads(read.body) == OWN  # what the prediction log keeps
    assert RecordReader(schema).read(orjson.dumps(OWN), 1).ignored == ()


def test_the_columns_of_a_feature_that_is_there_are_ignored_too():
    schema = schema_of(decimal=",")
    both = ROW | {"rooms_each": "1,75"}
    assert RowReader(schema).ignored([both]).keys() >= {"rooms", "houses"}
    assert RowReader(schema).read([both]) == [OWN]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"LoanID": "x"}, "no feature is called LoanID; leave it out"),
        ({"price": "3"}, "price|Price \\(€\\) is another name of price, .* keep one"),
        ({"Towns": "x"}, r"no feature is called Towns \(did you mean 'town'\?\)"),
        ({"children": "4+"}, r"children = '4\+' must be a number"),
        ({"rooms": "many"}, "rooms_each = 'many' must be a number"),
        ({"rooms": True}, "rooms_each = [Tt]rue must be a number"),
        ({"price": "3"}, r"no feature is called Price \(€\)|another name of price"),
        ({"level": "high"}, "level = 'high' is no known code"),
    ],
)
def test_what_the_file_did_not_have_is_refused_by_name(change, said):
    schema = schema_of(decimal=",")
    with pytest.raises(DataError, match=said):
        records_to_table(schema, [ROW, ROW | change])
    with pytest.raises(Refusal) as caught:
        RecordReader(schema).read(orjson.dumps([ROW, ROW | change]), 2)
    messages = [fault["message"] for fault in caught.value.faults]
    assert pd.Series(messages).str.contains(said).any(), messages
    assert {fault["row"] for fault in caught.value.faults} == {2}


def test_records_may_have_other_names_each():
    schema = schema_of(decimal=",")
    records = [ROW, OWN, {**OWN, "Loan_ID": 3}, dict(reversed(ROW.items()))]
    table = records_to_table(schema, records)
    assert len(table.drop_duplicates()) == 1
    assert RowReader(schema).read(records) == [OWN] * 4


def test_a_feature_that_another_is_made_of_is_no_column_to_ignore():
    columns = COLUMNS | {"rooms": {"kind": "numeric"}}
    schema = schema_of(columns, decimal=",")
    assert "rooms" not in other_columns(schema)
    assert RowReader(schema).read([ROW]) == [OWN | {"rooms": 7.0}]


def test_numbers_too_large_to_divide_are_refused():
    with pytest.raises(DataError, match=r"rooms_each = 1000.* must be finite"):
        records_to_table(schema_of(decimal=","), [ROW | {"rooms": 10**400, "houses": 1}])


@pytest.mark.parametrize("suffix", [".tsv", ".txt", ""])
def test_a_table_may_have_any_name_but_parquets(tmp_path, suffix):
    schema = schema_of(decimal=",")
    path = tmp_path / f"rows{suffix}"
    content = text_of([ROW], "\t").encode()
    path.write_bytes(content)
    records = given_records(given_content(content, str(path), path), schema)
    assert RowReader(schema).read(records) == [OWN]


def test_a_column_twice_is_refused_but_where_the_schema_knows_both():
    content = b"a;town;town\n1;x;y\n"
    with pytest.raises(DataError, match="piped has the column 'town' twice"):
        rows_of(content, schema_of())
    records = rows_of(content, schema_of(left_out=["town (2)"]))
    assert records == [{"a": "1", "town": "x", "town (2)": "y"}]
    columns = COLUMNS | {"town_2": {"kind": "categorical", "aliases": ["town (2)"]}}
    assert RowReader(schema_of(columns)).read(rows_of(content, schema_of(columns))) == [
        {"a": "1", "town": "x", "town_2": "y"}
    ]


def test_a_header_alone_is_no_table():
    with pytest.raises(DataError, match="piped is neither JSON nor a table with a header line"):
        rows_of(b"town;price\n", schema_of())


PLACES = {
    "town": {"kind": "target", "codes": {"no": "", "oui": ""}},
    "préfecture": {"kind": "categorical", "codes": {"Orléans": "", "Nîmes": ""}, "missing": True},
    "côté": {"kind": "categorical", "aliases": ["Côté de l’île"]},
    "été": {"kind": "numeric", "aliases": ["Été (°C)"], "made_of": ["éveil"]},
    "clé": {"kind": "id"},
}
PLACE = {"préfecture": "Nîmes", "Côté de l’île": "à Évian", "éveil": "3", "clé": "ä1", "übrig": "x"}


def decomposed(record):
    """Return a record with letters and accents apart, as macOS and some browsers write them."""
    apart = partial(unicodedata.normalize, "NFD")
    assert apart("é") != "é"
    return {apart(name): apart(cell) for name, cell in record.items()}


def test_letters_that_are_composed_otherwise_are_the_same_in_every_form(tmp_path):
    schema = schema_of(PLACES, left_out=("übrig",))
    expected = pd.DataFrame({"préfecture": ["Nîmes"], "côté": ["à Évian"], "été": [3.0]})
    for row in (PLACE, decomposed(PLACE)):
        pd.DataFrame([row]).to_parquet(tmp_path / "rows.parquet")
        lines = json.dumps(row, ensure_ascii=False)
        for content in (text_of([row]), json.dumps([row]), f"{lines}\n{lines}"):
            table = records_to_table(schema, rows_of(content.encode(), schema))
            assert_same(table.head(1), expected)
        parquet = rows_of((tmp_path / "rows.parquet").read_bytes(), schema)
        assert_same(records_to_table(schema, parquet), expected)
        read = RecordReader(schema).read(json.dumps(row).encode(), 1)
        assert {name: column[0] for name, column in read.columns.items()} == {
            "préfecture": "Nîmes", "côté": "à Évian", "été": 3.0
        }  # fmt: skip
        assert set(read.ignored) == {name for name in row if clean_name(name) in ("clé", "übrig")}


def test_a_table_of_parquet_is_read_with_composed_letters_too(tmp_path):
    schema = schema_of(PLACES, left_out=("übrig",))
    for number, row in enumerate((PLACE, decomposed(PLACE))):
        folder = tmp_path / str(number)
        folder.mkdir()
        pd.DataFrame([row | {"town": "oui"}]).to_parquet(folder / "rows.parquet")
        table = read_table(folder, schema).table
        assert (table["préfecture"][0], table["côté"][0], table["été"][0]) == (
            "Nîmes",
            "à Évian",
            3,
        )


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", categories=["L", "M", "Nd"]), min_size=1))
def test_any_text_of_an_open_category_means_the_same_in_both_forms(text):
    schema = schema_of({"t": {"kind": "target"}, "name": {"kind": "categorical", "missing": True}})
    found = [
        RecordReader(schema).read(json.dumps({"name": form}).encode(), 1).columns["name"][0]
        for form in (unicodedata.normalize(way, text) for way in ("NFC", "NFD"))
    ]
    assert found[0] == found[1]
    table = records_to_table(schema, [{"name": unicodedata.normalize("NFD", text)}])
    assert table["name"].to_list()[:1] == found[:1] or found[0] is None


def test_one_feature_under_both_forms_of_its_name_is_refused_with_the_fix():
    schema = schema_of(PLACES, left_out=("übrig",))
    row = PLACE | {"préfecture": "Nîmes", unicodedata.normalize("NFD", "préfecture"): "Nîmes"}
    with pytest.raises(DataError, match=r"is another name of préfecture, .* keep one"):
        records_to_table(schema, [row])
    with pytest.raises(Refusal, match=r"is another name of préfecture, .* keep one"):
        RecordReader(schema).read(json.dumps(row).encode(), 1)


def test_names_have_no_blanks_around_them_as_in_the_header_of_a_file():
    schema = schema_of(decimal=",")
    spaced = {f" {name}\t": cell for name, cell in ROW.items()}
    assert RowReader(schema).read([spaced]) == [OWN]
    assert set(RowReader(schema).ignored([spaced])) == {
        f" {name}\t" for name in RowReader(schema).ignored([ROW])
    }


def test_a_schema_is_read_with_composed_letters(tmp_path):
    content = {"name": "p", "title": "p", "task": "binary", "unit": "p", "registered_name": "P"}
    content |= {"experiment": "p", "columns": PLACES}
    path = tmp_path / "schema.yaml"
    digests = set()
    for way in ("NFC", "NFD"):
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        path.write_text(unicodedata.normalize(way, text))
        digests.add(read_schema(path).digest)
        assert list(read_schema(path).columns["préfecture"].codes) == ["Orléans", "Nîmes"]
    assert len(digests) == 1


def test_columns_that_a_schema_without_left_out_does_not_know_are_refused_with_the_fix():
    content = schema_of().model_dump(exclude_defaults=True) | {"left_out": None}
    schema = Schema.model_validate(content)
    own = {name: value for name, value in OWN.items() if name in schema.feature_names}
    with pytest.raises(DataError, match="no feature is called remarks; leave it out"):
        records_to_table(schema, [own | {"remarks": "late"}])
    with pytest.raises(Refusal, match="no feature is called remarks; leave it out"):
        RecordReader(schema).read(orjson.dumps(own | {"remarks": "late"}), 1)


def test_a_label_means_the_same_however_its_letters_are_composed():
    target = {"kind": "target", "codes": {"hiver": "", "été": ""}}
    schema = schema_of({"season": target, "x": {"kind": "numeric"}})
    apart = unicodedata.normalize("NFD", "été")
    assert read_label_texts(schema, [apart, " été", "hiver"]) == {
        apart: "été", " été": "été", "hiver": "hiver"
    }  # fmt: skip


TOWN = {"kind": "categorical", "codes": {"école": "", "Łódź": ""}, "aliases": ["où"]}
APART = "e\u0301cole"
"""A code whose é is written as two signs, as macOS does."""


@pytest.mark.parametrize("name", ["où", "ou\u0300", " où\u00a0", "\ufeffoù", "place"])
def test_letters_of_two_signs_are_composed_wherever_a_record_comes_from(name, tmp_path):
    schema = schema_of({"place": TOWN, "y": {"kind": "target", "codes": {0: "", 1: ""}}})
    parquet = tmp_path / "rows.parquet"
    pd.DataFrame([{name: APART}]).to_parquet(parquet)
    csv_rows = rows_of(f"{name},y\n{APART},1\n".encode(), schema)
    for records in ([{name: APART}], csv_rows, table_records(parquet, schema)):
        assert records_to_table(schema, records)["place"].tolist() == ["école"]
    read = RecordReader(schema).read(orjson.dumps([{name: APART}]), 1)
    assert read.columns["place"].tolist() == ["école"]
    assert orjson.loads(read.body) == [{"place": "école"}]


def test_a_text_of_two_signs_a_letter_is_no_read_value():
    open_text = schema_of({"place": {"kind": "categorical"}, "y": COLUMNS["y_n"]})
    read = RecordReader(open_text).read(orjson.dumps({"place": APART}), 1)
    assert read.columns["place"].tolist() == ["école"]


@pytest.mark.parametrize(
    ("columns", "rest"),
    [
        (["où", "ou\u0300"], {}),
        (["où", "place"], {}),
        (["où", "lieu"], {"aliases": ["où", "lieu"]}),
    ],
)
def test_two_names_of_one_column_are_refused_in_every_form(columns, rest, tmp_path):
    target = {"kind": "target", "codes": {0: "", 1: ""}}
    schema = schema_of({"place": TOWN | rest, "y": target})
    record = dict.fromkeys(columns, "école") | {"y": "1"}
    (tmp_path / "t.csv").write_text(text_of([record]))
    with pytest.raises(DataError, match=r"two names of one column|column 'où' twice"):
        read_table(tmp_path, schema)
    pd.DataFrame([record]).to_parquet(tmp_path / "rows.parquet")
    for read in (
        lambda: [record],
        lambda: table_records(tmp_path / "t.csv", schema),
        lambda: table_records(tmp_path / "rows.parquet", schema),
    ):
        with pytest.raises(DataError, match=r"is another name of place|column 'où' twice"):
            records_to_table(schema, read())


@given(
    parts=st.lists(st.none() | st.integers(-3, 3) | st.floats(-9, 9), min_size=1, max_size=2),
    per=st.sampled_from([1.0, 2.0, 1000.0]),
)
def test_a_feature_is_made_of_others_as_a_table_makes_it(parts, per, tmp_path_factory):
    names = ["rooms", "houses"][: len(parts)]
    made = {"kind": "numeric", "missing": True, "made_of": names, "per": per}
    schema = schema_of({"each": made, "y": {"kind": "target", "codes": {0: "", 1: ""}}})
    folder = tmp_path_factory.mktemp("made")
    record = dict(zip(names, parts, strict=True))
    written = {name: "" if part is None else repr(part) for name, part in record.items()}
    (folder / "t.csv").write_text(text_of([written | {"y": "1"}]))
    trained = read_table(folder, schema).table[["each"]]
    if trained["each"].abs().max() == float("inf"):
        return  # a table may hold it, a record may not
    assert_same(records_to_table(schema, [record]), trained)
    assert_same(records_to_table(schema, [written]), trained)


@pytest.mark.parametrize(
    ("codes", "cells"),
    [
        ({0: "", 1: ""}, {"true": 1.0, "False": 0.0, "TRUE": 1.0, "1": 1.0, " true ": 1.0}),
        ({"TRUE": "", "FALSE": ""}, {"True": "TRUE", "false": "FALSE", "TRUE": "TRUE"}),
        ({"false": "", "true": "", "unknown": ""}, {"True": "true", "unknown": "unknown"}),
    ],
)
def test_true_and_false_mean_a_columns_codes_in_any_capitals(codes, cells, tmp_path):
    target = {"kind": "target", "codes": {"a": "", "b": ""}}
    schema = schema_of({"own": {"kind": "categorical", "codes": codes}, "y": target})
    rows = [{"own": cell, "y": "a"} for cell in cells]
    (tmp_path / "t.csv").write_text(text_of(rows))
    assert read_table(tmp_path, schema).table["own"].tolist() == list(cells.values())
    assert records_to_table(schema, rows)["own"].tolist() == list(cells.values())
    read = RecordReader(schema).read(orjson.dumps(rows), 9)
    assert read.columns["own"].tolist() == list(cells.values())


@pytest.mark.parametrize("codes", [{1: "", 2: ""}, {0: "", 1: "", 2: ""}, {"True": "", "true": ""}])
def test_other_columns_have_no_true_and_false(codes):
    target = {"kind": "target", "codes": {"a": "", "b": ""}}
    schema = schema_of({"own": {"kind": "categorical", "codes": codes}, "y": target})
    with pytest.raises(DataError, match="own = 'TRUE'"):
        records_to_table(schema, [{"own": "TRUE"}])


def test_a_table_of_booleans_is_predicted_from_every_form_it_is_written_in(tmp_path):
    frame = pd.DataFrame({"own": [True, False, True], "y": [True, False, False]})
    frame.to_parquet(tmp_path / "t.parquet")
    codes = {0: "", 1: ""}
    schema = schema_of({"own": {"kind": "categorical", "codes": codes},
                        "y": {"kind": "target", "codes": codes}})  # fmt: skip
    trained = read_table(tmp_path, schema).table[["own"]]
    frame.to_csv(tmp_path / "rows.csv", index=False)
    for records in (
        table_records(tmp_path / "t.parquet", schema),
        table_records(tmp_path / "rows.csv", schema),
        rows_of(frame.to_json(orient="records", lines=True).encode(), schema),
    ):
        assert_same(records_to_table(schema, records), trained)


@pytest.mark.parametrize("name", ["Unnamed: 0", "__index_level_0__"])
def test_the_row_numbers_that_pandas_writes_are_ignored_and_named(name):
    record = {name: 7, **ROW}
    schema = schema_of(decimal=",")
    assert_same(records_to_table(schema, [record]), records_to_table(schema, [ROW]))
    assert RowReader(schema).ignored([record])[name] == "row numbers"
    used = schema_of({"n": {"kind": "numeric", "aliases": [name]}, "y": COLUMNS["y_n"]})
    assert records_to_table(used, [{name: 7}]).to_dict("records") == [{"n": 7.0}]
