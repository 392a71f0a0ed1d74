"""The check of a tidy table against its schema: every fault is counted or refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from lockstep.config.params import Preprocess
from lockstep.data.values import out_of_range, range_words, typed_column, unknown_codes
from lockstep.errors import DataError, listed
from lockstep.problems.schema import Column, Schema
from lockstep.problems.shares import Share, check_shares
from lockstep.problems.text_tables import EXAMPLES, RawTable, require_columns

MOST_OUT_OF_RANGE = 0.5
"""A column with a larger share out of its range is in another unit."""


@dataclass
class Checked:
    """A tidy table, rows read and dropped, what was set to missing by column, and its shares."""

    table: pd.DataFrame
    rows_in: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unknown_codes: dict[str, int] = field(default_factory=dict)
    out_of_range: dict[str, int] = field(default_factory=dict)
    shares: dict[str, Share] = field(default_factory=dict)

    def drop(self, rows: pd.Series, reason: str) -> None:
        """Drop these rows, and count them where there are any."""
        if rows.any():
            self.dropped[reason] = int(rows.sum())
            self.table = self.table[~rows]


def check_table(schema: Schema, raw: RawTable, rules: Preprocess) -> Checked:
    """Return the tidy table: columns and dtypes of the schema, rows by date, group and id.

    Unknown codes and values out of range become missing, rows without a required value are dropped;
    both are counted. Too many of either, no rows, or one class only are a DataError.
    """
    refuse_empty(schema, raw)
    checked = part_table(schema, raw, rules)
    judge(checked, checked.table[schema.target].drop_duplicates(), schema, rules)
    return checked


def refuse_empty(schema: Schema, raw: RawTable) -> None:
    """Raise a DataError for a whole source of which no row is left."""
    if raw.table.empty:
        what = f"the table of {schema.name} is empty: {raw.rows_in} rows read, none left"
        raise DataError(f"{what}; check the source")


def part_table(schema: Schema, raw: RawTable, rules: Preprocess) -> Checked:
    """Return the same of one part of a source: every fault is counted, and none is judged yet."""
    where = f"the table of {schema.name}"
    require_columns([*schema.feature_names, schema.target], raw.table.columns, where)
    checked = Checked(raw.table, raw.rows_in, dict(raw.dropped), shares=dict(raw.shares))
    if rules.duplicates == "drop":
        checked.drop(_copies(raw), "duplicate")
    columns = {
        column.name: _fitting(_present(checked.table, column), column, rules, checked)
        for column in schema.columns.values()
    }
    checked.table = pd.DataFrame(columns)
    for column in schema.columns.values():
        if not column.missing:
            checked.drop(checked.table[column.name].isna(), f"no_{column.name}")
    checked.table = _final(checked.table, schema)
    return checked


def judge(checked: Checked, classes: pd.Series, schema: Schema, rules: Preprocess) -> None:
    """Raise a DataError for too many faults, too many dropped rows, or one class of the target."""
    check_shares(checked.shares)
    _check_dropped(checked, rules, schema)
    _check_classes(classes, checked.rows_in - sum(checked.dropped.values()), schema)


def _copies(raw: RawTable) -> pd.Series:
    """Return which rows repeat an earlier one in every column there is."""
    if raw.copies is None:
        return raw.table.duplicated()
    return pd.Series(raw.copies, index=raw.table.index)


def _present(table: pd.DataFrame, column: Column) -> pd.Series:
    """Return a column, or an empty one: only a source's part and truth may be absent."""
    if column.name in table.columns:
        return table[column.name]
    if not column.missing:
        named = f"'{column.name}' ({column.kind})"
        raise DataError(f"the source has no {named} and nothing to make it of; add it")
    return typed_column(column, [None] * len(table)).set_axis(table.index)


def _fitting(values: pd.Series, column: Column, rules: Preprocess, checked: Checked) -> pd.Series:
    """Set unknown codes, and numbers out of range or not whole, to missing, and count them."""
    if column.codes:
        bad, most = unknown_codes(column, values), rules.max_unknown_codes
    elif column.holds_numbers:
        bad, most = out_of_range(column, values), MOST_OUT_OF_RANGE
    else:
        return values
    count = int(bad.sum())
    checked.shares[column.name] = _share(column, values[bad], len(values), most)
    if not count:
        return values
    (checked.unknown_codes if column.codes else checked.out_of_range)[column.name] = count
    return values.mask(bad)


def _share(column: Column, bad: pd.Series, rows: int, most: float) -> Share:
    """Return the share of a column's bad values, with the message for too many."""
    if column.codes:
        examples = map(_shown, bad.drop_duplicates().sort_values().head(EXAMPLES))
        fault = (
            f"column {_literal(column.name)}: {{share:.1%}} of the rows have unknown codes (e.g. "
            f"{{examples}}), more than preprocess.max_unknown_codes = {most:g}; known: "
            f"{_literal(listed(column.codes, 12))}; add them to the schema, or raise the limit"
        )
        return Share(len(bad), rows, most, fault, tuple(examples))
    unit = f" than {column.unit}" if column.unit else ""
    words = _literal(f"{range_words(column)}; is it in another unit{unit}")
    fault = (
        f"column {_literal(column.name)}: {{share:.0%}} of the values (e.g. {{examples}}) are not "
        f"{words}? Correct it, or the schema"
    )
    return Share(len(bad), rows, most, fault, tuple(_shown(float(v)) for v in bad.head(1)))


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_dropped(checked: Checked, rules: Preprocess, schema: Schema) -> None:
    total = sum(checked.dropped.values())
    if total <= rules.max_dropped * checked.rows_in:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in checked.dropped.items() if count)
    raise DataError(
        f"{total} of {checked.rows_in} rows of {schema.name} would be dropped ({reasons}), more "
        f"than preprocess.max_dropped = {rules.max_dropped:g}; correct the source, or raise the "
        "limit"
    )


def _check_classes(classes: pd.Series, rows: int, schema: Schema) -> None:
    if len(classes) > 1:
        return
    only = _shown(classes.iloc[0]) if len(classes) else "none"
    found = f"has one class only ({only}) in {rows} rows"
    fix = "add data of the other class, or check how the target is coded"
    if schema.task == "regression":
        found = f"is {only} in all {rows} rows"
        fix = "check which column is the target, and that it was read whole"
    raise DataError(f"the target {schema.target} {found}; nothing can be learned: {fix}")


def _final(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return class codes as int64, and the rows by date, group and id."""
    target = schema.columns[schema.target]
    if target.codes and target.holds_numbers:
        table = table.astype({schema.target: "int64"})
    kinds = ("date", "group", "id")
    by = [c.name for kind in kinds for c in schema.columns.values() if c.kind == kind]
    return table.sort_values(by, kind="stable").reset_index(drop=True)
