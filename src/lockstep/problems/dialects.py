"""The lines of a delimited file: where its header is, what parts the cells, rows of odd length."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from lockstep.errors import DataError

SEPARATORS = {";": "semicolon", ",": "comma", "\t": "TAB", "|": "vertical bar"}
_ODD = ":^~/&§¦\x01\x1f"
"""Signs that part the columns in some files, but not in those that are read."""
_EXCEL = re.compile(r'^"?sep=(.)"?$', re.IGNORECASE)
"""A first line that tells Excel the separator."""
_ESCAPED = re.compile(rb'\\"(?![,;|\t\r\n"])[^"\r\n]*"')
"""A quote after a backslash that ends no value, as the one of a folder (C:\\)."""
_WHOLE = re.compile('"(?:[^"]|"")*"')
"""A line that is one quoted value."""
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?")
_HEADER_LINES = 20
"""Lines that a quoted name of the header spans at most."""


@dataclass(frozen=True)
class Header:
    """The first line that holds names: its text, its line, where the rows begin, notes."""

    text: str
    line: int
    end: int
    separator: str = ""
    notes: tuple[str, ...] = ()


@dataclass
class Rows:
    """Rows that were brought to one length: their columns, and the header that fits them."""

    names: list[str]
    columns: list[tuple[str, ...]]
    notes: list[str] = field(default_factory=list)


def find_header(content: bytes, line: int = 1) -> Header:
    """Return the header: the first line that is not blank, no comment and no ``sep=``.

    ``line`` is the number of the first line of the content in its file.
    """
    place, separator, notes, comments = 0, "", list[str](), list[str]()
    first: Header | None = None
    while True:
        text, end = _record(content, place)
        told = _EXCEL.match(text.strip())
        is_comment = text.startswith(("#", "%")) and _is_apart(text, *_two_records(content, end))
        if told:
            separator = told[1]
            notes.append(f"line {line} ('{text.strip()}') is passed over")
        elif is_comment:
            first = first or Header(text, line, end, separator, tuple(notes))
            comments.append(f"{counted(len(comments) + 1, 'comment')} above the header passed over")
        elif first and not text.strip() and end >= len(content):  # every line begins so
            return first
        elif text.strip(' \t;,|"\r\n') or end >= len(content):
            return Header(text, line, end, separator, (*notes, *comments[-1:]))
        line += _lines(content[place:end])
        place = end


def _is_apart(comment: str, below: str, second: str) -> bool:
    """Return whether a comment sign begins no name: the next line has it, or other separators.

    The header below a comment may have its number of them by chance, but hardly the row below too.
    """
    bare = unquoted(comment)
    own = [sign for sign in SEPARATORS if sign in bare] or SEPARATORS
    lines = [unquoted(line) for line in (below, second) if line.strip() or line is below]
    differs = any(bare.count(sign) != line.count(sign) for sign in own for line in lines)
    return below[:1] == comment[:1] or differs


def _two_records(content: bytes, place: int) -> tuple[str, str]:
    """Return the line at a place and the next one."""
    text, end = _record(content, place)
    return text, _record(content, end)[0]


def _lines(content: bytes) -> int:
    return len(content.splitlines())


def _record(content: bytes, place: int) -> tuple[str, int]:
    """Return the line at a place and where the next begins; a quoted name may hold line ends."""
    first = end = _line_end(content, place)
    for _ in range(_HEADER_LINES):
        if not content.count(b'"', place, end) % 2:
            return content[place:end].decode().rstrip("\r\n"), end
        end = _line_end(content, end)
    return content[place:first].decode().rstrip("\r\n"), first


def _line_end(content: bytes, place: int) -> int:
    """Return the place after the next line end (LF, CRLF or CR)."""
    feed = content.find(b"\n", place)
    last = feed if feed >= 0 else len(content)
    end = content.find(b"\r", place, last)
    if end < 0:
        return min(last + 1, len(content))
    return end + (2 if content[end : end + 2] == b"\r\n" else 1)


def next_lines(content: bytes, place: int, most: int = 5) -> list[str]:
    """Return the first lines from a place, without the cut-off last one of a long beginning."""
    begin, at = content[place : place + (1 << 16)], 0
    lines: list[bytes] = []
    while at < len(begin) and len(lines) <= most:
        start, at = at, _line_end(begin, at)
        lines.append(begin[start:at].rstrip(b"\r\n"))
    end = min(most, max(len(lines) - 1, 1))
    return [line.decode("utf-8", "replace") for line in lines[:end]]


def escapes_quotes(content: bytes) -> bool:
    """Return whether quotes within values have a backslash before them, as MySQL writes them."""
    # one sign is found much faster than two
    return b"\\" in content and b'\\"' in content and bool(_ESCAPED.search(content))


def unquoted(line: str) -> str:
    """Return a line without its quoted values, which may hold anything."""
    return re.sub(r'"[^"]*"', "", line)


def unwrapped(content: bytes, header: Header) -> bytes | None:
    """Return the lines without their outer quotes where each is quoted as a whole, else None."""
    lines = [header.text, *next_lines(content, header.end)]
    if not all(_WHOLE.fullmatch(line) for line in lines):
        return None
    if not any(separator in header.text for separator in SEPARATORS):
        return None
    rows = [header.text, *re.split("\r\n|\r|\n", content[header.end :].decode())]
    return "\n".join([*map(_bare_line, rows), ""]).encode()


def _bare_line(line: str) -> str:
    return line[1:-1].replace('""', '"') if _WHOLE.fullmatch(line) else line


def find_separator(header: Header, lines: list[str], where: str) -> str:
    """Return the separator that splits header and first lines alike, else the most frequent."""
    if header.separator:
        return header.separator
    bare = unquoted(header.text)
    even = [s for s in SEPARATORS if _is_even(s, bare, lines)]
    # Of two that are as frequent, a TAB separates: cells hold commas, but hardly ever a TAB.
    likely = [s for s in even if s in bare] or SEPARATORS
    found = max(likely, key=lambda sign: (bare.count(sign), sign == "\t"))
    if bare.count(found):
        return found
    _refuse_odd_separators(header, lines, where)
    return ","  # a single column, as in y_train.csv


def _is_even(sign: str, header: str, lines: list[str]) -> bool:
    """Return whether a sign is as often in each of the first lines as in the header."""
    return all(unquoted(line).count(sign) == header.count(sign) for line in lines)


def _refuse_odd_separators(header: Header, lines: list[str], where: str) -> None:
    """Raise a DataError where blanks or a sign that is not known part the columns."""
    shown = "".join(c if c.isprintable() else "·" for c in header.text.strip()[:60])
    known = ", ".join(SEPARATORS.values())
    bare = unquoted(header.text)
    if any(bare.count(odd) and _is_even(odd, bare, lines) for odd in _ODD):
        raise DataError(f"{where}: no known separator in its header '{shown}'; use one of {known}")
    names, rows = by_blanks(header.text), [by_blanks(line) for line in lines]
    widths = {len(row) for row in rows}
    if len(names) < 2 or not rows or not widths <= {len(names), len(names) + 1} or len(widths) > 1:
        return
    if len(names) > 2 or any(_NUMBER.fullmatch(cell) for row in rows for cell in row):
        raise DataError(
            f"{where} is parted by blanks (line {header.line}: '{shown}'); save it with commas"
        )


def by_blanks(line: str) -> list[str]:
    """Return the fields of a line parted by blanks, where quotes hold some together."""
    return re.findall(r'"[^"]*"|\'[^\']*\'|\S+', line)


def even_rows(content: bytes, header: Header, names: list[str], separator: str, where: str) -> Rows:
    """Read rows of different lengths as pandas and R do; DataError with the line where unclear.

    Blank lines, empty cells beyond the header, and lines quoted as a whole are no fault; one value
    more in every row is a row name.
    """
    rows = _numbered(content, header, separator, len(names), where)
    if not rows:
        return Rows(names, [() for _ in names])
    names, notes = list(names), []
    width = max(len(row) for _, row in rows)
    if len(names) > width and not any(name.strip() for name in names[width:]):
        notes.append(f"line {header.line} ends with a separator and has no name there")
        names = names[:width]
    if any(len(row) > len(names) for _, row in rows):
        rows, surplus = _cut(rows, len(names))
        too_many = f"separators too many at the end of {counted(surplus, 'row')} passed over"
        notes += [too_many] if surplus else []
    widths = Counter(len(row) for _, row in rows)
    is_named = len({row[0] for _, row in rows}) == len(rows) and not _begins_with_names(rows)
    if set(widths) == {len(names) + 1} and is_named:
        notes.append("each row begins with a row name that has no name above it")
        names = ["", *names]
    if set(widths) != {len(names)}:
        raise _uneven(rows, widths, header, names, separator, content, where)
    return Rows(names, list(zip(*(row for _, row in rows), strict=True)), notes)


def _numbered(
    content: bytes, header: Header, separator: str, width: int, where: str
) -> list[tuple[int, list[str]]]:
    """Return the rows with their lines; blank lines are left out, quoted lines are split again."""
    text = content[header.end :].decode()
    escape = "\\" if escapes_quotes(content) else None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, escapechar=escape)
    above = header.line - 1 + max(1, len(header.text.splitlines()))
    found, line = [], above + 1
    for row in _whole(reader, where):
        is_whole = len(row) == 1 < width and separator in row[0]
        if is_whole and not re.search("[\r\n]", row[0]):  # such a cell is a text, as a remark
            row = next(csv.reader([row[0]], delimiter=separator))
        if any(cell.strip() for cell in row) or len(row) == width:
            found.append((line, row))
        line = above + reader.line_num + 1
    return found


def _whole(reader: Iterator[list[str]], where: str) -> Iterator[list[str]]:
    """Yield what a CSV reader reads; a cell that is as long as a file is a DataError."""
    try:
        yield from reader
    except csv.Error as error:
        fix = "a quote is never closed, or it is no table"
        raise DataError(f"{where} can't be read as columns ({error}): {fix}") from None


def split_names(header: Header, separator: str, where: str) -> list[str]:
    """Return the names of the header as written."""
    return next(_whole(csv.reader([header.text], delimiter=separator), where))


def _cut(rows: list[tuple[int, list[str]]], width: int) -> tuple[list[tuple[int, list[str]]], int]:
    """Return the rows without empty cells beyond the header, and how many had some."""
    is_longer = [len(row) > width and not any(c.strip() for c in row[width:]) for _, row in rows]
    cut = [(n, row[:width] if odd else row) for (n, row), odd in zip(rows, is_longer, strict=True)]
    return cut, sum(is_longer)


def _uneven(
    rows: list[tuple[int, list[str]]],
    widths: Counter[int],
    header: Header,
    names: list[str],
    separator: str,
    content: bytes,
    where: str,
) -> DataError:
    """Return the error that names the line that is at fault, and the fix."""
    usual, often = widths.most_common(1)[0]
    if often == len(rows) or (usual != len(names) and often > len(rows) * 0.9):
        return _odd_header(rows, usual, header, len(names), separator, where)
    line, row = next((line, row) for line, row in rows if len(row) != len(names))
    counts = f"{where}: line {line} has {_values(len(row))}, the header {len(names)}"
    if len(row) > len(names):
        return DataError(f"{counts}: quote a value that holds a {_name_of(separator)}")
    if line == rows[-1][0] and not content.endswith((b"\n", b"\r")):
        return DataError(f"{counts}: the file is truncated; fetch or copy it again")
    remark = ", or remove it if it is a remark" if len(row) == 1 else ""
    return DataError(f"{counts}: add the separators or values that it lacks{remark}")


def _odd_header(
    rows: list[tuple[int, list[str]]],
    usual: int,
    header: Header,
    width: int,
    separator: str,
    where: str,
) -> DataError:
    """Return the error of a header that fits none of the rows."""
    shown = f"'{header.text.strip()[:60]}'"
    line, first = rows[0]
    if usual == 1 and any(other in first[0] for other in SEPARATORS if other != separator):
        other = max((s for s in SEPARATORS if s != separator), key=first[0].count)
        parted = f"its names are parted by the {_name_of(separator)}, its rows by the"
        return DataError(f"{where}: {parted} {_name_of(other)}; use one of them")
    if usual > width and _begins_with_names(rows):
        return title_above(header, where, separator.join(first), line)
    if usual == 1 and len(by_blanks(first[0])) == width:
        parted = f"its names are parted by the {_name_of(separator)}, its rows by blanks"
        return DataError(f"{where}: {parted}; save it with commas")
    which = "a name too many" if width == usual + 1 else "a name too few"
    quote = f", or quote values that hold a {_name_of(separator)}" if usual > width else ""
    which = which if abs(width - usual) == 1 else "other names than the rows have values"
    return DataError(
        f"{where}: {which} in line {header.line}: it has {width} names ({shown}), "
        f"the rows {_values(usual)}; correct that line{quote}"
    )


def _begins_with_names(rows: list[tuple[int, list[str]]]) -> bool:
    """Return whether the first row holds no number, and each of the next ones does."""
    holds = [any(_NUMBER.fullmatch(cell.strip()) for cell in row) for _, row in rows[:6]]
    return len(holds) > 1 and not holds[0] and all(holds[1:])


def title_above(header: Header, where: str, below: str, line: int) -> DataError:
    """Return the error of a title, or the like, above the line that holds the names."""
    return DataError(
        f"{where}: line {header.line} ('{header.text.strip()[:60]}') is no header; line {line} "
        f"looks like it ('{below[:60]}'); remove what is above"
    )


def counted(count: int, what: str) -> str:
    """Return a number of things, as 1 row or 2 rows."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _values(count: int) -> str:
    return counted(count, "value")


def _name_of(separator: str) -> str:
    return SEPARATORS.get(separator, f"'{separator}'")
