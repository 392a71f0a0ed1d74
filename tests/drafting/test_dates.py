"""Dates in the ways in which people write them; each is read by the format that the draft gives."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.dates import parse_dates
from lockstep.data.tables import read_any, read_table
from lockstep.drafting.draft import draft
from lockstep.drafting.draft_text import schema_text
from lockstep.drafting.profile import profile_column
from lockstep.problems.schema import read_schema

TIMES = pd.date_range("2015-01-05 10:00", periods=300, freq="31h")
DAYS = (
    "%Y-%m-%d", "%Y%m%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%y", "%y-%m-%d", "%m/%d/%y",
    "%a, %d %b %Y", "%A, %B %d, %Y", "%b %d, %Y", "%b. %d, %Y", "%d. %B %Y", "%d %B %Y", "%d%b%Y",
    "%d-%b-%y", "%Y/%m/%d", "%Y_%m_%d", "%d_%m_%Y", "%Y %m %d", "%Y年%m月%d日", "%Y. %m. %d",
)  # fmt: skip
MONTHS = ("%b-%Y", "%b-%y", "%Y-%m", "%m/%Y", "%B %Y", "%Y%m", "%b %Y", "%Y/%m", "%m.%Y", "%YM%m")
MOMENTS = (
    "%Y%m%dT%H%M%S", "%Y%m%d%H%M%S", "%Y-%m-%d %H:%M:%S UTC", "%Y-%m-%dT%H:%M:%SZ",
    "%a, %d %b %Y %H:%M:%S GMT", "%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p",
    "%d/%b/%Y:%H:%M:%S +0000", "%a %b %d %H:%M:%S %Y", "%Y-%m-%d %H:%M:%S.%f", "%m/%d/%Y, %H:%M",
    "%H:%M %d.%m.%Y", "%H:%M:%S %d/%m/%Y", "%Y%m%d %H:%M", "%Y%m%d-%H%M%S", "%Y-%m-%dT%H%M%SZ",
)  # fmt: skip


def found_in(texts, name="c"):
    return profile_column(name, pa.array(texts).dictionary_encode()).dates


@pytest.mark.parametrize(
    ("way", "truth"),
    [
        *((way, "D") for way in DAYS),
        *((way, "M") for way in MONTHS),
        *((way, "min") for way in MOMENTS),
    ],
)
def test_a_way_of_writing_dates_is_found_and_read_right(way, truth):
    texts = list(TIMES.strftime(way))
    found = found_in(texts)
    read = parse_dates(pd.Series(texts, dtype="str"), found.format)
    right = TIMES.to_period("M").to_timestamp() if truth == "M" else TIMES.floor(truth)
    assert (read.dt.floor("min").to_numpy() == right.to_numpy()).all()
    assert (found.first, found.others) == (str(right[0].date()), 0)


@pytest.mark.parametrize(
    ("unit", "format"),
    [("s", "epoch_s"), ("ms", "epoch_ms"), ("us", "epoch_us"), ("ns", "epoch_ns")],
)
def test_seconds_since_1970_are_found_by_their_order_or_name(unit, format):
    counted = [str(v) for v in TIMES.as_unit(unit).astype("int64")]
    assert found_in(counted).format == format
    mixed = list(np.random.Generator(np.random.PCG64(0)).permutation(counted))
    assert found_in(mixed, "amount") is None
    assert found_in(mixed, "created_at").format == format
    assert found_in(counted, "auctionid") is None
    assert parse_dates(pd.Series(counted, dtype="str"), format).iloc[0] == TIMES[0]


@pytest.mark.parametrize("zone", ["+01:00", "+0100"])
def test_zones_are_read_to_utc(zone):
    texts = [*TIMES.strftime(f"%Y-%m-%d %H:%M:%S{zone}")]
    found = found_in(texts)
    assert parse_dates(pd.Series(texts, dtype="str"), found.format).iloc[0] == pd.Timestamp(
        "2015-01-05 09:00"
    )


@pytest.mark.parametrize(
    "texts",
    [
        [f"{i / 7:.4f}" for i in range(300)],
        [f"{i}-{i + 5}" for i in range(300)],
        [f"kind {i}" for i in range(300)],
        [f"{i % 12}.{i % 30}" for i in range(300)],
        [f"192.168.{i}.1" for i in range(250)],
        [str(20_000_000 + i * 37) for i in range(300)],
        [str(100_000 + i * 37) for i in range(300)],
        [f"+1 555-0{i:03d}" for i in range(300)],
        [f"{1 + i / 27.3:.4f}" for i in range(300)],
        [f"T{i % 4 + 1} {i}" for i in range(300)],
        [str(42_000 + i * 7) for i in range(300)],
        [f"{i % 24}:{i % 60:02d}" for i in range(300)],
    ],
)
def test_what_only_looks_like_dates_is_none(texts):
    assert found_in(texts) is None


QUARTERS = TIMES.to_period("Q").to_timestamp()


@pytest.mark.parametrize(
    "way",
    ["{y}Q{q}", "{y}-Q{q}", "Q{q} {y}", "Q{q}/{s}", "{q}Q{s}", "{q}T {y}", "T{q}-{y}",
     "{y} Qtr {q}", "{q}er trimestre {y}", "{q}. Quartal {y}"],
)  # fmt: skip
def test_quarters_are_found_and_read_as_their_first_day(way):
    texts = [way.format(y=t.year, s=f"{t.year % 100:02d}", q=t.quarter) for t in TIMES]
    found = found_in(texts)
    assert (found.format, found.unit, found.first) == ("quarter", "quarters", "2015-01-01")
    read = parse_dates(pd.Series(texts, dtype="str"), "quarter")
    assert (read.to_numpy() == QUARTERS.to_numpy()).all()


@pytest.mark.parametrize("way", ["{0}-W{1:02d}", "{0}W{1:02d}", "W{1} {0}", "KW {1}/{0}"])
def test_weeks_are_found_and_read_as_their_monday(way):
    texts = [way.format(*t.isocalendar()[:2]) for t in TIMES]
    found = found_in(texts)
    assert (found.format, found.unit, found.others) == ("week", "weeks", 0)
    read = parse_dates(pd.Series(texts, dtype="str"), "week")
    mondays = TIMES.normalize() - pd.to_timedelta(TIMES.day_of_week, unit="D")
    assert (read.to_numpy() == mondays.to_numpy()).all()


def test_what_is_no_week_or_quarter_is_no_date():
    for format, texts in (("week", ["2015-W54", "W1", "x"]), ("quarter", ["2015Q5", "Q1", "x"])):
        assert parse_dates(pd.Series(texts, dtype="str"), format).isna().all()


LANGUAGES = {
    "en": "January February March April May June July August Sept October November December",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "fr short": "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre "
    "diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre "
    "dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro "
    "dezembro",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}


@pytest.mark.parametrize("way", ["{d} {m} {y}", "{d}. {m} {y}", "{m} {y}", "{d} de {m} de {y}"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_month_words_of_other_languages_are_read(language, way):
    words = LANGUAGES[language].split()
    texts = [way.format(d=t.day, m=words[t.month - 1], y=t.year) for t in TIMES]
    found = found_in(texts)
    assert found.others == 0
    right = TIMES.normalize() if "{d}" in way else TIMES.to_period("M").to_timestamp()
    read = parse_dates(pd.Series(texts, dtype="str"), found.format)
    assert (read.to_numpy() == right.to_numpy()).all()


def test_ordinals_and_short_months_beside_whole_ones_are_read():
    texts = [f"{t.strftime('%B')} {t.day}{'st' if t.day == 1 else 'th'}, {t.year}" for t in TIMES]
    assert found_in(texts).others == 0
    mixed = [f"{t.day} {'Sept' if t.month == 9 else t.strftime('%b')} {t.year}" for t in TIMES]
    assert found_in(mixed).others == 0


@pytest.mark.parametrize("decimals", [0, 5])
def test_days_of_a_spreadsheet_are_found_by_the_name(decimals):
    days = (TIMES - pd.Timestamp("1899-12-30")) / pd.Timedelta("1D")
    texts = [f"{v:.{decimals}f}" if decimals else str(int(v)) for v in days]
    found = found_in(texts, "order_date")
    assert (found.format, found.first) == ("excel_days", "2015-01-05")
    assert found_in(texts, "amount") is None
    assert found_in(texts, "updated_rows") is None


def test_a_frequent_date_far_from_the_others_is_shown_with_its_rows():
    texts = [
        "9999-12-31" if i % 20 == 3 else day for i, day in enumerate(TIMES.strftime("%Y-%m-%d"))
    ]
    assert found_in(texts).far.startswith("'9999-12-31' (15 rows) is far from the other dates")
    assert found_in(list(TIMES.strftime("%Y-%m-%d"))).far == ""


def test_a_second_date_is_asked_with_the_one_that_splits(tmp_path):
    days = {name: (TIMES + pd.Timedelta(days=d)).strftime("%Y-%m-%d") for name, d in
            (("ordered", 0), ("delivered", 5), ("birth_date", -9000))}  # fmt: skip
    found = draft(write(tmp_path, days | {"x": noise(1), "y": noise(2)}), "toy", "y")
    assert found.why_split.startswith("the newest rows by 'ordered'")
    (asked,) = [w for w in found.decide if w.startswith("delivered: ")]
    assert "move 'ordered' to left_out" in asked
    assert "the time at which a row arose" in found.left_out["birth_date"]


def test_day_and_month_that_can_be_exchanged_are_shown_both_ways():
    found = found_in([f"{i % 12 + 1:02d}/{i * 5 % 12 + 1:02d}/2015" for i in range(300)])
    assert "is read as 2015-0" in found.both_ways
    assert ". It could be 2015-0" in found.both_ways


def write(folder, columns):
    pd.DataFrame(columns).to_csv(folder / "t.csv", index=False)
    return read_any(folder / "t.csv")


def noise(seed, rows=300):
    return np.random.Generator(np.random.PCG64(seed)).normal(size=rows).round(3)


@settings(max_examples=25, deadline=None)
@given(way=st.sampled_from([*DAYS, *MONTHS, *MOMENTS]), gone=st.integers(0, 10))
def test_the_schema_reads_the_dates_that_the_draft_found(way, gone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("t")
    texts = [*TIMES.strftime(way)]
    texts[:gone] = [""] * gone
    found = draft(write(folder, {"when": texts, "x": noise(1), "y": noise(2)}), "toy", "y")
    assert found.split == "time"
    words = f"{gone} rows have no date" if gone > 1 else "1 row has no date"
    assert any(words in w for w in found.decide) == (gone > 0)
    (folder / "schema.yaml").write_text(schema_text(found))
    (data := folder / "data").mkdir()
    (folder / "t.csv").rename(data / "t.csv")
    table = read_table(data, read_schema(folder / "schema.yaml")).table
    assert table["when"].isna().sum() == gone
    assert abs(table["when"].max() - TIMES[-1]) < pd.Timedelta(days=31)


def test_many_missing_dates_cost_the_split_by_time_and_are_told(tmp_path):
    texts = [*TIMES.strftime("%Y-%m-%d")]
    texts[:40] = [""] * 40
    found = draft(write(tmp_path, {"when": texts, "x": noise(1), "y": noise(2)}), "toy", "y")
    assert found.split == "group"
    assert found.left_out["when"].endswith(
        "40 of 300 rows have no date, too many for a split by time"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("year", "month", "day"),
        ("arrival_year", "arrival_month", "arrival_day_of_month"),
        ("Year", "Month"),
        ("annee", "mois", "jour"),
        ("Jahr", "Monat"),
        ("año", "mes", "día"),
        ("yr", "mo", "dy"),
    ],
)
def test_a_date_in_several_columns_is_put_together(tmp_path, names):
    values = (TIMES.year, TIMES.month, TIMES.day)
    columns = dict(zip(names, values, strict=False)) | {"x": noise(1), "y": noise(2)}
    found = draft(write(tmp_path, columns), "toy", "y")
    assert found.split == "time"
    (tmp_path / "schema.yaml").write_text(schema_text(found))
    (tmp_path / "data").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "data/t.csv")
    table = read_table(tmp_path / "data", read_schema(tmp_path / "schema.yaml")).table
    assert table["date"].iloc[-1] == TIMES[-1].floor("D").replace(
        day=TIMES[-1].day if len(names) == 3 else 1
    )


@pytest.mark.parametrize("way", ["%B", "%b"])
def test_a_month_in_words_makes_a_date(tmp_path, way):
    words = TIMES.strftime(way).where(TIMES.month != 3, "März")
    columns = {"arrival_date_year": TIMES.year, "arrival_date_month": words}
    found = draft(write(tmp_path, columns | {"x": noise(1), "y": noise(2)}), "toy", "y")
    assert found.split == "time"
    (tmp_path / "schema.yaml").write_text(schema_text(found))
    (tmp_path / "data").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "data/t.csv")
    table = read_table(tmp_path / "data", read_schema(tmp_path / "schema.yaml")).table
    assert (table["date"].to_numpy() == TIMES.to_period("M").to_timestamp().to_numpy()).all()


def test_years_part_rows_that_stand_in_their_order_and_are_asked_otherwise(tmp_path):
    years = np.sort(1985 + np.arange(300) % 30)
    columns = {"Year": years, "x": noise(1), "y": noise(2)}
    assert draft(write(tmp_path, columns), "toy", "y").split == "time"
    columns["Year"] = 1985 + np.arange(300) * 7 % 30
    found = draft(write(tmp_path, columns), "toy", "y")
    assert found.split == "group"
    assert any(
        "Year: The column holds years from 1985 to 2014. It is a feature" in w for w in found.decide
    )


@pytest.mark.parametrize("name", ["account_id", "ID", "customer", "deviceId"])
@pytest.mark.parametrize(("first", "step"), [(1640000000, 4711), (20150105, 1), (201501, 1)])
def test_numbers_of_things_are_no_dates(name, first, step):
    texts = [str(first + step * (i // 5)) for i in range(60)]
    assert found_in(texts, "moment") is not None
    assert found_in(texts, name) is None


@pytest.mark.parametrize(
    "name", ["work_year", "Year of sale", "salesYear", "année_vente", "vintage"]
)
def test_years_under_other_names_are_asked_and_stay_features(tmp_path, name):
    years = 2015 + np.arange(300) * 7 % 5
    found = draft(write(tmp_path, {name: years, "x": noise(1), "y": noise(2)}), "toy", "y")
    assert {c.source: c.keys["kind"] for c in found.columns}[name] != "date"
    told = [w for w in found.decide if w.startswith(f"{name}: ")]
    assert any(
        "holds numbers from 2015 to 2019, which may be years. It is a feature" in w for w in told
    )


@pytest.mark.parametrize(("name", "low", "high"), [("size", 1000, 3000), ("Yearling", 2015, 9999)])
def test_numbers_that_are_no_years_are_not_asked(tmp_path, name, low, high):
    numbers = np.linspace(low, high, 300).round().astype(int)
    found = draft(write(tmp_path, {name: numbers, "x": noise(1), "y": noise(2)}), "toy", "y")
    assert not any("may be years" in w for w in found.decide)


@pytest.mark.parametrize("words", [["11:34"], ["unknown", "n.d.", "unknown"], ["2015-02-30"]])
def test_a_few_words_among_dates_cost_their_rows_alone(tmp_path, words):
    texts = [*TIMES.strftime("%Y-%m-%d")]
    texts[:: 300 // len(words)] = words
    found = draft(write(tmp_path, {"day": texts, "x": noise(1), "y": noise(2)}), "toy", "y")
    assert found.split == "time"
    shown = f"'{words[0]}' ({words.count(words[0])} row"
    assert any(shown in w and "among the dates" in w for w in found.decide)
    (tmp_path / "schema.yaml").write_text(schema_text(found))
    (tmp_path / "data").mkdir()
    (tmp_path / "t.csv").rename(tmp_path / "data/t.csv")
    days = read_table(tmp_path / "data", read_schema(tmp_path / "schema.yaml")).table["day"]
    assert days.isna().sum() == len(words)
    assert days.notna().sum() == 300 - len(words)


def test_many_words_among_dates_leave_the_column_out(tmp_path):
    texts = [*TIMES.strftime("%Y-%m-%d")]
    texts[::30] = [f"lot {place}" for place in range(10)]
    found = draft(write(tmp_path, {"day": texts, "x": noise(1), "y": noise(2)}), "toy", "y")
    assert found.split == "group"
    assert "10 rows hold another text, such as 'lot 0'" in found.left_out["day"]


def test_classes_that_come_late_are_learned_as_the_rows_are_not_split_by_time(tmp_path):
    generator = np.random.Generator(np.random.PCG64(0))
    day = np.datetime64("2020-01-01") + np.arange(400)
    kind = generator.choice(["a", "b", "c"], 400).astype("<U5")
    for late, split in (([], "time"), ([300, 350], "group")):
        kind[late] = ["new", "newer"][: len(late)]
        path = tmp_path / "t.csv"
        rows = zip(day, generator.normal(size=400).round(3), kind, strict=True)
        path.write_text("day,x,kind\n" + "".join(f"{d},{x},{k}\n" for d, x, k in rows))
        found = draft(read_any(path), "toy", "kind")
        assert found.split == split
    assert "would give the part 'train' no row of 2 classes" in found.why_split


def test_moments_that_parquet_holds_as_floats_are_dates_as_in_text(tmp_path):
    """As pandas makes them of whole numbers, one of which is missing."""
    generator = np.random.default_rng(0)
    start = pd.Timestamp("2015-01-01").value // 10**6
    table = pd.DataFrame(
        {
            "created_at": np.sort(start + generator.integers(0, 10**11, 600)).astype(float),
            "x": generator.normal(size=600),
            "y": generator.integers(0, 2, 600),
        }
    )
    table.loc[300, "created_at"] = np.nan
    drafts = []
    for path in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
        drafts.append(draft(read_any(path), "toy", "y"))
    one, other = drafts
    assert one.split == other.split == "time"
    assert [c.keys for c in one.columns] == [c.keys for c in other.columns]
