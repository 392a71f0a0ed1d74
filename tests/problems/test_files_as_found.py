"""Files as people save them: code pages, a separator too many, blanks, empty and header rows."""

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.problems import encodings
from lockstep.problems.text_tables import read_content


def read(content, name="t.csv"):
    return read_content(content if isinstance(content, bytes) else content.encode(), Path(name))


def cells(table):
    return {name: values.to_pylist() for name, values in table.columns.items()}


def lines(*rows):
    return "\n".join(rows) + "\n"


def test_of_two_separators_that_are_as_frequent_the_tab_separates():
    table = read(lines("name\ta,b", "x\t1,5", "y\t2,5"))
    assert cells(table) == {"name": ["x", "y"], "a,b": ["1,5", "2,5"]}


# ---------------------------------------------------------------- code pages

CODE_PAGES = [
    ("cp1252", ["l’école", "cœur – nord", "“bis”", "Žižkov", "€1234"]),
    ("cp1252", ["Besançon", "Orléans", "Nîmes"]),
    ("cp1252", ["São Paulo", "Ceará"]),
    ("cp1250", ["Łódź", "Kraków", "Gdańsk"]),
    ("cp1250", ["Plzeň", "Český Krumlov", "Žďár"]),
    ("iso8859-2", ["Śląsk", "Święty Krzyż", "Łódź"]),
    ("cp1251", ["Москва", "Казань", "Тверь"]),
    ("cp1251", ["Київ", "Львів"]),
    ("koi8-r", ["Москва", "Казань", "Тверь"]),
    ("cp866", ["Москва", "Казань", "Тверь"]),
    ("cp1253", ["Αθήνα", "Θεσσαλονίκη", "Πάτρα"]),
    ("cp1254", ["Çankırı", "Muş", "Eskişehir"]),
    ("cp1255", ["תל אביב", "ירושלים"]),
    ("cp1256", ["القاهرة", "دمشق"]),
    ("cp1257", ["Kaunas", "Šiauliai", "Panevėžys"]),
    ("euc-kr", ["서울", "부산", "대구"]),
    ("shift_jis", ["東京都", "大阪府"]),
    ("shift_jis", ["カテゴリー", "りんご"]),
    ("euc_jp", ["東京都", "大阪府"]),
    ("gb18030", ["北京", "上海", "广州"]),
    ("big5", ["台北", "高雄", "新竹"]),
    ("cp850", ["élève", "forêt", "Besançon"]),
    ("mac-roman", ["élève", "forêt", "Besançon"]),
    ("utf-16", ["l’école", "서울", "Москва"]),
    ("utf-32", ["l’école", "서울", "Москва"]),
    ("utf-8-sig", ["l’école", "서울", "Москва"]),
]


def test_a_blank_that_does_not_break_is_no_letter():
    text = lines("x,make", "1,\u00a0Mercedes-Benz", "2,\u00a0Volvo", "3,Opel")
    assert cells(read(text.encode("cp1252")))["make"] == ["Mercedes-Benz", "Volvo", "Opel"]


def test_comments_are_counted():
    assert read("# a\n# b\nx,y\n1,2\n").notes == ("2 comments above the header passed over",)


def test_a_cell_as_long_as_a_file_is_refused():
    with pytest.raises(DataError, match=r"can't be read as columns .* a quote is never closed"):
        read('x,y\n1,2,"' + "a" * 200_000 + '"\n')


@pytest.mark.parametrize(("codec", "places"), CODE_PAGES)
def test_a_code_page_is_told_by_what_is_plausible_text(codec, places):
    text = lines("x,place", *(f"{number},{place}" for number, place in enumerate(places)))
    assert cells(read(text.encode(codec)))["place"] == places


@pytest.mark.parametrize("codec", ["cp1252", "cp1250", "iso8859-15", "mac-roman"])
@pytest.mark.parametrize("form", ["{} €", "{}€", "€{}", "€ {}", "{}\u00a0€", "({} €)", "-{} €"])
def test_a_sign_of_money_alone_tells_the_code_page(codec, form):
    prices = [form.format(number) for number in ("1.234,50", "980", "17,5")]
    text = lines("x;price", *(f"{n};{price}" for n, price in enumerate(prices)))
    table = read(text.encode(codec))
    assert [" ".join(price.split()) for price in cells(table)["price"]] == [
        " ".join(price.split()) for price in prices
    ]
    assert codec != "cp1252" or not table.questions


def test_what_was_taken_for_the_code_page_is_told_with_a_cell():
    table = read(lines("x,place", "1,l’école", "2,Orléans").encode("cp1252"))
    assert table.encoding == "Windows-1252"
    assert "read as Windows-1252, e.g. 'l’école'" in table.notes


def test_two_readings_about_as_plausible_are_a_question_with_both():
    table = read(lines("x,place", "1,Győr", "2,Pécs", "3,Székesfehérvár").encode("cp1250"))
    (question,) = table.questions
    assert "Windows-1250 ('Győr')" in question
    assert "Windows-1252 it would be 'Gyõr'" in question


def test_nothing_is_told_of_a_plain_file():
    table = read(lines("x,place", "1,l’école", "2,b"))
    assert (table.encoding, table.notes, table.questions) == ("UTF-8", (), ())


def test_bytes_that_are_words_in_no_code_page_are_refused():
    content = b"x,y\n1,\x81\x9d\xff\x8f\x90\xfe\n"
    with pytest.raises(DataError, match=r"t\.csv is no UTF-8, .* save it as UTF-8"):
        read(content)


def test_utf8_with_one_foreign_byte_is_refused_with_its_line():
    content = lines("x,place", "1,Orléans", "2,Nîmes", "3,Besançon", "4,forêt").encode()
    with pytest.raises(DataError, match="but for 1 bytes, the first in line 6"):
        read(content + "5,élève".encode("latin-1")[:3] + b"\n")


def test_utf16_without_a_mark_is_read():
    text = lines("x,place", "1,Orléans", "2,b")
    assert cells(read(text.encode("utf-16-le"))) == cells(read(text))


def test_letters_made_of_two_signs_are_composed_in_names_and_cells():
    table = read(lines("x,re\u0301gion", "1,e\u0301cole", "2,b"))
    assert cells(table) == {"x": ["1", "2"], "région": ["école", "b"]}


# ---------------------------------------------------------------- rows that are none


@pytest.mark.parametrize("empty", [";;", "; ;", '"";"";""', "  ;\t;"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_of_separators_only_are_passed_over_and_counted(empty, end):
    rows = ["day;x;y", "05/01;1;a", empty, "06/01;2;b", empty, empty]
    table = read(end.join(rows) + end)
    assert cells(table) == {"day": ["05/01", "06/01"], "x": ["1", "2"], "y": ["a", "b"]}
    assert table.empty_rows == 3
    assert "3 empty rows passed over" in table.notes


def test_a_row_with_one_value_is_a_row():
    assert cells(read("a,b,c\n1,2,3\n,,4\n"))["c"] == ["3", "4"]


def test_lines_of_blanks_are_no_rows():
    assert cells(read("a,b\n1,2\n   \n3,4\n")) == {"a": ["1", "3"], "b": ["2", "4"]}


def test_a_header_that_comes_up_again_is_passed_over_and_counted():
    table = read(lines("x,place", "1,a", "2,b", "x,place", "3,c"))
    assert cells(table) == {"x": ["1", "2", "3"], "place": ["a", "b", "c"]}
    assert (table.header_rows, table.counts) == (1, {"header_rows": 1})


def test_a_second_header_line_is_passed_over_and_told():
    rows = [f"{number},{number}.5,{'ab'[number % 2]},{number % 2}" for number in range(20)]
    table = read(lines(",X1,X2,Y", "ID,BALANCE,GRADE,default next month", *rows))
    assert table.rows == 20
    assert table.header_rows == 1
    assert any("'ID', 'BALANCE', 'GRADE'" in note for note in table.notes)


def test_units_below_the_header_are_passed_over():
    rows = [f"{number},{number}.5,red" for number in range(20)]
    assert read(lines("length,mass,colour", "cm,kg,", *rows)).rows == 20


def test_one_word_among_numbers_is_no_header_line():
    rows = [f"{number},{number}.5,red" for number in range(20)]
    table = read(lines("length,mass,colour", "broken,3,red", *rows))
    assert (table.rows, table.header_rows) == (21, 0)


# ---------------------------------------------------------------- one separator too many


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x,z,y,\n1,b,0\n2,c,1\n", "line 1 ends with a separator"),
        ("x,z,y\n1,b,0,\n2,c,1,\n", "too many at the end of 2 rows passed over"),
        ("x,z,y,\n1,b,0,\n2,c,1,\n", "1 empty column without a name"),
        ("x,z,y\n1,b,0\n2,c,1,\n", "too many at the end of 1 row passed over"),
        ("x;z;y\n1;b;0;;\n2;c;1;;\n", "too many at the end of 2 rows passed over"),
    ],
)
def test_a_separator_too_many_is_read_and_told(text, told):
    table = read(text)
    assert cells(table) == {"x": ["1", "2"], "z": ["b", "c"], "y": ["0", "1"]}
    assert any(told in note for note in table.notes)


def test_row_names_without_a_name_above_are_read_as_a_column():
    table = read('"x","z"\n"1",0.5,"b"\n"2",1.5,"c"\n')
    assert cells(table) == {"column 1": ["1", "2"], "x": ["0.5", "1.5"], "z": ["b", "c"]}
    assert any("row name" in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b,c,d\n1,2,3\n4,5,6\n", r"a name too many in line 1: it has 4 names .* rows 3 values"),
        ("a,b\n1,2,3,4\n4,5,6,7\n", "line 1: it has 2 names .* the rows 4 values"),
        ("a,b\n1,2\n3,4,5\n6,7\n", "line 3 has 3 values, the header 2: quote a value that holds"),
        ("a,b\n1,5,2\n1,7,3\n", "a name too few in line 1: .* quote values that hold a comma"),
        ("a,b,c\n1,2,3\nSource: me\n", "line 3 has 1 value, .* remove it if it is a remark"),
        ("a,b,c\n1 2 3\n4 5 6\n", "parted by the comma, its rows by blanks"),
        ("'a','b'\n'1','x'\n", "in single quotes .* write double quotes"),
        ("a,b\n1,2\n\n3,4,5\n6,7\n", "line 4 has 3 values"),
        ('a,b\n1,"2\n2"\n3,4,5\n6,7\n', "line 4 has 3 values"),
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3 has 2 values, the header 3: add"),
        ("a,b,c\n1,2,3\n4,5", "line 3 has 2 values, the header 3: the file is truncated"),
        ("\n# made in May\na,b\n1,2\n3,4,5\n6,7\n", "line 5 has 3 values"),
    ],
)
def test_other_uneven_rows_are_refused_with_line_and_counts(text, says):
    with pytest.raises(DataError, match=rf"t\.csv: .*{says}") as error:
        read(text)
    assert "damaged" not in str(error.value)


# ---------------------------------------------------------------- blanks and other separators


@pytest.mark.parametrize(
    "text",
    [
        "STATUS DURATION CLASS\nA12 10 1\nA11 38 2\n",
        "STATUS   DURATION   CLASS\nA12      10         1\nA11      38         2\n",
        '"x" "z" "y"\n"1" 0.5 "b c" 1\n"2" 0.7 "c" 0\n',
        "A12 10 1\nA11 38 2\nA14 12 2\n",
        "x y\n1 2\n3 4\n",
    ],
)
def test_columns_parted_by_blanks_are_told_with_the_fix(text):
    with pytest.raises(DataError, match=r"is parted by blanks \(line 1.*save it with commas"):
        read(text)


def test_one_column_of_texts_with_blanks_is_one_column():
    assert cells(read("credit risk\ngood payer\nbad payer\n")) == {
        "credit risk": ["good payer", "bad payer"]
    }


# ---------------------------------------------------------------- leftovers of other programs


@pytest.mark.parametrize(
    "content",
    [
        b"sep=;\nx;y\n1;a,b\n2;c\n",
        b'"sep=;"\r\nx;y\r\n1;a,b\r\n2;c\r\n',
        b"# made in May; by me, too\nx;y\n1;a,b\n2;c\n",
        b"% made in May\n% and in June\nx;y\n1;a,b\n2;c\n",
        b";\n;\nx;y\n1;a,b\n2;c\n",
        b"x;y\n1;a,b\n2;c\n\x1a",
        b"x;y\n1;a,b\n2;c\n" + bytes(300),
        b'"x;y"\n"1;a,b"\n"2;""c"""\n',
        b'x;y\n1;"a,b"\n2;c\n;\n',
        b'x;y\n"1;a,b"\n"2;""c"""\n',
        b'"x\n";"\xef\xbb\xbfy"\n1;a,b\n2;c\n',
    ],
)
def test_what_other_programs_leave_is_passed_over(content):
    assert cells(read(content)) == {"x": ["1", "2"], "y": ["a,b", "c"]}


def test_quotes_after_a_backslash_are_quotes():
    table = read(b'x,y\n1,"a \\"b\\", c"\n2,d\n')
    assert cells(table) == {"x": ["1", "2"], "y": ['a "b", c', "d"]}
    assert cells(read(b'x,y\n1,"C:\\"\n2,"d"\n'))["y"] == ["C:\\", "d"]


def test_arff_is_named():
    with pytest.raises(DataError, match="no delimited text but ARFF"):
        read("@relation x\n@attribute a numeric\n@data\n1,2\n")


def test_utf8_that_ends_within_a_letter_is_truncated():
    with pytest.raises(DataError, match="ends within a letter: it is truncated"):
        read("a,b\n1,forêt\n2,él".encode() + b"\xc3")


def test_a_number_sign_may_begin_the_header():
    assert cells(read("#id,x\n1,2\n3,4\n")) == {"#id": ["1", "3"], "x": ["2", "4"]}


@pytest.mark.parametrize("title", ["Sales of May", "Sales of May,,"])
def test_a_title_above_the_header_is_refused_with_both_lines(title):
    rows = [f"{number},{number}.5,{number}" for number in range(9)]
    with pytest.raises(DataError, match=r"line 1 \('Sales of May.*line 2 looks like it"):
        read(lines(title, "x,y,z", *rows))


def test_a_title_above_two_columns_is_no_name():
    with pytest.raises(DataError, match=r"line 1 .* is no header; line 2 looks like it"):
        read(lines("Sales of May", "x,y", "1,2", "3,4"))


def test_notes_of_macos_are_named():
    with pytest.raises(DataError, match="macOS's notes on a file"):
        read(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ", "._t.csv")


# ---------------------------------------------------------------- no header at all


@pytest.mark.parametrize(
    "rows",
    [
        ["39,State-gov,13", "50,Private,13", "38,State-gov,9", "53,Private,7"],
        ["7.4,0.7,5", "7.8,0.88,5", "7.8,0.76,5", "11.2,0.28,6"],
        ["p,x,s", "e,x,s", "e,b,w", "p,x,y"],
        ["3,?,gas", "3,?,gas", "1,164,gas", "2,158,diesel"],
        ["2020-01-01,5", "2020-01-02,6", "2020-01-03,7"],
        ["A11,6,A34", "A12,48,A32", "A14,12,A34"],
        ["30,64,1,1", "30,62,3,1", "31,65,0,1", "30,64,4,2"],
    ],
)
def test_a_first_line_of_values_is_refused(rows):
    with pytest.raises(DataError, match=r"line 1 of t\.csv seems to hold values \("):
        read(lines(*rows))


@pytest.mark.parametrize(
    "rows",
    [
        ["country,1960,1961,1962", "A,1,2,3", "B,4,5,6"],
        ["0,1,2,3", "0,5,2,9", "4,1,8,3"],
        ["400.5,401.0,401.5", "0.1,0.2,0.3", "0.4,0.5,0.6"],
        ["x,y", "o,x", "x,o"],
        ["name,2019,2018", "a,1,2", "b,3,4"],
        ["q1,q2", "yes,", "no,"],
        ["0", "0", "1"],
    ],
)
def test_a_header_of_years_or_codes_is_a_header(rows):
    assert read(lines(*rows)).rows == len(rows) - 1


def test_names_that_are_numbers_are_a_question():
    (question,) = read(lines("10,7,20", "1,2,3", "4,5,6")).questions
    assert "3 of the 3 names are numbers (10, 7, 20), and 0 names come up in" in question


# ---------------------------------------------------------------- the law

TEXTS = st.text(
    st.sampled_from("abcxyz ABC.-_/'()0123456789,;|\t\"\n"), min_size=1, max_size=12
).map(lambda text: " ".join(text.split(" ")).strip())


@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8),
    separator=st.sampled_from(";,\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_a_table_written_in_any_dialect_gives_the_same_cells(
    rows, separator, end, encoding, quoting
):
    assume(all(any(cell.strip() for cell in row) for row in rows))
    assume(
        end != "\r" or not any("\n" in cell for row in rows for cell in row)
    )  # csv would not quote it
    numbered = [(f"n{place}", *row) for place, row in enumerate(rows)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerows([("key", "first", "second", "élève"), *((*r, "forêt") for r in numbered)])
    table = read(text.getvalue().encode(encoding))
    found = list(zip(*cells(table).values(), strict=True))
    strip = " \t\r\n\u00a0\u202f\ufeff"
    assert list(table.columns) == ["key", "first", "second", "élève"]
    assert found == [(*(cell.strip(strip) for cell in row), "forêt") for row in numbered]


# ---------------------------------------------------------------- lines that are no rows

BODY = [
    f"{n}.5,{'Rome' if n % 3 else 'Oslo'},{n + 20},{'yes' if n % 2 else 'no'}" for n in range(30)
]


def body(*end, head="Size,Town,age,y", begin=(), middle=()):
    return lines(head, *begin, *BODY[:15], *middle, *BODY[15:], *end)


def assert_body(table, rows=30):
    assert [len(values) for values in table.columns.values()] == [rows] * 4
    assert table.columns["Size"][0].as_py() == "0.5"


@pytest.mark.parametrize(
    "again",
    ["SIZE,TOWN,AGE,Y", "size,town,age,y", "Size,Town,Age,Y", "Size,Town,age,y", "Size,TOWN,aGe,Y"],
)
def test_a_header_that_comes_up_again_in_other_capitals_is_passed_over(again):
    table = read(body(middle=[again]))
    assert_body(table)
    assert table.header_rows == 1


def test_a_row_that_is_the_header_in_part_is_a_row():
    assert_body(read(body(middle=["Size,Town,,"])), 31)


@pytest.mark.parametrize(
    "end",
    [
        ["Total,,,"],
        ["Total,,1035,"],
        ["Grand total:,,1035,30"],
        ["Summe,,1035,"],
        [",Итого,1035,"],
        ["Source: statistics office,,,"],
        ["Total,30,,", "Source: x,,,"],
        [",,,", "* provisional,,,"],
        ["(30 rows affected),,,"],
    ],
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_totals_and_remarks_at_the_end_are_passed_over_and_counted(end, separator):
    table = read(body(*end).replace(",", separator))
    assert_body(table)
    rows = [line for line in end if line.strip(",")]
    assert table.footer_rows == table.counts["footer_rows"] == len(rows)
    words = [line.strip(",").split(",")[0] for line in rows]
    shown = ", ".join(f"'{word}'" for word in words)
    assert f"at the end passed over as totals or remarks ({shown})" in table.notes[-1]


@pytest.mark.parametrize(
    ("end", "middle"),
    [
        (["Rome,,,"], []),  # a town that comes up above
        (["Total,,1035,"], ["Total,,7,"]),  # a word that is one of several
        (["Total,Rome,1035,yes"], []),  # a row with all values
        ([",,50,"], []),  # a number alone
        (["new,,,"], ["old,,,"]),  # rows with one value are usual
        (["Total,Rome,,"], []),  # a total of no amounts
    ],
)
def test_a_row_at_the_end_that_lacks_values_is_a_row(end, middle):
    table = read(body(*end, middle=middle).replace("Rome,,,", ",Rome,,"))
    assert_body(table, 31 + len(middle))
    assert not table.footer_rows


def test_a_small_table_has_no_remarks():
    assert read(lines("a,b,c", "1,2,3", "Total,,")).rows == 2


@pytest.mark.parametrize(
    "line", ["----,----,---,-", "====,====,===,=", ":---,---:,:-:,---", "1,2,3,4"]
)
def test_a_line_below_the_header_that_is_drawn_or_counts_is_passed_over(line):
    table = read(body(begin=[line]))
    assert_body(table)
    assert table.header_rows == 1


@pytest.mark.parametrize("line", ["-,-,-,-", "1,2,3,no", "0.5,Rome,3,4"])
def test_a_first_row_that_is_no_line_is_a_row(line):
    assert read(body(begin=[line])).rows == 31


@pytest.mark.parametrize("title", [["Sales 2024,,,"], ["Sales 2024,,,", "Region: North,,,"]])
def test_a_padded_title_is_refused_with_the_line_of_the_names(title):
    text = lines(*title, "Size,Town,age,y", *BODY)
    number = len(title) + 1
    with pytest.raises(
        DataError, match=f"line 1 .* is no header; line {number} looks like it .'Size"
    ):
        read(text)


@pytest.mark.parametrize("marks", ["“”", "„“", "«»", "‘’"])
def test_quotes_of_another_form_are_refused(marks):
    row = ",".join(f"{marks[0]}{cell}{marks[1]}" for cell in ("a", "b"))
    with pytest.raises(DataError, match=r"quotes of another form .* write double quotes"):
        read(lines(row, row))


@pytest.mark.parametrize("sign", [":", "^", "~", "/", "&", "\x01"])
def test_a_separator_that_is_not_read_is_refused(sign):
    with pytest.raises(DataError, match=r"no known separator in its header 'a.b.c'; use one of"):
        read(lines(*(sign.join(row) for row in ("abc", "123", "456"))))


@pytest.mark.parametrize("name", ["km/h", "time: start", "R&D", "a^b"])
def test_a_sign_in_the_name_of_the_only_column_parts_nothing(name):
    assert cells(read(lines(name, "1", "2"))) == {name: ["1", "2"]}


def test_a_name_that_comes_up_again_is_told_with_its_new_name():
    table = read_content(b"a,b,a\n1,2,3\n", Path("t.csv"), keep_twins=True)
    assert table.notes == ("columns of a name that came up before are called 'a (2)'",)


@pytest.mark.parametrize(
    ("begin", "what"),
    [
        (b"<table><tr>", "an HTML table"),
        (b"INSERT INTO t VALUES (1);", "SQL commands"),
        (b"ARROW1\0\0", "Arrow"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"<stata_dta>", "a file of Stata"),
        (b"$FL2@(#) SPSS", "a file of SPSS"),
        (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    ],
)
def test_other_programs_files_are_named(begin, what):
    with pytest.raises(DataError, match=f"is no delimited text but {what}"):
        read(begin + b" " * 40)


def test_texts_that_need_no_composing_are_known_by_their_bytes():
    """Every sign whose bytes pass the quick look is composed, and joins no other."""
    signs = map(chr, (n for n in range(0x80, 0x110000) if not 0xD800 <= n < 0xE000))
    passed = [s for s in signs if encodings.is_composed(s.encode())]
    assert len(passed) > 20_000
    assert unicodedata.is_normalized("NFC", "".join(passed))
    assert not any(map(unicodedata.combining, passed))


@pytest.mark.parametrize("name", ["l’école – 1 €", "Москва", "東京", "über"])
def test_usual_texts_pass_the_quick_look(name):
    assert encodings.is_composed(name.encode())


@pytest.mark.parametrize("name", ["e\u0301", "\u212b", "\u1112\u1161", "か\u3099", "\u2126"])
def test_a_letter_taken_apart_is_composed(name):
    table = read(f"a,b\n{name},1\n")
    assert table.columns["a"].to_pylist() == [unicodedata.normalize("NFC", name)]
