"""A number that stands for missing is asked with its rows, and stops the draft in a target."""

import numpy as np
import pytest

from lockstep.data.tables import read_any
from lockstep.drafting.draft import draft
from lockstep.errors import DataError

ROWS = 400


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def drafted(tmp_path, values, wanted=None, task="", separator=","):
    y = generator(7).normal(5, 2, ROWS).round(3) if wanted is None else wanted
    x = generator(8).normal(5, 2, ROWS).round(3)
    lines = [separator.join(map(str, row)) for row in zip(x, values, y, strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join([separator.join("xvy"), *lines]) + "\n", encoding="utf-8")
    return draft(read_any(path), "toy", "y", task)


def asked(found):
    return [line for line in found.decide if "missing, declare absent" in line]


def with_value(values, *stand_ins, rows=30):
    texts = [f"{v:g}" for v in values]
    for place in range(rows):
        texts[place * 7] = stand_ins[place % len(stand_ins)]
    return texts


AGES = generator(1).integers(18, 80, ROWS)
PRESSURE = generator(2).normal(75, 12, ROWS).round()
SHARES = generator(3).uniform(0, 1, ROWS).round(3)


@pytest.mark.parametrize(
    ("values", "stand_ins"),
    [
        (AGES, ["999"]), (AGES, ["-999"]), (AGES, ["-1"]), (AGES, ["9999", "9998"]),
        (PRESSURE, ["0"]), (SHARES, ["-1"]), (SHARES, ["-9"]), (SHARES, ["999.0"]),
        (SHARES * 1000 + 3, ["100000"]),
    ],
)  # fmt: skip
def test_a_frequent_far_off_value_of_a_feature_is_asked(tmp_path, values, stand_ins):
    found = drafted(tmp_path, with_value(values, *stand_ins))
    (line,) = asked(found)
    for text in stand_ins:
        assert f"{text} ({30 // len(stand_ins)} rows)" in line
        assert f'"{text}"' in line.split("absent: ")[1]


def test_a_decimal_comma_is_no_obstacle(tmp_path):
    texts = [t.replace(".", ",") for t in with_value(SHARES, "-99.5")]
    (line,) = asked(drafted(tmp_path, texts, separator=";"))
    assert "-99,5 (30 rows)" in line


@pytest.mark.parametrize(
    "values",
    [
        AGES, SHARES, [f"{v:g}" for v in generator(4).poisson(2, ROWS)],
        [f"{v:g}" for v in np.where(AGES < 50, 0, np.exp(generator(5).normal(2, 1.5, ROWS)))],
        with_value(AGES, "500", rows=1), [i % 5 for i in range(ROWS)],
        generator(6).standard_cauchy(ROWS).round(2), [1000 * (i % 40) for i in range(ROWS)],
    ],
)  # fmt: skip
def test_outliers_counts_and_frequent_zeros_are_no_stand_ins(tmp_path, values):
    assert asked(drafted(tmp_path, values)) == []


@pytest.mark.parametrize(("word", "amounts"), [("-999", PRESSURE), ("0", PRESSURE), ("-1", SHARES)])
def test_in_a_target_it_stops_the_draft_unless_the_task_is_given(tmp_path, word, amounts):
    wanted = with_value(amounts, word)
    with pytest.raises(DataError, match=rf"'y' is {word} \(30 rows\), far.*TASK=regression"):
        drafted(tmp_path, AGES, wanted)
    assert word in " ".join(asked(drafted(tmp_path, AGES, wanted, "regression")))


@pytest.mark.parametrize(("codes", "third"), [("01", "9"), ("12", "99"), ("01", "-1")])
def test_a_third_code_that_may_mean_missing_stops_the_draft(tmp_path, codes, third):
    ages = generator(9).permutation(AGES)
    wanted = [third if i % 10 == 0 else codes[int(v > 45)] for i, v in enumerate(ages)]
    with pytest.raises(DataError, match=rf"is {third} in 40 rows, beside .*TASK=multiclass"):
        drafted(tmp_path, AGES, wanted)
    assert len(drafted(tmp_path, AGES, wanted, "multiclass").target.codes) == 3


def test_three_codes_in_a_row_are_classes(tmp_path):
    wanted = [i % 3 for i in generator(9).permutation(ROWS)]
    assert drafted(tmp_path, AGES, wanted).task == "multiclass"
