import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.problems.text_tables import TextTable, numbers, read_text, trimmed, whole_numbers


def written(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def column_of(tmp_path, values):
    import pyarrow as pa

    return TextTable(tmp_path / "t.csv", ";", {"x": trimmed(pa.array(values, pa.string()))})


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_any_separator_line_end_and_encoding_reads_the_same(tmp_path, separator, end, encoding):
    text = (
        end.join(
            separator.join(row) for row in [("a", "b"), ("01", "Bonne Espérance"), (" -1", "N/A")]
        )
        + end
    )
    table = read_text(written(tmp_path, text.encode(encoding)))
    assert {name: values.to_pylist() for name, values in table.columns.items()} == {
        "a": ["01", "-1"],
        "b": ["Bonne Espérance", "N/A"],
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,b\n1,2\n3", "truncated"),
        (b'"a";"b"\n"1";"2"\n"3";"x', "inside a quoted value"),
        (b'a,b\n1,"x\n2,y\n', "inside a quoted value"),
        (b"a^b\n1^2\n", "no known separator"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "UTF-16"),
        (b"a,a\n1,2\n", "twice"),
        (b"a;b\n1,2\n", "parted by the semicolon, its rows by the comma"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, content, says):
    with pytest.raises(DataError, match=rf"t\.csv.*{says}"):
        read_text(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\n <!DOCTYPE html>\n<html><body>Not found, sorry</body></html>\n", "an HTML page"),
        (b"<HTML lang='fr'><head>\n", "an HTML page"),
        (b'<?xml version="1.0"?>\n<rows/>\n', "XML"),
        (b'[\n  {"lum": 1, "agg": 2}\n]\n', "JSON"),
        (b'{"error": "gone"}\n', "JSON"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00", "a zip archive or an Excel workbook"),
        (b"\x1f\x8b\x08\x00\x00", "compressed by gzip"),
        (b"PAR1\x15\x04\x15", "Parquet under another name"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    ],
)
def test_a_file_of_another_format_is_named_for_what_it_is(tmp_path, content, says):
    with pytest.raises(DataError, match=rf"t\.csv is no delimited text but .*{says}"):
        read_text(written(tmp_path, content))


def test_another_table_is_called_so_and_nobody_told_to_rename(tmp_path):
    table = read_text(written(tmp_path, "sepal length,species\n1,setosa\n"))
    with pytest.raises(
        DataError, match=r"t\.csv seems to be another table: it has sepal length, species"
    ) as e:
        table.require(["Num_Acc", "lum", "agg"])
    assert "rename" not in str(e.value)


def test_a_table_without_a_header_is_told(tmp_path):
    table = read_text(written(tmp_path, "201900000001,3,1\n201900000002,1,2\n"))
    with pytest.raises(DataError, match=r"has values in its first line \(201900000001, 3, 1\)"):
        table.require(["Num_Acc", "lum", "agg"])


def test_a_lone_quote_within_a_value_is_text(tmp_path):
    table = read_text(written(tmp_path, 'a,b\n1,RUE "X\n2,y\n'))
    assert table.columns["b"].to_pylist() == ['RUE "X', "y"]


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv is missing"):
        read_text(tmp_path / "gone.csv")


def test_a_renamed_column_comes_with_the_nearest_name(tmp_path):
    table = read_text(written(tmp_path, "Num_Acc,lumi,agg\n1,2,3\n"))
    with pytest.raises(
        DataError, match=r"'lum' \(did you mean 'lumi'\?\).*besides the expected: lumi"
    ):
        table.require(["Num_Acc", "lum", "agg"])


def test_numbers_know_blanks_commas_and_missing_values(tmp_path):
    table = column_of(tmp_path, [" -1,2048040", "48.5", "", "N/A", "\u00a07", None])
    expected = [-1.204804, 48.5, np.nan, np.nan, 7, np.nan]
    np.testing.assert_array_equal(numbers(table, "x"), expected)


@pytest.mark.parametrize("value", ["abc", "1,2,3", "inf", "1_0", "2A"])
def test_text_in_a_number_names_file_column_row_and_value(tmp_path, value):
    with pytest.raises(DataError, match=rf"t\.csv: column x, row 2: '{value}' is no number"):
        numbers(column_of(tmp_path, ["1", value]), "x")


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_keep_every_digit(tmp_path_factory, values):
    table = column_of(tmp_path_factory.getbasetemp(), [repr(v) for v in values])
    np.testing.assert_array_equal(numbers(table, "x"), np.array(values, dtype=float))


def test_ids_lose_their_blanks_also_doubly_encoded_ones(tmp_path):
    ids = ["138\u00c2\u00a0305\u00c2\u00a0095", "201\u00a0764", "264 974", "", "17.0", "-1"]
    assert whole_numbers(column_of(tmp_path, ids), "x").tolist() == [
        138305095,
        201764,
        264974,
        -1,
        17,
        -1,
    ]


@pytest.mark.parametrize("value", ["2.02E+11", "A01", "1" * 19])
def test_an_id_that_is_no_whole_number_is_refused(tmp_path, value):
    with pytest.raises(DataError, match=r"column x, row 1: .* is no whole number"):
        whole_numbers(column_of(tmp_path, [value]), "x")


def test_a_remark_over_two_lines_below_the_rows_is_told_as_one(tmp_path):
    path = written(tmp_path, 'a,b\n1,2\n"Source: office, 2024\nAll rights reserved"\n')
    with pytest.raises(DataError, match="remove it if it is a remark"):
        read_text(path)


@pytest.mark.parametrize("content", ["sep=;\r\n", ",,,\r\n\r\n", ";\n"])
def test_a_file_without_names_is_refused(tmp_path, content):
    with pytest.raises(DataError, match=r"t\.csv holds no line of names"):
        read_text(written(tmp_path, content))


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("#ref,x\n#12,5\n#13,6\n", {"#ref": ["#12", "#13"], "x": ["5", "6"]}),
        ("#;Name;Preis\n1;A;2,50\n2;B;3,75\n", {"#": ["1", "2"], "Preis": ["2,50", "3,75"]}),
        ("#\tname\n1\tA, B\n", {"#": ["1"], "name": ["A, B"]}),
        ("# made in May; by me\nx,y\n1,2\n", {"x": ["1"], "y": ["2"]}),
        ("# Preise, netto\nWare;Preis, EUR\nA;2\n", {"Ware": ["A"], "Preis, EUR": ["2"]}),
    ],
)
def test_a_header_may_begin_with_the_sign_of_a_comment(tmp_path, content, columns):
    table = read_text(written(tmp_path, content))
    assert {name: table.columns[name].to_pylist() for name in columns} == columns
