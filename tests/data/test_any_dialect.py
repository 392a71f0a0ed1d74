"""A table in any dialect is drafted, and each of its rows means the same in every form."""

import csv
import io
import json
import random
import unicodedata

import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.record_text import given as given_content
from lockstep.data.records import given_records, records_to_table, table_records
from lockstep.data.tables import read_any, typed
from lockstep.data.values import is_label, read_label_texts
from lockstep.drafting.draft import draft
from lockstep.drafting.draft_text import schema_text
from lockstep.problems.schema import read_schema
from lockstep.serving.request_parsing import RecordReader

ROWS = 120


def grouped(value, thousand, point):
    return f"{value:,.2f}".replace(",", "\0").replace(".", point).replace("\0", thousand)


NUMBERS = {
    "plain": lambda r: f"{r.gauss(50, 20):.3f}",
    "whole": lambda r: str(r.randint(0, 300)),
    "decimal comma": lambda r: f"{r.gauss(50, 20):.2f}".replace(".", ","),
    "three decimals after a comma": lambda r: f"{r.uniform(0, 900):.3f}".replace(".", ","),
    "German thousands": lambda r: grouped(r.uniform(-5000, 900000), ".", ","),
    "English thousands": lambda r: grouped(r.uniform(-5000, 900000), ",", "."),
    "French thousands": lambda r: grouped(r.uniform(0, 900000), "\u202f", ","),
    "Swiss thousands": lambda r: grouped(r.uniform(0, 900000), "'", "."),
    "euros": lambda r: f"{r.uniform(1, 900):.2f} €".replace(".", ","),
    "dollars": lambda r: f"${r.uniform(1, 900):.2f}",
    "percent": lambda r: f"{r.uniform(0, 100):.1f}%",
    "exponent": lambda r: f"{10 ** r.uniform(-8, 12):.4E}",
    "plus": lambda r: f"{r.gauss(0, 9):+.2f}",
    "no leading zero": lambda r: f"{r.random():.3f}"[1:],
    "too long": lambda r: str(2**53 + r.randint(0, 10**6)),
}
LEVELS = [
    ["Paris", "Łódź", "Köln, West", "O'Neil"],
    ['say "hi"', "a;b", "x|y", "tab\there", "two\nlines"],
    ["e\u0301cole", "cafe\u0301"],
    ["TRUE", "FALSE"],
    ["0", "1"],
    ["1", "2", "3"],
    ["01", "02", "10"],
    ["1.0", "2.0"],
    ["None", "low", "high"],
    ["red", "Red", "RED"],
    ["18-24", "25-34", "45+"],
    [f"{n:05d}" for n in range(1000, 60000, 997)],
]
MISSING = ["", "NA", "N/A", "#N/A", "null", "None", "nan", "-", ".", "?", "NULL", "unknown"]
LABELS = {
    "words": lambda x, r: "Yes" if x > 0 else "No",
    "codes": lambda x, r: "1" if x > 0 else "0",
    "booleans": lambda x, r: "True" if x > 0 else "False",
    "classes": lambda x, r: "low" if x < -0.5 else "high" if x > 0.5 else "mid",
    "amounts": lambda x, r: grouped(50000 + 1000 * x + r.random(), ".", ","),
}


@st.composite
def tables(draw):
    """Return the columns of a table as texts."""
    r = random.Random(draw(st.integers(0, 2**32)))
    hidden = [r.gauss(0, 1) for _ in range(ROWS)]
    columns = {"signal": [f"{x + r.gauss(0, 1):.2f}" for x in hidden]}
    for name in "abc"[: draw(st.integers(1, 3))]:
        levels = draw(st.sampled_from([*LEVELS, *NUMBERS]))
        write = NUMBERS[levels] if isinstance(levels, str) else lambda r, own=levels: r.choice(own)
        word, share = draw(st.sampled_from(MISSING)), draw(st.sampled_from([0, 0.03, 0.15]))
        columns[name] = [word if r.random() < share else write(r) for _ in range(ROWS)]
    label = LABELS[draw(st.sampled_from(sorted(LABELS)))]
    return columns | {"target": [label(x, r) for x in hidden]}


dialects = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(",;\t|"),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
        "lineterminator": st.sampled_from(["\n", "\r\n"]),
    }
)


def written(columns, **dialect):
    file = io.StringIO(newline="")
    writer = csv.writer(file, **dialect)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return file.getvalue()


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(
    columns=tables(),
    dialect=dialects,
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_each_row_of_any_table_means_what_training_read(
    columns, dialect, encoding, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("table")
    path, other, parquet = folder / "t.csv", folder / "other.csv", folder / "t.parquet"
    path.write_bytes(written(columns, **dialect).encode(encoding))
    text = read_any(path)
    (folder / "schema.yaml").write_text(schema_text(draft(text, "toy", "target")))
    schema = read_schema(folder / "schema.yaml")
    table = typed(text, schema)
    trained = table[schema.feature_names]

    other.write_text(written(columns), newline="")
    frame = pd.DataFrame(columns)
    frame.to_parquet(parquet)
    rows = frame.to_dict("records")
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    forms = {
        "own": table_records(path, schema),
        "comma": table_records(other, schema),
        "parquet": table_records(parquet, schema),
        "lines": given_records(given_content(b"\xef\xbb\xbf" + lines, "x"), schema),
    }
    found = {form: records_to_table(schema, records) for form, records in forms.items()}
    answered = RecordReader(schema).read(orjson.dumps(rows), ROWS).columns
    found["request"] = pd.DataFrame(answered)[schema.feature_names]
    for form in found.values():
        pd.testing.assert_frame_equal(form, trained, check_exact=True, check_dtype=False)

    labels = read_label_texts(schema, set(columns["target"]))
    sent = [labels[unicodedata.normalize("NFC", label)] for label in columns["target"]]
    assert sent == table["target"].tolist()
    assert all(is_label(schema, label) for label in sent)
