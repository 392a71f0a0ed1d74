"""Columns of a Parquet file, read as records to predict are: a cell means the same in both.

``data/records.py`` reads rows one by one. Here each distinct cell of a column is read and checked
once, so that a million rows take seconds; rows that do not fit are marked, not raised.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lockstep.data.coded_texts import CodedTexts
from lockstep.data.records import RowReader, check_row, unknown_name
from lockstep.data.values import (
    boolean_values,
    column_check,
    comma_cell,
    fit_check,
    json_values,
    made_numbers,
    of_numbers,
    out_of_range,
    read_cells,
)
from lockstep.errors import DataError, nearest
from lockstep.problems.schema import Column, Schema
from lockstep.problems.text_tables import composed_cells, holds_decimals, trimmed

Cells = Mapping[str, Any]
"""The columns of a part of a file by name: pyarrow arrays, all of one length."""
Values = NDArray[Any] | CodedTexts
"""A feature's values: float64 with NaN, or texts."""
_NUMBER = Column(name="number", kind="numeric", missing=True)
_LARGEST = sys.float_info.max


class ColumnReader:
    """Reads the features out of a file's columns. Built once from the schema and their names.

    Columns that are no features are left alone. A feature that is missing, or comes up under two
    names, is a DataError that begins with ``where``.
    """

    def __init__(self, schema: Schema, given: Sequence[str], where: str) -> None:
        self.schema, self._rows, self._where = schema, RowReader(schema), where
        names = self._rows.names_of(tuple(given))
        self._kept = {own: name for name, own in names.kept if own in schema.feature_names}
        self._made = {column.name: of for column, of in names.made}
        self._refuse_twins([name for name, own in names.kept if own not in self._kept], where)
        absent = [n for n in schema.feature_names if n not in (*self._kept, *self._made)]
        if absent:
            hint = nearest(absent[0], [n for n in given if n not in self._kept.values()])
            raise DataError(f"{where} lacks {', '.join(absent)}{hint}; add it, empty where unknown")

    def read(self, cells: Cells, rows: int) -> tuple[dict[str, Values], NDArray[np.bool_]]:
        """Return the features as ``scorer.Columns``, and which rows fit the schema.

        In rows that do not fit, values have no meaning.
        """
        columns, faults = self.read_counted(cells, rows)
        return columns, faults == 0

    def read_counted(self, cells: Cells, rows: int) -> tuple[dict[str, Values], NDArray[np.int64]]:
        """Return the features as ``scorer.Columns``, and how many values of each row don't fit."""
        columns, faults = {}, np.zeros(rows, dtype=np.int64)
        for column in self.schema.features:
            try:
                columns[column.name], good = self._column(column, cells)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                fault = f"{self._where}: {self._named(column)} holds no single values ({error})"
                raise DataError(f"{fault}; write it as text") from None
            if not good.all():
                faults += ~good
        return columns, faults

    def reasons(self, cells: Cells, numbers: Sequence[int]) -> list[str]:
        """Return why each of these rows does not fit, as a prediction of the file says it.

        ``numbers`` are their places in the file, from 1.
        """
        return [
            self._reason(row, number)
            for row, number in zip(self.records(cells), numbers, strict=True)
        ]

    def records(self, cells: Cells) -> list[Any]:
        """Return rows as records of plain values, as ``RowReader`` reads them; unchecked."""
        flags = {n for own, n in self._kept.items() if not self.schema.columns[own].holds_numbers}
        names = [*self._kept.values(), *(name for of in self._made.values() for name in of)]
        commas = {n for own, n in self._kept.items() if self.schema.columns[own].decimal == ","}
        texts = {
            name: _plain_cells(cells[name], name in flags, name in commas)
            for name in dict.fromkeys(names)
        }
        records = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]
        return self._rows.read(records)

    def _reason(self, row: Any, number: int) -> str:
        try:
            check_row(self.schema, row, f"record {number}")
        except DataError as error:
            return str(error)
        raise AssertionError("the check of columns refused what the check of values passes")

    def _refuse_twins(self, others: Sequence[str], where: str) -> None:
        for name in others:
            (_, own), *_ = self._rows.names_of((name,)).kept
            if own in self.schema.feature_names:
                raise DataError(f"{where}: {unknown_name(self.schema, name, ())}")

    def _column(self, column: Column, cells: Cells) -> tuple[Values, NDArray[np.bool_]]:
        """Return a feature's values, and which of them fit."""
        if column.name in self._kept:
            return _read(column, cells[self._kept[column.name]], is_own=True)
        parts = [cells[name] for name in self._made[column.name]]
        return _made(column, parts) if column.holds_numbers else _read(column, parts[0])

    def _named(self, column: Column) -> str:
        return self._kept.get(column.name) or " and ".join(self._made[column.name])


def _read(column: Column, given: Any, is_own: bool = False) -> tuple[Values, NDArray[np.bool_]]:
    """Read a column's distinct cells; a boolean that is its ``own`` becomes one of its codes."""
    if _are_themselves(column, given):
        return numbers_that_fit(column, given)
    if holds_decimals(given.type):
        column = of_numbers(column)
    coded = _coded(given)
    if is_own and not column.holds_numbers and pa.types.is_boolean(coded.dictionary.type):
        meant = boolean_values(column)
        values: list[Any] = [meant.get(cell, cell) for cell in coded.dictionary.to_pylist()]
    else:
        values = _distinct(column, text_cells(coded.dictionary))
    if coded.indices.null_count:
        values.append(None)
    good = _fitting(column, values)
    known = [value if fits else None for value, fits in zip(values, good, strict=True)]
    # As int64: a narrow index has no place for one more value.
    places = coded.indices.cast(pa.int64()).fill_null(len(values) - 1)
    codes = places.to_numpy(zero_copy_only=False)
    if column.holds_numbers:
        return np.array(known, dtype=np.float64)[codes], good[codes]
    return CodedTexts(known, codes), good[codes]


def _are_themselves(column: Column, given: Any) -> bool:
    """Tell whether each number of an array means itself, so that no cell of text is needed.

    A code may have other spellings, and a number may mean a missing value. A float32 means its
    shortest decimal.
    """
    plain = pa.types.is_integer(given.type) or pa.types.is_float64(given.type)
    meant = column.codes or column.absent
    return bool(plain and column.holds_numbers and not meant)


def numbers_that_fit(column: Column, given: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return numbers that mean themselves, and which of them fit; null and NaN are missing."""
    values = given.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    good = ~out_of_range(column, values, _LARGEST)
    return values, good if column.missing else good & ~np.isnan(values)


def _made(column: Column, parts: Sequence[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Make a feature of one number, or of two; a part that is no number does not fit."""
    numbers, good = zip(*(_read(_NUMBER, part) for part in parts), strict=True)
    values = made_numbers(column, numbers)
    return values, np.logical_and.reduce([*good, _fitting(column, json_values(values.tolist()))])


def _coded(given: Any) -> Any:
    """Return an array dictionary-encoded; what has no plain cells becomes text before."""
    if pa.types.is_dictionary(given.type):
        return given
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
    plain = any(is_kind(given.type) for is_kind in kinds)
    return (given if plain else text_cells(given)).dictionary_encode()


def _distinct(column: Column, cells: Any) -> list[Any]:
    """Return what distinct cells mean: a float, a text, or None; no number stays the cell."""
    values, bad = read_cells(column, cells)
    found = list(json_values(values.tolist()))
    for place in np.flatnonzero(bad).tolist():
        found[place] = cells[place].as_py()
    return found


def _fitting(column: Column, values: Sequence[Any]) -> NDArray[np.bool_]:
    """Return which values fit a column."""
    if column_check(column)(values) is not None:
        return np.ones(len(values), dtype=bool)
    return np.fromiter(map(fit_check(column), values), dtype=bool, count=len(values))


def text_cells(column: Any) -> Any:
    """Return a column's cells as a file of text holds them: trimmed, with composed letters."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return composed_cells(trimmed(column))


def _plain_cells(column: Any, keeps_booleans: bool, has_commas: bool) -> list[Any]:
    if keeps_booleans and pa.types.is_boolean(column.type):
        return list(column.to_pylist())
    cells = text_cells(column).to_pylist()
    if has_commas and holds_decimals(column.type):
        return [cell and comma_cell(cell) for cell in cells]
    return list(cells)
