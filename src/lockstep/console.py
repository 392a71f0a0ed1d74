"""What commands share: a parser with one-line errors, tables for people, JSON for programs."""

from __future__ import annotations

import argparse
import json
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from lockstep.errors import UsageError, nearest

_SECRET = re.compile(
    r"([\w.-]*(?:password|passwd|pwd|token|secret)[\w.-]*=)[^\s&;'\"]+", re.IGNORECASE
)
"""A parameter of a URI whose value nobody may see."""


class Parser(argparse.ArgumentParser):
    """An argument parser that takes options only as they are spelt and fails with one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise the fault as a usage error, with the command that explains the options."""
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        hint = (
            nearest(wrong[1], [name.strip("'") for name in wrong[2].split(", ")]) if wrong else ""
        )
        raise UsageError(f"{visible(message)}{hint}; see `{self.prog} --help`")


def visible(text: str) -> str:
    """Return text with line breaks, ANSI escapes and other control characters as ``\\x1b``.

    Whoever may write to a registry can put them in a tag or a name; printed, they would forge
    lines.
    """
    return "".join(c if _plain(c) else c.encode("unicode_escape").decode() for c in text)


def without_password(uri: str) -> str:
    """Return a URI, or a message with URIs, with every password and token replaced by ``***``.

    A user without a password counts as a token before the host of a web address.
    """
    # A password may hold a slash or a sign @, though it should be percent-encoded.
    shown = re.sub(r"(//[^/@:\s]*):(?:\S*|[^/]*)@", r"\1:***@", uri)
    shown = re.sub(r"(https?://)[^/@:\s]+@", r"\1***@", shown, flags=re.IGNORECASE)
    return _SECRET.sub(r"\1***", shown)


def check_plain(what: str, text: str) -> None:
    """Raise a UsageError for text that could move a terminal's cursor or begin a line."""
    if not (text.isprintable() or all(map(_plain, text))):
        raise UsageError(f"{what} holds control characters or line breaks; give plain text")


def _plain(character: str) -> bool:
    """Return whether a character is shown; for Python, French's narrow spaces are unprintable."""
    return character.isprintable() or unicodedata.category(character) == "Zs"


def documented_parser(command: str, text: str | None) -> Parser:
    """Return the parser of a command whose help keeps the line breaks of ``text``."""
    return Parser(
        prog=command, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )


TRACKING_URI = (
    "tracking URI of the registry; overrides MLFLOW_TRACKING_URI, DAGSHUB_REPO, .env and "
    "model_config.yaml"
)
"""The help of the option --tracking-uri."""


def common_options(parser: argparse.ArgumentParser, default: Any = argparse.SUPPRESS) -> None:
    """Add the options every command of the registry has, before or after a subcommand."""
    parser.add_argument("--tracking-uri", metavar="URI", default=default, help=TRACKING_URI)
    plain = False if default is None else default
    parser.add_argument(
        "--json", action="store_true", default=plain, help="print JSON for programs"
    )


def add_options(
    parser: argparse._ActionsContainer, options: Mapping[str, tuple[Any, ...]]
) -> list[argparse.Action]:
    """Add options to a parser or group: by flag the metavariable, help and type of its value.

    The type is text unless one is given. An option without a metavariable is a switch.
    """
    actions = []
    for flag, (metavar, text, *kind) in options.items():
        settings = {"metavar": metavar} if metavar else {"action": "store_true"}
        settings |= {"type": kind[0]} if kind else {}
        actions.append(parser.add_argument(flag, help=text, **settings))
    return actions


def aligned(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a table with aligned columns, without columns that are empty in every row."""
    heads = [h for h in rows[0] if any(row.get(h) not in (None, "") for row in rows)]
    cells = [[h.upper() for h in heads], *([_cell(row.get(h)) for h in heads] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    right = [all(isinstance(row.get(h), int | float | None) for row in rows) for h in heads]
    return "\n".join(_line(line, widths, right) for line in cells)


def number_text(value: float) -> str:
    """Return a figure with four decimals; one too small for those with three digits."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.3g}"


def difference_text(value: float) -> str:
    """Return a difference with its sign and four decimals; one too small for those with two digits.

    So only none at all is shown as zero.
    """
    return f"{value:+.4f}" if value == 0 or abs(value) >= 0.00005 else f"{value:+.1e}"


def listed(facts: Mapping[str, Any]) -> str:
    """Return facts one a line, values aligned, groups indented, without empty facts."""
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        inner = value if isinstance(value, dict) else {}
        flat |= {key: "" if inner else value, **{f"  {name}": item for name, item in inner.items()}}
    shown = {k: v for k, v in flat.items() if v not in (None, [], {}) and (v != "" or facts.get(k))}
    width = max(len(key) for key in shown)
    return "\n".join(f"{key:<{width}}  {_cell(value)}".rstrip() for key, value in shown.items())


def as_json(content: Any) -> str:
    """Return JSON for programs: indented, keys in their given order."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(c if _plain(c) or c == "\n" else json.dumps(c)[1:-1] for c in text)


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, right, strict=True))
    return "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number_text(value)
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return visible(str(value))


def warn(message: object) -> None:
    """Print a warning on stderr."""
    print(f"⚠ {message}", file=sys.stderr)
