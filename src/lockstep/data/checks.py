"""What a table or a record must hold to fit its schema; faults are counted or refused, never passed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from lockstep.config.params import Preprocess
from lockstep.errors import DataError, nearest
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import EXAMPLES, RawTable, require_columns

MOST_OUT_OF_RANGE = 0.5
"""A column with more values out of its range is in another unit, not in error here and there."""


@dataclass
class Checked:
    """A tidy table, rows dropped by reason, and what was set to missing by column."""

    table: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    unknown_codes: dict[str, int] = field(default_factory=dict)
    out_of_range: dict[str, int] = field(default_factory=dict)


def check_table(schema: Schema, raw: RawTable, rules: Preprocess) -> Checked:
    """Return the tidy table: the schema's columns in its order and dtypes, rows by date, group and id.

    Unknown codes and values out of range become missing and are counted; rows that miss what may not be
    missing are dropped and counted. Too many of either, no rows, or one class only: DataError.
    """
    require_columns(
        [*schema.feature_names, schema.target], raw.table.columns, f"the table of {schema.name}"
    )
    if raw.table.empty:
        raise DataError(
            f"the table of {schema.name} is empty: {raw.rows_in} rows read, none left; check the source"
        )
    checked = Checked(raw.table, dict(raw.dropped))
    checked.table = _without_copies(raw.table, schema, rules, checked)
    columns = {}
    for column in schema.columns.values():
        values = _present(checked.table, column)
        values = _known_codes(values, column, rules, checked) if column.codes else values
        columns[column.name] = _in_range(values, column, checked)
    checked.table = _complete_rows(pd.DataFrame(columns), schema, checked)
    _check_dropped(checked, raw.rows_in, rules, schema)
    _check_classes(checked.table, schema)
    checked.table = _sorted(_final_types(checked.table, schema), schema)
    return checked


def _without_copies(
    table: pd.DataFrame, schema: Schema, rules: Preprocess, checked: Checked
) -> pd.DataFrame:
    """Drop rows that repeat another in every column but the id, and count them, where the rules say so."""
    if rules.duplicates == "keep":
        return table
    told = [c.name for c in schema.columns.values() if c.kind != "id" and c.name in table]
    copies = table.duplicated(told)
    if not copies.any():
        return table
    checked.dropped["duplicate"] = int(copies.sum())
    return table[~copies]


def _present(table: pd.DataFrame, column: Column) -> pd.Series:
    """Return a column, or one that is missing throughout: only a source's part and truth may be absent."""
    if column.name in table.columns:
        return table[column.name]
    if not column.missing:
        raise DataError(
            f"the source has no '{column.name}' ({column.kind}) and nothing to make it of; add it"
        )
    return pd.Series(
        float("nan"), index=table.index, dtype="float64" if column.holds_numbers else "str"
    )


def _known_codes(
    values: pd.Series, column: Column, rules: Preprocess, checked: Checked
) -> pd.Series:
    codes = list(column.codes) if column.holds_numbers else [str(code) for code in column.codes]
    unknown = values.notna() & ~values.isin(pd.Series(codes, dtype=values.dtype))
    count = int(unknown.sum())
    if not count:
        return values
    if count > rules.max_unknown_codes * len(values):
        examples = ", ".join(
            _shown(v) for v in values[unknown].drop_duplicates().sort_values().head(EXAMPLES)
        )
        raise DataError(
            f"column {column.name}: {count / len(values):.1%} of the rows have unknown codes (e.g. {examples}), more "
            f"than preprocess.max_unknown_codes = {rules.max_unknown_codes:g}; known: {_few(codes)}; "
            "add them to the schema, or raise the limit"
        )
    checked.unknown_codes[column.name] = count
    return values.mask(unknown)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _few(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items[:12]) + (" …" if len(items) > 12 else "")


def _in_range(values: pd.Series, column: Column, checked: Checked) -> pd.Series:
    """Set values out of low and high (or no integers where it must be) to missing, and count them."""
    if not column.holds_numbers or column.codes:
        return values
    outside = values.notna() & ~_within(values, column)
    count = int(outside.sum())
    if not count:
        return values
    if count > MOST_OUT_OF_RANGE * len(values):
        example = _shown(float(values[outside].iloc[0]))
        raise DataError(
            f"column {column.name}: {count / len(values):.0%} of the values (e.g. {example}) are not {_range(column)}; "
            f"is it in another unit{f' than {column.unit}' if column.unit else ''}? Correct it, or the schema"
        )
    checked.out_of_range[column.name] = count
    return values.mask(outside)


def _within(values: Any, column: Column) -> Any:
    """Return whether numbers (an array or Series) are in a column's range."""
    good = values == values
    if column.low is not None:
        good &= values >= column.low
    if column.high is not None:
        good &= values <= column.high
    return good & (np.floor(values) == values) if column.integer else good


def _range(column: Column) -> str:
    what = "whole numbers" if column.integer else "numbers"
    low, high = column.low, column.high
    if low is not None and high is not None:
        return f"{what} from {low:.12g} to {high:.12g}"
    if low is not None:
        return f"{what} from {low:.12g}"
    return f"{what} up to {high:.12g}" if high is not None else what


def _complete_rows(table: pd.DataFrame, schema: Schema, checked: Checked) -> pd.DataFrame:
    """Drop the rows that miss a value which may not be missing, counted by the first such column."""
    for column in schema.columns.values():
        if not column.missing:
            lacks = table[column.name].isna()
            if lacks.any():
                checked.dropped[f"no_{column.name}"] = int(lacks.sum())
                table = table[~lacks]
    return table


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
    if schema.task == "regression":
        raise DataError(
            f"the target {schema.target} is {only} in all {len(table)} rows; nothing can be learned: "
            "check which column is the target, and that it was read whole"
        )
    raise DataError(
        f"the target {schema.target} has one class only ({only}) in {len(table)} rows; nothing can be learned: "
        "add data of the other class, or check how the target is coded"
    )


def _final_types(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Return class codes as int64; all else has its dtype since it was read."""
    target = schema.columns[schema.target]
    return (
        table.astype({schema.target: "int64"}) if target.codes and target.holds_numbers else table
    )


def _sorted(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    by = [
        c.name
        for kind in ("date", "group", "id")
        for c in schema.columns.values()
        if c.kind == kind
    ]
    return (
        table.sort_values(by, kind="stable", ignore_index=True)
        if by
        else table.reset_index(drop=True)
    )


def check_record(schema: Schema, record: Mapping[str, object], where: str = "the record") -> None:
    """Raise a DataError that lists what a prediction's record misses, has too much, or has out of bounds.

    Every feature must be there; None (or NaN) is a missing value where the schema allows one. 2.0 passes for
    the code 2, the text "2" does not.
    """
    if not isinstance(record, Mapping):
        raise DataError(
            f"{where} is no object of feature names and values; give one like the input example"
        )
    faults = [*_missing_names(schema, record), *_extra_names(schema, record)]
    for column in schema.features:
        fault = _fault(column, record[column.name]) if column.name in record else None
        faults += [fault] if fault else []
    if faults:
        shown = "; ".join(faults[:EXAMPLES])
        more = f"; and {len(faults) - EXAMPLES} more faults" if len(faults) > EXAMPLES else ""
        raise DataError(f"{where} does not fit {schema.name}: {shown}{more}")


def _missing_names(schema: Schema, record: Mapping[str, object]) -> list[str]:
    absent = [name for name in schema.feature_names if name not in record]
    return [f"missing {', '.join(absent)} (null is allowed where unknown)"] if absent else []


def _extra_names(schema: Schema, record: Mapping[str, object]) -> list[str]:
    extra = [name for name in record if name not in schema.feature_names]
    absent = [name for name in schema.feature_names if name not in record]
    named = [f"{name}{nearest(name, absent or schema.feature_names)}" for name in extra[:EXAMPLES]]
    more = f" and {len(extra) - EXAMPLES} more" if len(extra) > EXAMPLES else ""
    return [f"no feature is called {', '.join(named)}{more}"] if extra else []


def _fault(column: Column, value: object) -> str | None:
    """Return what is wrong with one value, or None."""
    if value is None or value != value:
        return None if column.missing else f"{column.name} must not be missing"
    if column.holds_numbers:
        return _number_fault(column, value)
    if not isinstance(value, str):
        return f"{column.name} = {value!r} must be text"
    return None if not column.codes or value in _codes(column) else _code_fault(column, value)


def _number_fault(column: Column, value: object) -> str | None:
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        return f"{column.name} = {_clipped(value)} must be a number, not {type(value).__name__}"
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number - number != 0:
        return f"{column.name} = {_clipped(value)} must be finite"
    if column.codes:
        return None if number in _codes(column) else _code_fault(column, value)
    return (
        None
        if _within(number, column)
        else f"{column.name} = {number:.12g} is not among {_range(column)}"
    )


def _code_fault(column: Column, value: object) -> str:
    null = ", or null" if column.missing else ""
    return f"{column.name} = {_clipped(value)} is no known code ({_few(list(column.codes))}{null})"


def _clipped(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


@lru_cache(maxsize=1024)
def _code_set(codes: tuple[int | str, ...], numbers: bool) -> frozenset[float | str]:
    return frozenset(float(c) if numbers else str(c) for c in codes)


def _codes(column: Column) -> frozenset[float | str]:
    return _code_set(tuple(column.codes), column.holds_numbers)


def records_to_table(schema: Schema, records: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return the features of checked records, with the tidy table's dtypes and order.

    The first record that does not fit is a DataError that names its number.
    """
    if not records:
        raise DataError("no records: give at least one")
    records = _under_own_names(schema, records)
    names = set(schema.feature_names)
    if any(not isinstance(record, Mapping) or record.keys() != names for record in records):
        _refuse_first(schema, records)
    columns = {
        c.name: _checked_values(c, [record[c.name] for record in records]) for c in schema.features
    }
    if any(values is None for values in columns.values()):
        _refuse_first(schema, records)
    return pd.DataFrame(columns)


def _under_own_names(
    schema: Schema, records: Sequence[Mapping[str, object]]
) -> Sequence[Mapping[str, object]]:
    """Return records under the schema's names, where they were given under those of the file (aliases)."""
    own = set(schema.feature_names)
    names = {alias: c.name for c in schema.features for alias in c.aliases if alias not in own}
    if not names or not any(
        isinstance(record, Mapping) and names.keys() & record.keys() for record in records
    ):
        return records
    return [
        _renamed(record, names) if isinstance(record, Mapping) else record for record in records
    ]


def _renamed(record: Mapping[str, object], names: Mapping[str, str]) -> Mapping[str, object]:
    """Return a record under other names; one that has a value under both keeps the alias, which is refused."""
    return {
        names[key] if key in names and names[key] not in record else key: value
        for key, value in record.items()
    }


def _refuse_first(schema: Schema, records: Sequence[Mapping[str, object]]) -> None:
    for number, record in enumerate(records, start=1):
        check_record(schema, record, f"record {number}" if len(records) > 1 else "the record")
    raise AssertionError("the vectorised check refused what the record check passes")


def _checked_values(column: Column, values: list[Any]) -> np.ndarray | pd.Series | None:
    """Return one feature of many records, or None when one of them does not fit."""
    if not column.holds_numbers:
        return _checked_text(column, values)
    kinds = set(map(type, values))
    if any(kind is not type(None) and _unfit(kind) for kind in kinds):
        return None
    try:
        out = np.array(values, dtype=np.float64)  # None becomes NaN
    except OverflowError:
        return None
    known = (
        np.isin(out, list(_codes(column)))
        if column.codes
        else _within(out, column) & np.isfinite(out)
    )
    good = known | np.isnan(out) if column.missing else known
    return out if good.all() else None


def _unfit(kind: type) -> bool:
    return issubclass(kind, bool | str) or not hasattr(kind, "__float__")


def _checked_text(column: Column, values: list[Any]) -> pd.Series | None:
    if any(_fault(column, value) for value in values):
        return None
    return pd.Series(
        [None if value is None or value != value else value for value in values], dtype="str"
    )
