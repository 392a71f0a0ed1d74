"""The check of a tidy table against its schema: every fault is counted or refused."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from lockstep.config.params import Preprocess
from lockstep.data.values import out_of_range, range_words, typed_column, unknown_codes
from lockstep.errors import DataError, listed
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import EXAMPLES, RawTable, require_columns

MOST_OUT_OF_RANGE = 0.5
"""A column with a larger share out of its range is in another unit."""


@dataclass
class Checked:
    """A tidy table, rows dropped by reason, and what was set to missing by column."""

    table: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    unknown_codes: dict[str, int] = field(default_factory=dict)
    out_of_range: dict[str, int] = field(default_factory=dict)

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
    where = f"the table of {schema.name}"
    require_columns([*schema.feature_names, schema.target], raw.table.columns, where)
    if raw.table.empty:
        raise DataError(f"{where} is empty: {raw.rows_in} rows read, none left; check the source")
    checked = Checked(raw.table, dict(raw.dropped))
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
    _check_dropped(checked, raw.rows_in, rules, schema)
    _check_classes(checked.table, schema)
    checked.table = _final(checked.table, schema)
    return checked


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
    if not count:
        return values
    if count > most * len(values):
        raise DataError(_too_many(column, values[bad], count / len(values), most))
    (checked.unknown_codes if column.codes else checked.out_of_range)[column.name] = count
    return values.mask(bad)


def _too_many(column: Column, bad: pd.Series, share: float, most: float) -> str:
    if column.codes:
        examples = map(_shown, bad.drop_duplicates().sort_values().head(EXAMPLES))
        return (
            f"column {column.name}: {share:.1%} of the rows have unknown codes "
            f"(e.g. {', '.join(examples)}), more than preprocess.max_unknown_codes = {most:g}; "
            f"known: {listed(column.codes, 12)}; add them to the schema, or raise the limit"
        )
    unit = f" than {column.unit}" if column.unit else ""
    return (
        f"column {column.name}: {share:.0%} of the values (e.g. {_shown(float(bad.iloc[0]))}) "
        f"are not {range_words(column)}; is it in another unit{unit}? Correct it, or the schema"
    )


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_dropped(checked: Checked, rows_in: int, rules: Preprocess, schema: Schema) -> None:
    total = sum(checked.dropped.values())
    if total <= rules.max_dropped * rows_in:
        return
    reasons = ", ".join(f"{reason} {count}" for reason, count in checked.dropped.items() if count)
    raise DataError(
        f"{total} of {rows_in} rows of {schema.name} would be dropped ({reasons}), more than "
        f"preprocess.max_dropped = {rules.max_dropped:g}; correct the source, or raise the limit"
    )


def _check_classes(table: pd.DataFrame, schema: Schema) -> None:
    classes = table[schema.target].drop_duplicates()
    if len(classes) > 1:
        return
    only = _shown(classes.iloc[0]) if len(classes) else "none"
    found = f"has one class only ({only}) in {len(table)} rows"
    fix = "add data of the other class, or check how the target is coded"
    if schema.task == "regression":
        found = f"is {only} in all {len(table)} rows"
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
