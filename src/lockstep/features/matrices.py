"""Encoded matrices: what models fit on and are evaluated on, one table a part."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lockstep.config.layout import PARTS
from lockstep.errors import DataError, listed
from lockstep.features.columns_v1 import ColumnEncoder
from lockstep.features.encoder import input_columns
from lockstep.features.matrix_columns import CLASSES, GROUP, ROW, TARGET, TRUTH
from lockstep.features.split import group_codes
from lockstep.problems.schema import Schema


def classes_of(table: pd.DataFrame, schema: Schema) -> list[Any]:
    """Return the target's classes in encoded order, the positive one last; none for regression.

    For a multiclass target, those that occur: a model can't learn a class without rows.
    """
    if schema.task == "regression":
        return []
    codes = schema.columns[schema.target].codes
    classes = list(codes) or sorted(table[schema.target].unique().tolist())
    if schema.task == "binary" and len(classes) != 2:
        raise DataError(
            f"the target '{schema.target}' has {len(classes)} classes ({listed(classes)}); "
            f"{schema.name} is binary and needs two: check the source, or set task in its "
            "schema.yaml"
        )
    if schema.task == "binary":
        return classes
    seen = set(table[schema.target].unique().tolist())
    found = [_as_whole(label) for label in classes if label in seen]
    if len(found) == 2:
        raise DataError(
            f"the target '{schema.target}' has two classes ({found[0]}, {found[1]}); "
            f"set task: binary in the schema.yaml of {schema.name}"
        )
    return found


def _as_whole(label: Any) -> Any:
    """Return a class that was read as a float as the whole number it is."""
    return int(label) if isinstance(label, float) and label.is_integer() else label


def encode_parts(
    table: pd.DataFrame,
    parts: pd.Series,
    schema: Schema,
    classes: list[Any],
    encoder: ColumnEncoder,
) -> dict[str, pd.DataFrame]:
    """Fit the encoder on the training rows and return every part's matrix, by part.

    A matrix has the encoded columns (float64), then ``__target__`` (place among the classes as
    int8; float64 for regression), ``__group__`` (uint64 hash), ``__row__`` (row of the tidy table,
    int64) and, where known, ``__truth__``.
    """
    target, group = encoded_target(table, schema, classes), group_codes(table, schema)
    check_parts(parts, target, classes, schema)
    if schema.task == "multiclass":
        setattr(encoder, CLASSES, classes)
    matrices = {}
    for part in PARTS:
        chosen = (parts == part).to_numpy()
        inputs = table.loc[chosen, input_columns(schema)].reset_index(drop=True)
        if part == "train":
            encoded = _fitted(encoder, inputs, target[chosen], group[chosen], schema)
        else:
            encoded = encoder.transform(inputs)
        matrices[part] = encoded.assign(**_known(table, schema, chosen, target, group))
    return matrices


def _fitted(
    encoder: ColumnEncoder, inputs: pd.DataFrame, target: Any, group: Any, schema: Schema
) -> pd.DataFrame:
    # scikit-learn's TargetEncoder takes the places of several classes as int64 only
    wide = target.astype("int64") if schema.task == "multiclass" else target
    with encoding(schema):
        return encoder.fit_transform(inputs, wide, group)


@contextmanager
def encoding(schema: Schema) -> Iterator[None]:
    """Raise the encoder's errors as a DataError: it travels alone and knows no error of ours."""
    try:
        yield
    except ValueError as error:
        raise DataError(f"the columns of {schema.name} can't be encoded: {error}") from error


def _known(
    table: pd.DataFrame, schema: Schema, chosen: NDArray[np.bool_], target: Any, group: Any
) -> dict[str, Any]:
    """Return the columns beside the encoded ones."""
    known = {TARGET: target[chosen], GROUP: group[chosen], ROW: np.flatnonzero(chosen)}
    if schema.truth is not None and table[schema.truth].notna().any():
        known[TRUTH] = table.loc[chosen, schema.truth].to_numpy(dtype=np.float64)
    return known


def encoded_target(table: pd.DataFrame, schema: Schema, classes: list[Any]) -> NDArray[Any]:
    """Return the target as places among the classes (int8), or as float64 for regression."""
    values = table[schema.target]
    if not classes:
        target = values.to_numpy(dtype=np.float64)
        known = np.isfinite(target)
    else:
        places = pd.Index(classes).get_indexer(pd.Index(values))
        target = places.astype(np.int8 if len(classes) < 128 else np.int16)
        known = target >= 0
    if not known.all():
        fault = f"{int((~known).sum())} rows have no valid target '{schema.target}'"
        raise DataError(f"{fault}; run `dvc repro preprocess`")
    return target


def check_parts(parts: pd.Series, target: NDArray[Any], classes: list[Any], schema: Schema) -> None:
    """Raise a DataError for a part without rows or with one class, and for a class not learned."""
    _check_parts(parts, target, schema)
    _check_learned(parts, target, classes, schema)


def _check_parts(parts: pd.Series, target: NDArray[Any], schema: Schema) -> None:
    fix = f"change problems.{schema.name}.split in params.yaml, or give more rows"
    for part in PARTS:
        values = target[(parts == part).to_numpy()]
        if not len(values):
            raise DataError(f"the part '{part}' of {schema.name} has no rows; {fix}")
        if schema.task != "regression" and len(np.unique(values)) < 2:
            fault = f"holds one class of '{schema.target}' only"
            raise DataError(f"the part '{part}' of {schema.name} {fault}; {fix}")


def _check_learned(
    parts: pd.Series, target: NDArray[Any], classes: list[Any], schema: Schema
) -> None:
    """Raise a DataError for a class without training rows, with its rows by part and the fix."""
    for place, label in enumerate(classes):
        counts = parts[target == place].value_counts()
        if not counts.get("train", 0):
            found = ", ".join(f"{part} {counts[part]}" for part in PARTS if part in counts)
            raise DataError(
                f"the class '{label}' of '{schema.target}' has no training row ({found}), so no "
                f"model can learn it; set problems.{schema.name}.split.kind: group, which deals "
                "every class to all parts, or merge it with another class, or drop its rows from "
                "the source"
            )


def summary_of(
    table: pd.DataFrame,
    parts: pd.Series,
    schema: Schema,
    classes: list[Any],
    matrices: dict[str, pd.DataFrame],
    encoded_columns: int,
) -> dict[str, Any]:
    """Return rows, groups, target and dates by part, and the number of encoded columns.

    Of the matrices, only target and group are read.
    """
    summary: dict[str, Any] = {"encoded_columns": encoded_columns}
    for part, matrix in matrices.items():
        summary[part] = {
            "rows": len(matrix),
            "groups": int(matrix[GROUP].nunique()),
            **_target_summary(matrix[TARGET], schema, classes),
            **_dates(table[(parts == part).to_numpy()], schema),
        }
    return summary


def _target_summary(target: pd.Series, schema: Schema, classes: list[Any]) -> dict[str, Any]:
    if schema.task == "multiclass":
        shares = target.value_counts(normalize=True)
        rates = {str(label): float(shares.get(i, 0)) for i, label in enumerate(classes)}
        return {"class_rates": rates}
    return {"positive_rate" if schema.task == "binary" else "target_mean": float(target.mean())}


def _dates(rows: pd.DataFrame, schema: Schema) -> dict[str, str | int]:
    """Return the first and last date, or position in time, where the problem has one."""
    if schema.date is None or rows[schema.date].isna().all():
        return {}
    first, last = rows[schema.date].min(), rows[schema.date].max()
    if schema.columns[schema.date].integer:
        return {"from": int(first), "to": int(last)}
    return {"from": str(first.date()), "to": str(last.date())}
