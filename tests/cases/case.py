"""A case: an input made by a few lines, what is done with it, and the right values.

One YAML file of this folder holds one case. Its keys are the fields of ``Case``. ``variants``
repeat a case with another table: the same values are right for each.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from lockstep.io import parse_yaml

FOLDER = Path(__file__).parent


class Part(BaseModel):
    """A part of a case's file: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid")


class Edit(Part):
    """What is done to a table's text after it was made."""

    pattern: str
    by: str
    count: int = 0


class Table(Part):
    """A table: each column is an expression of numpy, which sees the columns before it.

    A name that begins with "_" helps the columns after it and is not in the file.
    """

    name: str = "table.csv"
    rows: int = 400
    columns: dict[str, str]
    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    edits: list[Edit] = []

    def write(self, folder: Path) -> Path:
        """Write the file below ``folder``, the same bytes at every call."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter=self.separator, lineterminator="\n")
        made = {k: v for k, v in self._made().items() if not k.startswith("_")}
        writer.writerow(made)
        writer.writerows(zip(*(map(self._cell, v) for v in made.values()), strict=True))
        text = buffer.getvalue()
        for edit in self.edits:
            text = re.sub(edit.pattern, edit.by, text, count=edit.count)
        path = folder / self.name
        path.write_bytes(text.encode(self.encoding))
        return path

    def _made(self) -> dict[str, Any]:
        rng, n = np.random.Generator(np.random.PCG64(7)), self.rows
        known: dict[str, Any] = {"np": np, "pd": pd, "rng": rng, "n": n, "i": np.arange(n)}
        known["noise"] = lambda: rng.normal(size=n)
        known["pick"] = lambda values, p=None: rng.choice(values, n, p=p)
        known["each"] = lambda make: [make(k) for k in range(n)]
        found = {}
        for name, expression in self.columns.items():
            found[name] = known[re.sub(r"\W", "", name)] = _evaluated(expression, known)
        return found

    def _cell(self, value: Any) -> str:
        text = str(value)
        return text.replace(".", self.decimal) if isinstance(value, float) else text


def _evaluated(expression: str, known: dict[str, Any]) -> Any:
    return eval(expression, known)


class Draft(Part):
    """A draft of a problem by this target, and what it must say."""

    target: str
    task: str = ""
    gives: str = ""
    """The drafted task."""
    refused: str = ""
    """What the one line of the error must hold; nothing else is checked then."""
    split: str = ""
    kinds: dict[str, str] = {}
    """Kinds by the file's own column; "left out" for one that is none."""
    says: list[str] = []
    never: list[str] = []
    positive: str = ""


class Tidy(Part):
    """What preprocess makes of the file."""

    rows: int
    classes: dict[str, int] = {}
    missing: dict[str, int] = {}


class Split(Part):
    """What holds between the test rows and all others."""

    newest: str = ""
    """No other row has a later value of this column than any test row."""
    apart: list[str] = []
    """No test row has the values of another row in all of these columns."""


class Scores(Part):
    """What a trained model says: of the file that was trained on, and of records."""

    type: str = "lightgbm"
    same: list[list[str]] = []
    """Files of one record each: all of a list get the same score."""
    unlike: list[list[str]] = []
    """Pairs of files of one record: the scores differ, so that equal ones mean something."""


class Command(Part):
    """A command as typed in a project's folder."""

    run: str
    code: int = 0
    says: list[str] = []
    never: list[str] = []


class Case(Part):
    """One case, named by its file."""

    must: str
    table: Table | None = None
    variants: dict[str, dict[str, Any]] = {}
    draft: Draft | None = None
    tidy: Tidy | None = None
    split: Split | None = None
    scores: Scores | None = None
    project: str = ""
    """A project after `make run-train` ("trained"), for the commands."""
    commands: list[Command] = []
    unchanged: list[str] = []
    """Files and folders of the project whose bytes the commands leave as they are."""


def cases() -> dict[str, Case]:
    """Return all cases by name, one for each variant."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        content = parse_yaml(path.read_text(encoding="utf-8"), path.name)
        variants = content.get("variants") or {"": {}}
        for name, changes in variants.items():
            changed = content | {"table": _merged(content.get("table"), changes)}
            found[f"{path.stem} {name}".strip()] = Case.model_validate(changed)
    return found


def _merged(table: dict[str, Any] | None, changes: dict[str, Any]) -> dict[str, Any] | None:
    """Return the table with a variant's keys; its columns take the place of those of the table."""
    if table is None:
        return None
    columns = table["columns"] | changes.get("columns", {})
    return table | changes | {"columns": columns}
