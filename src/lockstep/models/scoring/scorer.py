"""The one way to score: the same bits as the scikit-learn pipeline, without its tables.

A pipeline's ``predict_proba`` spends most of a single row's time on tables. Here columns stay
arrays: the transformer's functions encode them, the model type scores them, and the fitted
calibrators calibrate them. ``golden_rows.checked_outputs`` compares both whenever a model is packed
or loaded. ``_Arrays`` is the only use of the transformer's private names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from lockstep.data.coded_texts import CodedTexts
from lockstep.errors import DataError
from lockstep.evaluation.metrics import SCORE_DECIMALS
from lockstep.features import columns_v1
from lockstep.models.calibration import base_estimator
from lockstep.models.model_type import FastScorer, Floats, ModelType
from lockstep.models.types import type_of
from lockstep.problems.schema import Schema

Columns = Mapping[str, Any]
"""Columns by name, all of one length: float64 with NaN for missing, or texts, None for missing.

Texts are objects, or ``CodedTexts``.
"""

_SCORE_SCALE = 10.0**SCORE_DECIMALS
FEW = 64
"""Up to this many rows a dictionary finds a code faster than a search in an array."""


class _Arrays(columns_v1._Frame):
    """Arrays as the columns that the transformer's functions take, with codes by dictionary."""

    def __init__(self, columns: Columns, rows: int, scorer: Scorer) -> None:
        self.table: Any = columns
        self.rows, self.scorer, self.encoder = rows, scorer, scorer.encoder
        self.made: columns_v1.Made = {}
        self.near: dict[str, Any] = {}
        self._codes: dict[str, columns_v1.Codes] = {}

    def __len__(self) -> int:
        return self.rows

    def number(self, name: str) -> Floats:
        """Return a column as numbers, NaN where missing."""
        return self.made[name] if name in self.made else self.table[name]

    def values(self, name: str) -> Any:
        """Return a column as it is compared with its levels: texts as objects, else numbers."""
        return self.table[name] if name in self.scorer.texts else self.number(name)

    def codes(self, name: str) -> columns_v1.Codes:
        """Return a column as codes: 0 missing, 1 unknown, 2.. its levels."""
        if name not in self._codes and isinstance(self.table.get(name), CodedTexts):
            known, texts = self.scorer.level_codes[name], self.table[name]
            self._codes[name] = texts.each([known.get(v, 1) for v in texts.values])
        elif name not in self._codes and (self.rows <= FEW or name in self.scorer.texts):
            known, values = self.scorer.level_codes[name], self.values(name).tolist()
            found = [known.get(v, 1) if v == v else 0 for v in values]
            self._codes[name] = np.array(found, dtype=np.int64)
        return super().codes(name)

    def ranks(self, name: str) -> Floats:
        """Return an ordered column as ranks among its levels, NaN for missing and unknown."""
        codes = self.codes(name)
        return np.where(codes >= 2, codes - 2.0, np.nan)

    def derived(self, name: str) -> Floats:
        """Return a column that was derived."""
        return self.made[name]


def _level_codes(encoder: Any) -> dict[str, dict[Any, int]]:
    """Return by column the code of each level: 0 missing (None), 1 unknown, 2.. the levels."""
    levels = {name: known.tolist() for name, known in encoder.known_levels_.items()}
    return {name: {None: 0, **{v: k for k, v in enumerate(of, 2)}} for name, of in levels.items()}


def _ways(encoder: Any) -> list[Callable[[_Arrays, str], Any]]:
    """Return how each encoded column is read from the frame, as the transformer reads it."""
    declared = {column["name"]: column for column in encoder.columns}

    def way(name: str, kind: str) -> Callable[[_Arrays, str], Any]:
        if name not in declared:
            return _Arrays.derived
        if kind == "categorical":
            return _Arrays.codes
        ranked = kind == "ordered" and declared[name].get("codes")
        return _Arrays.ranks if ranked else _Arrays.number

    return [way(name, kind) for name, kind in encoder.feature_kinds_.items()]


def columns_of(schema: Schema, table: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """Return a table's features as columns: float64 with NaN, or objects with None if missing."""
    found: dict[str, NDArray[Any]] = {}
    for column in schema.features:
        values = table[column.name]
        if column.holds_numbers:
            found[column.name] = values.to_numpy(dtype=np.float64)
        else:
            texts = values.astype(object).where(values.notna(), None)
            found[column.name] = texts.to_numpy(dtype=object)
    return found


class EncodedScorer:
    """Scores encoded rows: estimator, calibration and rounding."""

    def __init__(self, model: Any, task: str, kind: ModelType | None = None) -> None:
        estimator = base_estimator(model)
        self.task = task
        self.fast: FastScorer = (kind or type_of(estimator)).scorer(estimator, task)
        self.calibrate = _calibration(model)

    def score(self, encoded: Floats) -> Floats:
        """Return each row's score, float64; see ``Scorer.score``."""
        if self.calibrate is not None:
            return _rounded(self.calibrate(self.fast.responses(encoded)))
        found = np.asarray(self.fast.outputs(encoded), dtype=np.float64)
        return found if self.task == "regression" else _rounded(found)


class Scorer:
    """Scores columns of validated rows: the same bits as the pipeline, rounded.

    It is made once for a model and used by many threads; it leaves the pipeline as it is.
    """

    def __init__(self, pipeline: Any, schema: Schema) -> None:
        self.task = schema.task
        self.encoder = pipeline.named_steps["encoder"]
        self.model = EncodedScorer(pipeline.named_steps["model"], self.task)
        self.names = list(self.encoder.feature_kinds_)
        self.inputs = [column["name"] for column in self.encoder.columns]
        self.texts = frozenset(c["name"] for c in self.encoder.columns if c.get("text"))
        self.level_codes, self._ways = _level_codes(self.encoder), _ways(self.encoder)
        self._derivations = [
            (columns_v1._KINDS[spec["kind"]], spec, self.encoder.state_[spec["name"]])
            for spec in self.encoder._specs
        ]
        self.score(self.nothing(), 1)  # what is made lazily is made now

    def nothing(self) -> dict[str, NDArray[Any]]:
        """Return the columns of one row in which every value is missing."""
        objects = {c["name"] for c in self.encoder.columns if c.get("text") or c["kind"] == "date"}
        none, unknown = np.array([None], dtype=object), np.array([np.nan])
        return {name: none if name in objects else unknown for name in self.inputs}

    def encode(self, columns: Columns, rows: int) -> Floats:
        """Return encoded rows, float64 (rows, encoded columns), equal to the transformer's."""
        frame = _Arrays(columns, rows, self)
        for kind, spec, state in self._derivations:
            frame.add(kind.apply(frame, spec, state), kind.result == "categorical")
        block = np.empty((len(self.names), rows), dtype=np.float64)
        for place, (name, way) in enumerate(zip(self.names, self._ways, strict=True)):
            block[place] = way(frame, name)
        return block.T

    def sources(self) -> dict[str, list[str]]:
        """Return what each derived column is made of: input columns, or columns derived before."""
        frame = _Arrays(self.nothing(), 1, self)
        made_of: dict[str, list[str]] = {}
        for kind, spec, state in self._derivations:
            made = kind.apply(frame, spec, state)
            frame.add(made, kind.result == "categorical")
            made_of |= {name: list(spec["of"]) for name in made}
        return made_of

    def score(self, columns: Columns, rows: int) -> Floats:
        """Return each row's score, float64; probabilities have ``SCORE_DECIMALS`` decimals.

        The positive class's probability (rows,), those of several classes (rows, classes), or the
        predicted value (rows,).
        """
        return self.model.score(self.encode(columns, rows))


def _rounded(scores: Floats) -> Floats:
    """Return what ``numpy.round`` returns, by its three steps: its wrapping takes longer."""
    return np.rint(scores * _SCORE_SCALE) / _SCORE_SCALE


def _calibration(model: Any) -> Callable[[NDArray[Any]], Floats] | None:
    """Return a fitted calibration as a function of responses, None if there is none."""
    if not hasattr(model, "calibrated_classifiers_"):
        return None
    (fitted,) = model.calibrated_classifiers_
    if fitted.method == "temperature":
        return lambda responses: _at_most_one(
            np.asarray(fitted.calibrators[0].predict(responses), np.float64)
        )
    if fitted.method not in ("sigmoid", "isotonic"):
        raise DataError(f"calibration {fitted.method} can't be served; train the model again")
    return lambda responses: _calibrated(fitted.calibrators, responses)


def _calibrated(calibrators: list[Any], responses: NDArray[Any]) -> Floats:
    """Return calibrated probabilities: (rows,), or (rows, classes) of each against the others."""
    if len(calibrators) == 1:
        found = np.asarray(_calibrated_one(calibrators[0], responses), dtype=np.float64)
        return _at_most_one(found)
    found = np.empty(responses.shape, dtype=np.float64)
    for place, calibrator in enumerate(calibrators):
        found[:, place] = _calibrated_one(calibrator, responses[:, place])
    total = np.sum(found, axis=1)[:, np.newaxis]
    alike = np.full_like(found, 1 / len(calibrators))  # where every calibrator gives 0
    return _at_most_one(np.divide(found, total, out=alike, where=total != 0))


def _calibrated_one(calibrator: Any, responses: NDArray[Any]) -> NDArray[Any]:
    """Return what the calibrator's ``predict`` returns, without its checks."""
    if hasattr(calibrator, "a_"):
        return expit(-(calibrator.a_ * responses + calibrator.b_))
    values = np.asarray(responses, dtype=calibrator.X_thresholds_.dtype)
    if calibrator.out_of_bounds == "clip":
        values = np.clip(values, calibrator.X_min_, calibrator.X_max_)
    return calibrator.f_(values).astype(values.dtype)


def _at_most_one(chances: Floats) -> Floats:
    chances[(chances > 1.0) & (chances <= 1.0 + 1e-5)] = 1.0
    return chances
