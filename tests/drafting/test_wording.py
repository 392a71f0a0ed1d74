"""Every sentence of a draft is short, and its number has the right verb."""

import re

import numpy as np
import pytest

from lockstep.data.tables import read_any
from lockstep.drafting.copies import Alike
from lockstep.drafting.draft import draft
from lockstep.drafting.wording import at_least, both, rows_do, share, words_question

ROWS = 600
MOST_WORDS = 25
CLIPPED = re.compile(r"is told|are told|parted|looked for|it affirms|\b1 (?:rows|values|classes)\b")


def random(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def odd_table():
    """Return columns that make a draft ask about nearly everything."""
    thing = random(1).permutation(np.repeat(np.arange(60), 10))
    ill = random(2).random(ROWS) < 0.3
    age = random(3).integers(18, 80, ROWS).astype(object)
    age[:20], age[20:23] = 999, "unknown"
    return {
        "Unnamed: 0": np.arange(ROWS),
        "patient_id": thing * 7 + 3,
        "born": (random(4).integers(1930, 2000, 60))[thing],
        "age": age,
        "days": np.arange(ROWS) % 20,
        "town": np.where(random(5).random(ROWS) < 0.5, "Lyon", np.where(ill, "lyon", "Nice")),
        "class": random(6).integers(1, 5, ROWS),
        "day": [f"{1 + i % 12:02d}/{1 + i * 5 % 12:02d}/2015" for i in range(ROWS)],
        "refund": np.where(ill, 10, 0) + random(7).integers(0, 5, ROWS),
        "y": np.where(ill, "left", "stayed"),
    }


def sentences(text):
    """Return a text's sentences, a semicolon the end of one."""
    return [s for s in re.split(r"(?<=[.;])\s", text) if s]


def texts_of(folder, columns, task=""):
    lines = [
        ",".join(columns),
        *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True)),
    ]
    path = folder / "t.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = draft(read_any(path), "toy", "y", task)
    return [*found.decide, found.why_split, *found.left_out.values()]


def amounts():
    x, owed = random(1).normal(50, 9, ROWS).round(2), random(2).integers(0, 60, ROWS)
    year = 1985 + np.arange(ROWS) * 7 % 30
    paid = (owed * 1.2 + 5).round(1)
    return {"a": x, "paid": paid, "year": year, "rooms": random(3).integers(0, 3, ROWS), "y": owed}


@pytest.mark.parametrize("columns", [odd_table(), amounts()], ids=["classes", "amounts"])
def test_sentences_are_short_and_plain(tmp_path, columns):
    texts = texts_of(tmp_path, columns)
    assert len(texts) > 3
    for text in texts:
        assert not CLIPPED.search(text), text
        assert all(len(s.split()) <= MOST_WORDS for s in sentences(text)), text


@pytest.mark.parametrize("copies", [1, 2])
def test_one_copy_is_one_row(tmp_path, copies):
    columns = {n: random(i).normal(size=ROWS).round(4) for i, n in enumerate("abcy")}
    columns = {n: [*values, *values[:copies]] for n, values in columns.items()}
    said = "1 row equals an earlier row" if copies == 1 else "2 rows equal an earlier row"
    assert any(text.startswith(said) for text in texts_of(tmp_path, columns))


def test_a_share_that_is_neither_none_nor_all_is_not_rounded_to_it():
    assert [share(v) for v in (0, 4 / 8237, 0.0004, 0.25, 0.9996, 1)] == [
        "0.0%", "under 0.1%", "under 0.1%", "25.0%", "over 99.9%", "100.0%",
    ]  # fmt: skip
    assert at_least(0.99996) == "95% interval: at least 99.9%"


def test_lists_and_verbs():
    assert [both("a"), both("ab"), both("abc")] == ["a", "a and b", "a, b and c"]
    assert [rows_do(n, "has", "have") for n in (1, 2)] == ["1 row has", "2 rows have"]
    assert words_question({"?": 1}, "numbers").startswith("'?' (1 row) among the numbers is read")
    assert "(2 rows) among the labels are read" in words_question({"-": 1, "x": 2}, "labels")


def test_equal_rows_that_may_be_in_both_parts_are_no_silence():
    text = Alike(200, 90, 4, 30, 60).question("label")
    assert "90 of 200 rows (45.0%)" in text
    assert "4 (2.0%) equal a row with another label" in text
    assert "the metrics may be too good" in text
    assert "30 sets, the largest with 60 rows" in text
