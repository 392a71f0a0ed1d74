"""One declaration a column: the source of checks, encoder, signature, API, golden rows and docs."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from lockstep.config.params import Strict, validated
from lockstep.errors import ConfigError, UsageError, nearest, unknown
from lockstep.io import parse_yaml, read_utf8, sha256_json

Task = Literal["binary", "multiclass", "regression"]
ColumnKind = Literal[
    "categorical", "ordered", "numeric", "date", "id", "group", "target", "part", "truth"
]
DerivedKind = Literal[
    "cross", "ratio", "difference", "clip", "bin", "weekday", "part_of_day", "cyclic",
    "frequency", "rotate", "spline", "target_encoded", "neighbour_rate",
]  # fmt: skip

PROBLEMS = Path(__file__).parent
CODE_FILES = {"{problem}/schema.yaml": ("title", "columns.*.description", "derived.*.description")}
"""What ``load_schema`` reads; texts for people change no table and no matrix."""
_NAME = re.compile(r"(?!__)\w+")


class Column(Strict):
    """One column of the tidy table."""

    name: str = ""
    kind: ColumnKind
    description: str = ""
    codes: dict[int | str, str] = Field({}, description="allowed codes and their meaning")
    low: float | None = None
    high: float | None = None
    unit: str = ""
    integer: bool = False
    missing: bool = Field(False, description="whether the value may be missing")
    monotone: Literal[-1, 0, 1] = 0
    slice: bool = Field(False, description="whether gates look at each of its levels")
    encode: bool = Field(True, description="whether models see it itself, not only what is derived")
    aliases: list[str] = Field([], description="other names a prepared table may use")
    absent: list[str] = Field([], description="texts of a prepared table that mean: missing")
    spellings: dict[str, str] = Field(
        {}, description="other spellings of a text code in files, each with its code"
    )
    decimal: Literal["", ".", ","] = Field(
        "",
        description="sign before the decimals, where a table's numbers have decimal commas, "
        "thousands separators, currency or percent signs",
    )
    format: str = Field(
        "",
        description="dates of a prepared table, as %d/%m/%Y; epoch_s, epoch_ms, epoch_us, "
        "epoch_ns: since 1970; excel_days: since 1899-12-30; quarter: 2015Q1; week: 2015-W02; "
        "empty: ISO 8601",
    )
    made_of: list[str] = Field(
        [],
        description="columns that a table makes it of: one; a number of two, first per second; "
        "a date of year, month, day (or of year and month)",
    )
    per: float = Field(1.0, gt=0, description="what a number that is made is divided by")

    @property
    def is_feature(self) -> bool:
        """Whether a prediction request carries this column."""
        return self.kind in ("categorical", "ordered", "numeric")

    @property
    def holds_numbers(self) -> bool:
        """Whether the tidy table holds it as float64 (numbers, integer codes) or as text."""
        if self.kind in ("categorical", "ordered", "target") and self.codes:
            return all(isinstance(code, int) for code in self.codes)
        return self.kind in ("numeric", "truth", "target") or self.integer

    @cached_property
    def known_codes(self) -> frozenset[float | str]:
        """The codes as the column's values are: floats or texts."""
        return frozenset(float(code) if self.holds_numbers else str(code) for code in self.codes)


class Derived(Strict):
    """One derived column: a kind of the fixed vocabulary over columns of the table."""

    name: str
    kind: DerivedKind
    of: list[str] = Field(min_length=1)
    options: dict[str, Any] = Field({})
    description: str = ""


class Schema(Strict):
    """A problem's declaration."""

    name: str
    title: str
    task: Task
    unit: str
    registered_name: str = Field(description="base of the registered models' names")
    one_name: bool = Field(False, description="whether all model types share that one name")
    experiment: str = Field(description="MLflow experiment of its runs")
    positive: str = Field("", description="what the positive class means")
    decisions: dict[int | str, str] = Field(
        {}, description="what is done about each class, where that has a word of its own"
    )
    columns: dict[str, Column]
    derived: list[Derived] = Field([])
    left_out: dict[str, str] | None = Field(
        None,
        description="columns of a prepared table not used, and why; where set, others are refused",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_columns(cls, content: Any) -> Any:
        columns = content.get("columns") if isinstance(content, dict) else None
        if isinstance(columns, dict):
            named = {n: {**c, "name": n} if isinstance(c, dict) else c for n, c in columns.items()}
            return {**content, "columns": named}
        return content

    @cached_property
    def features(self) -> list[Column]:
        """The columns a prediction request carries, in their declared order."""
        return [c for c in self.columns.values() if c.is_feature]

    @cached_property
    def feature_names(self) -> list[str]:
        """The names of the features, in their declared order."""
        return [c.name for c in self.features]

    @cached_property
    def feature_aliases(self) -> dict[str, str]:
        """The other names that features have in files, each with the schema's own name."""
        own = set(self.feature_names)
        return {a: c.name for c in self.features for a in c.aliases if a not in own}

    def _one(self, kind: ColumnKind) -> str | None:
        return next((c.name for c in self.columns.values() if c.kind == kind), None)

    @property
    def target(self) -> str:
        """The target column."""
        return self._one("target") or ""

    @property
    def group(self) -> str | None:
        """The column whose rows stay together in every split and resample."""
        return self._one("group")

    @property
    def date(self) -> str | None:
        """The column of a split by time."""
        return self._one("date")

    @property
    def part(self) -> str | None:
        """The column that holds the source's own split, where it has one."""
        return self._one("part")

    @property
    def truth(self) -> str | None:
        """The column that holds the generator's true probability, where it is known."""
        return self._one("truth")

    @property
    def slices(self) -> list[str]:
        """The columns gates look at level by level."""
        return [c.name for c in self.columns.values() if c.slice]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the declaration without defaults, so that new keys do not change it."""
        return sha256_json(self.model_dump(mode="json", exclude_defaults=True))


def safe_name(name: str) -> str:
    """Return a name of letters (of any script), digits and underscores, as all model types take it.

    xgboost refuses [ ] <, lightgbm every sign of JSON; names that begin with __ are the matrices'.
    """
    if _NAME.fullmatch(name):
        return name
    words = re.sub(r"\W+", "_", unicodedata.normalize("NFC", name)).strip("_")
    return words[:60].rstrip("_") or "column"


def problem_names() -> list[str]:
    """Return the names of all problems that have a schema."""
    return sorted(p.parent.name for p in PROBLEMS.glob("*/schema.yaml"))


@lru_cache
def load_schema(problem: str) -> Schema:
    """Read problems/PROBLEM/schema.yaml; UsageError with the nearest name if unknown."""
    path = PROBLEMS / problem / "schema.yaml"
    if not path.is_file():
        raise UsageError(unknown("problem", problem, problem_names()))
    return read_schema(path)


def read_schema(path: Path, strict: bool = True) -> Schema:
    """Read and check one schema file; its letters are composed, as those of every table.

    One that was stored with a model is read as before: ``strict`` is False.
    """
    text = read_utf8(path)
    content = parse_yaml(unicodedata.normalize("NFC", text), str(path), strict)
    schema = validated(Schema, content, str(path))
    _check_schema(schema, path)
    return schema


def _check_schema(schema: Schema, path: Path) -> None:
    targets = [c.name for c in schema.columns.values() if c.kind == "target"]
    if len(targets) != 1:
        raise ConfigError(f"{path}: exactly one column must have kind target, found {len(targets)}")
    for name in [*schema.columns, *(derived.name for derived in schema.derived)]:
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{path}: a column is called {name!r}; not every model type takes such a name: "
                f"call it {safe_name(name)} and put {name!r} among its aliases"
            )
    known = set(schema.columns)
    for derived in schema.derived:
        for name in derived.of:
            if name not in known:
                raise ConfigError(
                    f"{path}: derived column {derived.name} uses unknown column "
                    f"'{name}'{nearest(name, known)}"
                )
            if name in schema.columns and schema.columns[name].kind == "date":
                raise ConfigError(
                    f"{path}: derived column {derived.name} uses the date '{name}', which a "
                    "prediction has not; give it columns with the year, the month and the day"
                )
        if derived.name in known:
            raise ConfigError(
                f"{path}: a column called '{derived.name}' is there twice; rename one"
            )
        known.add(derived.name)
