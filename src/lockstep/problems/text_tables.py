"""Delimited text of any encoding and separator, read whole as text; numbers are read by column."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from lockstep.errors import DataError, listed, nearest
from lockstep.problems.dialects import (
    Header,
    escapes_quotes,
    even_rows,
    find_header,
    find_separator,
    next_lines,
    split_names,
    title_above,
    unwrapped,
)
from lockstep.problems.encodings import decoded
from lockstep.problems.headers import BLANKS, clean_name, composed, refuse_values, unique_names
from lockstep.problems.shares import Share
from lockstep.problems.table_rows import NamesBelow, Rows

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset({"", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"})
"""What stands for a missing value in any table."""
EXAMPLES = 5
"""How many examples a message shows at most."""

_STARTS = {
    b"<!doctype html": "an HTML page (a login or error page saved in its place?)",
    b"<html": "an HTML page (a login or error page saved in its place?)",
    b"<?xml": "XML",
    b'{"': "JSON",
    b'[{"': "JSON",
    b"[[": "JSON",
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"@relation": "ARFF (Weka)",
    b"<table": "an HTML table",
    b"{\\rtf": "a text of a word processor (RTF)",
    b"create table": "SQL commands",
    b"insert into": "SQL commands",
    b"PAR1": "Parquet under another name",
    b"ARROW1": "Arrow (Feather)",
    b"\x89HDF": "HDF5",
    b"\x93NUMPY": "a numpy array",
    b"<stata_dta>": "a file of Stata",
    b"$FL": "a file of SPSS",
    b"HEADER RECORD*": "a transport file of SAS",
    b"RDX": "R data",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF-": "a PDF document",
    b"SQLite format 3": "an sqlite database",
    b"\x00\x05\x16\x07": "macOS's notes on a file (AppleDouble)",
    b"\x00\x05\x16\x00": "macOS's notes on a file (AppleSingle)",
    b"version https://git-lfs": "a pointer of Git LFS (run `git lfs pull`)",
}
"""How other formats begin (text in lower case), and what they are."""

PLAIN_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
"""How a number looks that needs no thought (RE2 and re alike)."""

UNIT = "[$€£¥₹%‰]|EUR|USD|GBP|CHF"
"""Signs beside a number that are no part of it (RE2 and re alike)."""

_TWO_WAYS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_OTHER_QUOTES = re.compile("'.*'|[‘’‚].*[’‘]|[“”„].*[”“]|«.*»", re.DOTALL)
"""A name or value in quotes that are no quotes of a table."""

Prepare = Callable[[Any], Any]
"""Reworks the distinct texts of a column (a pyarrow array)."""


@dataclass(frozen=True)
class RawTable:
    """What a source holds, in tidy columns: rows read, rows dropped by reason, counts to report."""

    table: pd.DataFrame
    dropped: dict[str, int]
    rows_in: int
    counts: dict[str, int]
    copies: np.ndarray | None = None
    """Which rows repeat an earlier one in every column of the file; None where nobody asked."""
    shares: dict[str, Share] = field(default_factory=dict)
    """Shares of faulty rows by name, to be judged when all parts of the source are read."""


@dataclass(frozen=True)
class TextTable:
    """One file as read: every column a pyarrow array of trimmed strings, in the file's order."""

    path: Path
    separator: str
    columns: dict[str, Any]
    twins: dict[str, str] = field(default_factory=dict)
    """Columns whose header name came up before: their names here, with that of the header."""
    encoding: str = "UTF-8"
    empty_rows: int = 0
    """Rows without any value, which were passed over."""
    header_rows: int = 0
    """Lines below the first that hold names or units, which were passed over."""
    footer_rows: int = 0
    """Totals and remarks at the end, which were passed over."""
    notes: tuple[str, ...] = ()
    """What was done to read the file, where it is no plain table in UTF-8."""
    questions: tuple[str, ...] = ()
    """What a person must decide about the reading."""
    numbers: frozenset[str] = frozenset()
    """The columns that the file holds as numbers, not texts: their points are decimal points."""

    @property
    def counts(self) -> dict[str, int]:
        """The rows that were passed over, by reason; none that is zero."""
        reasons = ("empty_rows", "header_rows", "footer_rows")
        return {reason: rows for reason in reasons if (rows := getattr(self, reason))}

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())))

    def require(self, names: Iterable[str]) -> None:
        """Raise a DataError with the difference and the nearest name if a column is missing."""
        require_columns(names, self.columns, self.path.name)

    def refuse(
        self, name: str, bad: np.ndarray, fault: str = "no number; correct or empty it"
    ) -> None:
        """Raise a DataError with file, column, row, value and fault of the first bad cell."""
        if bad.any():
            row = int(bad.argmax())
            over = " (not counting those passed over)" if self.counts else ""
            where = f"{self.path.name}: column {name}, row {row + 1}{over}"
            raise DataError(f"{where}: '{self.columns[name][row].as_py()[:40]}' is {fault}")


def require_columns(names: Iterable[str], found: Iterable[str], where: str) -> None:
    """Raise a DataError that lists missing columns, the nearest names and what is there instead."""
    wanted, there = list(names), list(found)
    absent = [name for name in wanted if name not in there]
    if not absent:
        return
    extra = [name for name in there if name not in wanted]
    is_renamed = any(nearest(name, extra) for name in absent)
    if len(absent) == len(wanted) > 1 and not is_renamed:
        raise DataError(_foreign(wanted, there, where))
    missing = listed([f"'{name}'{nearest(name, extra)}" for name in absent], EXAMPLES)
    fix = "rename it as expected" if is_renamed else "add it, or give the file that has it"
    raise DataError(
        f"{where} lacks the column {missing}; it has, besides the expected: "
        f"{listed(extra, EXAMPLES) or 'no others'}; {fix}"
    )


def _foreign(wanted: list[str], there: list[str], where: str) -> str:
    """Return what a file seems to be that has none of the expected columns, nor any like them."""
    shown = listed(there, EXAMPLES)
    if sum(n in MISSING or written_number(n) is not None for n in there) > len(there) / 2:
        return f"{where} has values in its first line ({shown}); put the columns' names above them"
    return (
        f"{where} seems to be another table: it has {shown}, and none of "
        f"{listed(wanted, EXAMPLES)}; give the one meant"
    )


def read_text(path: Path, keep_twins: bool = False) -> TextTable:
    """Read a delimited file as text (``read_content``); a missing one is a DataError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_source(path) from None
    return read_content(content, path, keep_twins)


def read_content(content: bytes, path: Path, keep_twins: bool = False) -> TextTable:
    """Read delimited text (`;`, `,`, TAB or `|`; any code page; LF, CRLF or CR).

    A name that stands in the header twice is refused, or (``keep_twins``) gets a number. An empty
    or truncated file, or one that can't be read for certain, is a DataError with the fix.
    """
    _refuse_other_formats(content, path)
    found = decoded(content, path.name)
    lines = _lines(found.content, path)
    rows = _rows(lines)
    _refuse_open_quote(lines, rows.columns)
    question = refuse_values(rows.written, rows.columns, path.name)
    names, twins = unique_names(rows.written)
    if twins and not keep_twins:
        raise DataError(f"{path.name} has the column '{_any(twins)}' twice; rename or remove one")
    return TextTable(
        path,
        lines.separator,
        dict(zip(names, rows.columns, strict=True)),
        twins,
        found.encoding,
        notes=tuple(filter(None, [found.note, *lines.notes, *rows.notes, _twin_note(twins)])),
        questions=tuple(filter(None, [found.question, question])),
        numbers=frozenset(),
        **rows.counts,
    )


def _any(twins: dict[str, str]) -> str:
    return next(iter(twins.values()))


def _twin_note(twins: dict[str, str]) -> str:
    """Return what to say of columns whose name came up before; nothing where there are none."""
    shown = listed([f"'{twin}'" for twin in twins], EXAMPLES)
    return f"columns of a name that came up before are called {shown}" if twins else ""


@dataclass(frozen=True)
class _Lines:
    """A file's text as UTF-8, its header, and what parts and quotes its cells."""

    content: bytes
    header: Header
    separator: str
    escape: bool
    """Whether a backslash stands before the quotes within values."""
    path: Path
    notes: list[str]


def _lines(text: bytes, path: Path) -> _Lines:
    """Find the header and the separator; an empty file is a DataError."""
    content = text.lstrip(b"\r\n")
    if not content or content.isspace():
        raise DataError(f"{path.name} is empty; fetch or copy it again")
    above = text[: len(text) - len(content)]
    header = find_header(content, 1 + len(above.splitlines()))
    if not header.text.strip(' \t;,|"\r\n'):
        fix = "put the columns' names above the rows"
        raise DataError(f"{path.name} holds no line of names; {fix}")
    notes = []
    inner = unwrapped(content, header)
    if inner is not None:
        notes.append("each line is quoted as a whole; its values were read from within")
        content, header = inner, find_header(inner, header.line)
    separator = find_separator(header, next_lines(content, header.end), path.name)
    escape = escapes_quotes(content)
    notes += ['a backslash before a quote (\\") is read as the quote'] if escape else []
    return _Lines(content, header, separator, escape, path, [*notes, *header.notes])


def _rows(lines: _Lines) -> Rows:
    """Return the columns of text, without the rows that are none."""
    written, columns, notes = _cells(lines)
    rows = Rows([clean_name(name) for name in written], columns, notes)
    try:
        rows.tidy()
    except NamesBelow as error:
        below = lines.separator.join(error.names)
        line = lines.header.line + error.row + 1
        raise title_above(lines.header, lines.path.name, below, line) from None
    return rows


def _cells(lines: _Lines) -> tuple[list[str], list[Any], list[str]]:
    """Return the names as written, the columns, and how rows of another length were read."""
    header, where = lines.header, lines.path.name
    written = split_names(header, lines.separator, where)
    if len(written) > 1 and all(_OTHER_QUOTES.fullmatch(name.strip()) for name in written):
        shown = header.text.strip()[:60]
        form = "single quotes" if written[0].strip()[0] == "'" else "quotes of another form"
        fault = f"names and values are in {form} ({shown})"
        raise DataError(f"{where}: {fault}; write double quotes, or none")
    try:
        table = _parse(lines, len(written))
    except pa.ArrowInvalid:
        even = even_rows(lines.content, header, written, lines.separator, where)
        return (
            even.names,
            [trimmed(pa.array(cells, pa.string())) for cells in even.columns],
            even.notes,
        )
    columns = []
    for name in table.column_names:  # each leaves the table as it is trimmed: one copy at a time
        columns.append(trimmed(table[name]))
        table = table.drop_columns([name])
    return written, columns, []


def _refuse_open_quote(lines: _Lines, columns: list[Any]) -> None:
    """Refuse a quote that is never closed and swallows lines; one within a value is text."""
    if lines.escape or not lines.content.count(b'"') % 2:
        return
    if lines.header.text.startswith('"') or _holds_line_ends(columns):
        raise DataError(
            f"{lines.path.name} ends inside a quoted value: it is truncated; fetch or copy it again"
        )


def missing_source(path: Path) -> DataError:
    """Return the error for a source file that does not exist."""
    return DataError(f"{path} is missing; put it there, or choose another source in params.yaml")


def _refuse_other_formats(content: bytes, path: Path) -> None:
    begin = content[:64].lstrip()
    compact = b"".join(begin.split()) if begin[:1] in (b"{", b"[") else begin
    for start, what in _STARTS.items():
        if begin.startswith(start) or compact.startswith(start) or begin.lower().startswith(start):
            fix = "put the table itself in its place"
            raise DataError(f"{path.name} is no delimited text but {what}; {fix}")


def _parse(lines: _Lines, width: int) -> Any:
    """Return the rows as text columns; pyarrow.ArrowInvalid if they differ in length."""
    names = [str(place) for place in range(width)]
    read = arrow_csv.ReadOptions(use_threads=False, block_size=1 << 24, column_names=names)
    escape = "\\" if lines.escape else False
    parse = arrow_csv.ParseOptions(delimiter=lines.separator, escape_char=escape)
    types = dict.fromkeys(names, pa.string())
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    rows = memoryview(lines.content)[lines.header.end :]
    if not rows.nbytes:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    return arrow_csv.read_csv(pa.BufferReader(rows), read, parse, convert)


def _holds_line_ends(columns: list[Any]) -> bool:
    return any(pc.any(pc.match_substring_regex(c, "[\r\n]")).as_py() for c in columns)


def trimmed(column: Any) -> Any:
    """Return a pyarrow string array without the blanks around its values.

    DataError for more than 2 GiB of text, which one such array can't hold.
    """
    try:
        whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    except pa.ArrowInvalid as error:
        if "overflow" not in str(error):
            raise
        fix = "leave the column out of the file, or split the file"
        raise DataError(f"a column holds more than 2 GiB of text; {fix}") from None
    return pc.utf8_trim(whole.cast(pa.string()), characters=BLANKS)


def composed_cells(cells: Any) -> Any:
    """Return a pyarrow string array with composed letters, as files of text are read."""
    if pc.all(pc.string_is_ascii(cells)).as_py() is not False:
        return cells
    coded = cells.dictionary_encode()  # pyarrow's utf8_normalize composes nothing
    texts = [composed(text) for text in coded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(coded.indices)


def holds_decimals(kind: pa.DataType) -> bool:
    """Tell whether a type's values are written with a decimal point: no integers, no texts."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def trimmed_text(text: str) -> str:
    """Return one text as a cell is read: composed, without the blanks around it."""
    return composed(text.strip(BLANKS))


def numbers(
    text: TextTable, name: str, *, missing: Set[str] = MISSING, prepare: Prepare | None = None
) -> np.ndarray:
    """Return a column as float64, NaN where missing; ``prepare`` reworks the distinct texts first.

    A decimal comma counts as a point. Other text is a DataError with file, column, row and value.
    """
    found, bad = parse_numbers(text.columns[name], missing, prepare)
    text.refuse(name, bad)
    return found


def written_number(text: str) -> float | None:
    """Return the number in a cell of a table, a decimal comma as a point, or None."""
    value = python_number(text.replace(",", ".", 1).replace("_", "x"))  # float() takes "1_0" for 10
    return value if value is not None and np.isfinite(value) else None


def readings(text: str) -> str:
    """Return the two numbers that a text such as 1,234 may be, in words, or nothing."""
    bare = trimmed_text(text)
    if not _TWO_WAYS.fullmatch(bare):
        return ""
    return f"{bare.replace(',', '.')} or {bare.replace(',', '')}"


def python_number(text: str) -> float | None:
    """Return what Python's float() reads in a text, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def parse_numbers(
    cells: Any, missing: Set[str], prepare: Prepare | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return cells (pyarrow strings) as float64, NaN where missing, and which are no numbers.

    ``prepare`` reworks the distinct texts first; without it a decimal comma counts as a point.
    """
    coded = cells.dictionary_encode()
    values = coded.dictionary
    texts = (prepare or with_points)(values)
    absent = pa.array(sorted(missing))
    is_absent = pc.is_in(values, value_set=absent)
    if texts is not values:
        is_absent = pc.or_(is_absent, pc.is_in(texts, value_set=absent))
    is_number = pc.and_not(pc.match_substring_regex(texts, PLAIN_NUMBER), is_absent)
    plain = pc.fill_null(is_number, False).to_numpy(zero_copy_only=False)
    found, bad = np.full(len(values) + 1, np.nan), np.zeros(len(values) + 1, dtype=bool)
    plain_numbers = texts.filter(pa.array(plain)).cast(pa.float64())
    found[:-1][plain] = plain_numbers.to_numpy(zero_copy_only=False)
    others = ~np.isfinite(found[:-1]) & ~is_absent.to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(others).tolist():
        text = texts[place].as_py()
        value = None if text is None else written_number(text)
        bad[place] = value is None and text is not None
        found[place] = np.nan if value is None else value
    codes = coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return found[codes], bad[codes]


def with_points(values: Any) -> Any:
    """Return texts with a point for the first comma of each."""
    has_comma = pc.any(pc.match_substring(values, ",")).as_py()
    return pc.replace_substring(values, ",", ".", max_replacements=1) if has_comma else values


def clear_points(values: Any) -> Any:
    """Return texts as ``with_points`` does; 1,234 becomes no number, as it may be a thousand."""
    points = with_points(values)
    if points is values:
        return values
    spoilt = pc.replace_substring(values, ",", "?")
    return pc.if_else(
        pc.match_substring_regex(values, f"^(?:{_TWO_WAYS.pattern})$"), spoilt, points
    )


def bare_numbers(values: Any, decimal: str) -> Any:
    """Return texts without thousands separators, currency and percent signs, with a decimal point.

    ``decimal`` ("." or ",") is the sign before the decimals. Other texts become no numbers.
    """
    fits = pc.match_substring_regex(values, number_pattern(decimal))
    digits = pc.replace_substring_regex(values, f"[^0-9eE+{re.escape(decimal)}-]|EUR", "")
    bare = pc.replace_substring(digits, ",", ".")
    spoilt = pc.replace_substring(values, ",", "?")  # "1,5" where the comma parts thousands
    return pc.if_else(fits, bare, spoilt)


def number_pattern(decimal: str) -> str:
    """Return a pattern (RE2, re) of numbers with thousands separators, currency, percent signs."""
    point, comma = (r"\.", ",") if decimal == "." else (",", r"\.")
    unit = rf"(?:{UNIT})?"
    blank = f"[{BLANKS}]?"
    digits = rf"(?:\d+|[1-9]\d{{0,2}}(?:[{comma}'’{BLANKS}]\d{{3}})+)(?:{point}\d*)?|{point}\d+"
    power = r"(?:[eE][+-]?\d+)?"
    return rf"^[+-]?{unit}{blank}[+-]?(?:{digits}){power}{blank}{unit}$"


def whole_numbers(text: TextTable, name: str) -> np.ndarray:
    """Return a column of ids as int64, -1 where missing; other text is a DataError with its row.

    The publisher's ids have (no-break) spaces in the thousands, some of them decoded twice.
    """
    solid = pc.replace_substring_regex(
        text.columns[name], pattern="[ \u00a0\u202f\u00c2]|[.]0$", replacement=""
    )
    ids = pc.if_else(pc.is_in(solid, value_set=pa.array(sorted(MISSING))), "-1", solid)
    is_id = pc.match_substring_regex(ids, "^-1$|^[0-9]{1,18}$").to_numpy(zero_copy_only=False)
    text.refuse(name, ~is_id, "no whole number; write the id out in digits")
    return np.asarray(ids.cast(pa.int64()).to_numpy(zero_copy_only=False))
