"""Delimited text of any encoding and separator, read whole as text; numbers are read by column."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from lockstep.errors import DataError, listed, nearest

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {";": "semicolon", ",": "comma", "\t": "TAB"}
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
    b"PAR1": "Parquet under another name",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"7z\xbc\xaf": "a 7z archive",
    b"%PDF-": "a PDF document",
    b"SQLite format 3": "an sqlite database",
    b"version https://git-lfs": "a pointer of Git LFS (run `git lfs pull`)",
}
"""How other formats begin (text in lower case), and what they are."""

PLAIN_NUMBER = r"^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$"
"""How a number looks that needs no thought (RE2 and re alike)."""

UNIT = "[$€£¥₹%‰]|EUR|USD|GBP|CHF"
"""Signs beside a number that are no part of it (RE2 and re alike)."""

Prepare = Callable[[Any], Any]
"""Reworks the distinct texts of a column (a pyarrow array)."""
Number = Callable[[str], float | None]
"""Reads a text that is no plain number; None where it is no number at all."""

_BLANKS = " \t\r\n\u00a0\u202f\ufeff"


@dataclass(frozen=True)
class RawTable:
    """What a source holds, in tidy columns: rows read, rows dropped by reason, counts to report."""

    table: pd.DataFrame
    dropped: dict[str, int]
    rows_in: int
    counts: dict[str, int]


@dataclass(frozen=True)
class TextTable:
    """One file as read: every column a pyarrow array of trimmed strings, in the file's order."""

    path: Path
    separator: str
    columns: dict[str, Any]
    twins: dict[str, str] = field(default_factory=dict)
    """Columns whose header name came up before: their names here, with that of the header."""

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
            where = f"{self.path.name}: column {name}, row {row + 1}"
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
    """Read a delimited file (`;`, `,` or TAB; UTF-8 or latin-1; LF, CRLF or CR) as text.

    A name that stands in the header twice is refused, or (``keep_twins``) gets a number. A missing,
    empty or truncated file, or another separator or encoding, is a DataError with the fix.
    """
    content = _read_bytes(path)
    _refuse_other_formats(content, path)
    encoding = _encoding(content, path)
    ends = (content.find(b"\r"), content.find(b"\n"))
    header = content[: min(end for end in ends if end >= 0)].decode(encoding)
    separator = _separator(header, _next_lines(content, encoding), path)
    names, twins = _names(header, separator)
    if twins and not keep_twins:
        raise DataError(
            f"{path.name} has the column '{next(iter(twins.values()))}' twice; rename or remove one"
        )
    table = _parse(content, encoding, separator, names, path)
    # a quote that is opened and never closed swallows lines; one within a value is text
    if content.count(b'"') % 2 and (header.startswith('"') or _holds_line_ends(table)):
        raise DataError(
            f"{path.name} ends inside a quoted value: it is truncated; fetch or copy it again"
        )
    del content
    columns = {}
    for name in names:  # each column leaves the table as it is trimmed, so the file is held once
        columns[name] = trimmed(table[name])
        table = table.drop_columns([name])
    return TextTable(path, separator, columns, twins)


def _read_bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise missing_source(path) from None
    content = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if not content.strip():
        raise DataError(f"{path.name} is empty; fetch or copy it again")
    return content if content.endswith((b"\r", b"\n")) else content + b"\n"


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


def _encoding(content: bytes, path: Path) -> str:
    """Return UTF-8 or else latin-1, which decodes anything: wide encodings are refused first."""
    if b"\x00" in content[:4096] or content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError(
            f"{path.name} is no text in UTF-8 or latin-1 (UTF-16 or binary?); save it as UTF-8"
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _next_lines(content: bytes, encoding: str, most: int = 5) -> list[str]:
    """Return the first lines below the header, without the cut-off last one of a long beginning."""
    lines = content[: 1 << 16].splitlines()
    end = min(most + 1, max(len(lines) - 1, 2))
    return [line.decode(encoding, "replace") for line in lines[1:end]]


def _bare(line: str) -> str:
    """Return a line without its quoted values, which may hold anything."""
    return re.sub(r'"[^"]*"', "", line)


def _separator(header: str, lines: list[str], path: Path) -> str:
    """Return the separator that splits header and first lines alike, else the most frequent."""
    bare = _bare(header)
    even = [s for s in SEPARATORS if all(_bare(line).count(s) == bare.count(s) for line in lines)]
    found = max([s for s in even if s in bare] or SEPARATORS, key=bare.count)
    if bare.count(found):
        return found
    if any(odd in bare for odd in "|:^~"):
        known = ", ".join(SEPARATORS.values())
        raise DataError(
            f"{path.name}: no known separator in its header '{header[:60]}'; use one of {known}"
        )
    return ","  # a single column, as in y_train.csv


def _names(header: str, separator: str) -> tuple[list[str], dict[str, str]]:
    """Return the columns' names, and which repeat another: ``x (2)`` is the second ``x``.

    A column without a name is called by its place: ``column 1``.
    """
    written = [name.strip(_BLANKS) for name in next(csv.reader([header], delimiter=separator))]
    names: list[str] = []
    twins = {}
    for place, bare in enumerate(written, start=1):
        name = bare or f"column {place}"
        if name in names:
            numbered = (f"{name} ({number})" for number in count(2))
            twin = next(new for new in numbered if new not in (*names, *written))
            twins[twin], name = name, twin
        names.append(name)
    return names, twins


def _parse(content: bytes, encoding: str, separator: str, names: list[str], path: Path) -> Any:
    # one thread: only then do messages name the row
    read = arrow_csv.ReadOptions(
        use_threads=False, encoding=encoding, block_size=1 << 24, column_names=names, skip_rows=1
    )
    parse = arrow_csv.ParseOptions(delimiter=separator)
    types = dict.fromkeys(names, pa.string())
    convert = arrow_csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    try:
        return arrow_csv.read_csv(io.BytesIO(content), read, parse, convert)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0].removeprefix("CSV parse error: ")[:120]
        raise DataError(
            f"{path.name} is truncated or damaged ({reason}); fetch or copy it again"
        ) from None


def _holds_line_ends(table: Any) -> bool:
    return any(pc.any(pc.match_substring_regex(c, "[\r\n]")).as_py() for c in table.columns)


def trimmed(column: Any) -> Any:
    """Return a pyarrow string array without the blanks around its values."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pc.utf8_trim(whole.cast(pa.string()), characters=_BLANKS)


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


def python_number(text: str) -> float | None:
    """Return what Python's float() reads in a text, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def parse_numbers(
    cells: Any, missing: Set[str], prepare: Prepare | None = None, number: Number = written_number
) -> tuple[np.ndarray, np.ndarray]:
    """Return cells (pyarrow strings) as float64, NaN where missing, and which are no numbers.

    ``prepare`` reworks the distinct texts first; ``number`` reads those that are no plain numbers.
    """
    coded = cells.dictionary_encode()
    values = coded.dictionary
    texts = prepare(values) if prepare else values
    is_number = pc.and_not(
        pc.match_substring_regex(texts, PLAIN_NUMBER),
        pc.is_in(texts, value_set=pa.array(sorted(missing))),
    )
    plain = pc.fill_null(is_number, False).to_numpy(zero_copy_only=False)
    found, bad = np.full(len(values) + 1, np.nan), np.zeros(len(values) + 1, dtype=bool)
    plain_numbers = texts.filter(pa.array(plain)).cast(pa.float64())
    found[:-1][plain] = plain_numbers.to_numpy(zero_copy_only=False)
    for place in np.flatnonzero(~np.isfinite(found[:-1])).tolist():
        text = texts[place].as_py()
        is_missing = text is None or text in missing or values[place].as_py() in missing
        value = np.nan if is_missing else number(text)
        bad[place], found[place] = value is None, np.nan if value is None else value
    codes = coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return found[codes], bad[codes]


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
    blank = f"[{_BLANKS}]?"
    digits = rf"(?:\d+|[1-9]\d{{0,2}}(?:[{comma}'’{_BLANKS}]\d{{3}})+)(?:{point}\d*)?|{point}\d+"
    return rf"^[+-]?{unit}{blank}[+-]?(?:{digits}){blank}{unit}$"


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
