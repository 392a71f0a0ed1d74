import json
from pathlib import Path

import pandas as pd
import pytest

from lockstep.data.tables import form_of, part_of, read_table
from lockstep.errors import DataError
from lockstep.problems.schema import Schema, load_schema

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "accidents"
real_data = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.exists(), reason="the real files are not beside the project"),
]

SCHEMA = Schema.model_validate(
    {
        "name": "loans",
        "title": "Loans",
        "task": "binary",
        "unit": "loan",
        "registered_name": "loan",
        "experiment": "loan",
        "columns": {
            "loan": {"kind": "group"},
            "day": {"kind": "date", "made_of": ["issued"]},
            "part": {"kind": "part", "missing": True},
            "bad": {"kind": "target", "codes": {0: "paid", 1: "not paid"}, "aliases": ["not.paid"]},
            "purpose": {"kind": "categorical", "missing": True},
            "amount": {"kind": "numeric", "aliases": ["loan_amnt"]},
        },
    }
)
LINES = [
    "purpose,loan_amnt,issued,not.paid,other",
    " car ,1000.5,2020-01-02,0,x",
    ",2000,2021-03-04 10:00,1,y",
]


def written(folder, **files):
    folder.mkdir(exist_ok=True)
    for stem, lines in files.items():
        (folder / f"{stem}.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_one_file_reads_under_the_schemas_names_and_dtypes(tmp_path):
    table = read_table(written(tmp_path / "raw", loans=LINES), SCHEMA).table
    assert table["purpose"].fillna("?").tolist() == ["car", "?"]
    assert table["amount"].tolist() == [1000.5, 2000.0]
    assert table["bad"].tolist() == [0.0, 1.0]
    assert table["day"].tolist() == [pd.Timestamp("2020-01-02"), pd.Timestamp("2021-03-04 10:00")]
    assert table["loan"].tolist() == [0, 1]
    assert "part" not in table
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "day": "datetime64[ms]",
        "bad": "float64",
        "purpose": "str",
        "amount": "float64",
        "loan": "int64",
    }


def test_parquet_reads_like_the_same_csv(tmp_path):
    from_csv = read_table(written(tmp_path / "csv", loans=LINES), SCHEMA).table
    (tmp_path / "parquet").mkdir()
    pd.read_csv(tmp_path / "csv" / "loans.csv").to_parquet(tmp_path / "parquet" / "loans.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "parquet", SCHEMA).table, from_csv)


def test_a_pair_of_files_keeps_its_split(tmp_path):
    folder = written(tmp_path / "raw", **{"loans-train": LINES, "loans-test": LINES[:2]})
    table = read_table(folder, SCHEMA).table
    assert table["part"].tolist() == ["train", "train", "test"]
    assert table["loan"].tolist() == [0, 1, 2]


def test_x_and_y_of_both_parts_are_put_together(tmp_path):
    x = [line.rsplit(",", 2)[0] for line in LINES]
    y = ["not.paid", "0", "1"]
    table = read_table(
        written(tmp_path / "raw", X_train=x, y_train=y, X_test=x, y_test=y), SCHEMA
    ).table
    assert table["bad"].tolist() == [0, 1, 0, 1]
    assert table["part"].tolist() == ["train", "train", "test", "test"]


def test_a_column_that_is_twice_in_x_is_refused_as_in_one_table(tmp_path):
    x = [f"{line.rsplit(',', 2)[0]},{line.split(',')[0]}" for line in LINES]
    y = ["not.paid", "0", "1"]
    folder = written(tmp_path / "raw", X_train=x, y_train=y, X_test=x, y_test=y)
    with pytest.raises(DataError, match=r"X_train.csv has the column '.*' twice"):
        read_table(folder, SCHEMA)


def test_x_and_y_of_other_lengths_are_refused(tmp_path):
    folder = written(
        tmp_path / "raw",
        X_train=LINES,
        y_train=["bad", "0"],
        X_test=LINES,
        y_test=["bad", "0", "1"],
    )
    with pytest.raises(DataError, match=r"X_train\.csv has 2 rows and y_train\.csv 1"):
        read_table(folder, SCHEMA)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "holds no table: not clear which is the table; a prepared table is"),
        ({"a": LINES, "b": LINES}, r"holds a\.csv, b\.csv: not clear which is the table"),
        ({"train_test": LINES, "x": LINES}, r"holds train_test\.csv, x\.csv: not clear"),
        ({"latest": LINES, "train": LINES}, r"holds latest\.csv, train\.csv: not clear"),
        ({"train_a": LINES, "train_b": LINES}, r"holds train_a\.csv, train_b\.csv: not clear"),
        (
            {"train": LINES, "test": LINES, "more": LINES},
            r"holds more\.csv, test\.csv, train\.csv: not clear",
        ),
        ({"X_train": LINES, "X_test": LINES}, "lacks y_train, y_test"),
        (
            {"loans": ["purpose,amonut,issued,bad", "a,1,2020-01-02,0"]},
            r"'amount' \(did you mean 'amonut'\?\)",
        ),
        (
            {"loans": ["purpose,amount,issued,bad", "a,ten,2020-01-02,0"]},
            "column amount, row 1: 'ten' is no number",
        ),
        (
            {"loans": ["purpose,amount,issued,bad", "a,1,soon,0"]},
            "column issued, row 1: 'soon' is no date",
        ),
        ({"loans": ["purpose,amount,bad", "a,1,0"]}, "lacks the column 'issued'"),
    ],
)
def test_a_faulty_source_is_refused_with_the_fix(tmp_path, files, says):
    with pytest.raises(DataError, match=says):
        read_table(written(tmp_path / "raw", **files), SCHEMA)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.csv", "train"),
        ("df-dev-test.csv", "test"),
        ("LoansTrain.parquet", "train"),
        ("TESTING_2021.csv", "test"),
        ("2021train.csv", "train"),
        ("train_test.csv", None),
        ("latest.csv", None),
        ("contestants.csv", None),
        ("x.csv", None),
    ],
)
def test_a_name_says_its_part_by_one_word_of_the_two(name, part):
    assert part_of(name) == part


def test_one_table_may_have_any_name_and_is_whole(tmp_path):
    assert form_of([tmp_path / "train_test.csv"], tmp_path) == {"all": tmp_path / "train_test.csv"}


def test_files_beside_x_and_y_are_not_read(tmp_path):
    paths = [
        tmp_path / f"{stem}.csv" for stem in ("X_test", "X_train", "notes", "y_test", "y_train")
    ]
    assert set(form_of(paths, tmp_path).values()) == {p for p in paths if p.stem != "notes"}


LEFTOVERS = ["._loans.csv", ".DS_Store", "Thumbs.db", "desktop.ini", "~$loans.csv"]


@pytest.mark.parametrize("name", [*LEFTOVERS, "__MACOSX/loans.csv", ".ipynb_checkpoints/l.csv"])
def test_what_other_programs_leave_in_a_folder_is_no_table(tmp_path, name):
    folder = written(tmp_path / "raw", loans=LINES)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"\x00\x05\x16\x07\x00")
    assert len(read_table(folder, SCHEMA).table) == 2


def test_rows_that_are_none_are_counted_over_both_parts(tmp_path):
    train, test = [*LINES, ",,,,", ",,,,"], [*LINES[:2], LINES[0], *LINES[2:], " ,,,,"]
    raw = read_table(written(tmp_path / "raw", train=train, test=test), SCHEMA)
    assert len(raw.table) == raw.rows_in == 4
    assert raw.counts == {"empty_rows": 3, "header_rows": 1}


def test_one_part_in_two_formats_is_refused(tmp_path):
    paths = [tmp_path / f"{stem}.csv" for stem in ("X_train", "X_test", "y_train", "y_test")]
    with pytest.raises(
        DataError, match=r"holds X_train\.csv, X_train\.parquet: keep the one that is meant"
    ):
        form_of([*paths, tmp_path / "X_train.parquet"], tmp_path)


def test_a_damaged_parquet_file_is_refused_by_name(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"t\.parquet is no readable Parquet file"):
        read_table(tmp_path, SCHEMA)


def test_text_ids_stay_text(tmp_path):
    lines = ["loan,purpose,amount,issued,bad", "L-1,a,1,2020-01-02,0"]
    assert read_table(written(tmp_path / "raw", t=lines), SCHEMA).table["loan"].tolist() == ["L-1"]


@pytest.mark.parametrize("odd", ["L-3", ""])
@pytest.mark.parametrize("kind", ["group", "id"])
def test_ids_are_text_in_both_files_where_one_has_a_text(tmp_path, kind, odd):
    columns = dict(SCHEMA.columns)
    columns["loan"] = columns["loan"].model_copy(update={"kind": kind})
    schema = SCHEMA.model_copy(update={"columns": columns})
    head, row = "loan,purpose,amount,issued,bad", ",a,1,2020-01-02,0"
    files = {"train": [head, f"007{row}", f"8{row}"], "test": [head, f"007{row}", f"{odd}{row}"]}
    loan = read_table(written(tmp_path / "raw", **files), schema).table["loan"]
    assert str(loan.dtype) == "str"
    assert loan.fillna("").tolist() == ["007", "8", "007", odd]


def test_positions_in_time_are_numbers_in_both_files(tmp_path):
    columns = dict(SCHEMA.columns)
    columns["day"] = columns["day"].model_copy(update={"integer": True, "made_of": []})
    schema = SCHEMA.model_copy(update={"columns": columns})
    head, row = "day,purpose,amount,bad", ",a,1,0"
    files = {"train": [head, f"9{row}", f"10{row}"], "test": [head, f"11{row}", row]}
    day = read_table(written(tmp_path / "raw", **files), schema).table["day"]
    assert day.fillna(-1).tolist() == [9, 10, 11, -1]
    files["test"][1] = f"later{row}"
    with pytest.raises(DataError, match=r"column day, row 1: 'later' is no number"):
        read_table(written(tmp_path / "raw", **files), schema)


class TestRealFiles:
    pytestmark = real_data

    def test_the_prepared_2021_table_keeps_its_rows_and_split(self):
        table = read_table(DATA / "onisr_2021_prepared", load_schema("accidents")).table
        assert table["part"].value_counts().to_dict() == {"train": 38288, "test": 16410}
        assert round(table["grav"].mean(), 3) == 0.342
        assert table["date"].notna().all()
        record = json.loads((DATA / "onisr_2021_prepared" / "test_features.json").read_text())
        assert set(record) == set(load_schema("accidents").feature_names)

    def test_the_person_sample_is_split_by_time(self):
        table = read_table(DATA / "user_sample_2005_2021", load_schema("accidents_2005_2021")).table
        assert table["part"].value_counts().to_dict() == {"train": 8000, "test": 1999}
        parts = table.groupby("part")["position"]
        assert parts.max()["train"] < parts.min()["test"]
        assert (table["position"] == table["row_id"]).all()
