"""What each feature of a record adds to the model's margin: exact parts that sum up to it, and the reasons in words.

The margin is the raw score before any calibration: log-odds of boosters and logistic regression, the probability of a
forest, the value of a regression. Trees are told apart by exact tree SHAP along their own paths (Lundberg et al. 2020):
xgboost's and lightgbm's own, shap's for forests. xgboost's are float32, so its sums hold to about 1e-4, others to 1e-9.

A linear model's part is coefficient x (value - baseline) over the columns of its view. The baseline of a standardised
line, or of its column of missing values, is the training mean, which is 0 there; of one-hot levels and steps it is the
same share of each (steps hold about as many training rows each). So a level adds what its coefficient exceeds the mean
of its column's coefficients by, and the base is the intercept and these means.

Parts of derived columns go to the features they are made of: in equal shares to each column named in ``of``, which
passes its share on in the same way where it is derived itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from xgboost import DMatrix

from lockstep.features.matrix_columns import CLASSES
from lockstep.models.calibration import base_estimator
from lockstep.models.scoring.fast_scoring import (
    AskedFilledForest,
    AskedForest,
    AskedLightGBM,
    AskedLinear,
    AskedXGBoost,
)
from lockstep.models.scoring.scorer import Columns, Scorer

if TYPE_CHECKING:
    from lockstep.problems.schema import Column, Schema

Floats = NDArray[np.float64]
Parts = tuple[Floats, Floats]
"""Bases (classes,), and what each encoded column adds (rows, classes, encoded columns); one class but for several."""

MOST_REASONS = 4


@dataclass(frozen=True)
class Contributions:
    """What each feature adds: base + values.sum(axis=1) is the margin, row by row.

    Of several classes it is told of one a row, whose label ``classes`` holds; ``base`` is then an array (rows,).
    """

    base: float | Floats
    features: tuple[str, ...]
    values: Floats
    margin: Floats
    calibrated: Floats | None
    """The score that calibration makes of the margin, (rows,); None for a model without calibration."""
    classes: NDArray[Any] | None = None

    def base_of(self, row: int) -> float:
        """Return the base of one row."""
        return float(self.base if self.classes is None else np.asarray(self.base)[row])


class Explainer:
    """Explains rows of one model; made once, and used by many threads."""

    def __init__(self, pipeline: Any, schema: Schema, scorer: Scorer | None = None) -> None:
        self.schema = schema
        self.scorer = scorer or Scorer(pipeline, schema)
        self.labels = np.asarray(getattr(self.scorer.encoder, CLASSES, [])).tolist()
        self.features = tuple(self.scorer.inputs)
        self.shares = _shares(self.scorer)
        self._parts = _parts_of(
            self.scorer.answering, base_estimator(pipeline.named_steps["model"])
        )

    def explain(
        self, columns: Columns, rows: int, chosen: NDArray[np.intp] | None = None
    ) -> Contributions:
        """Return what each feature adds to the margin of each row.

        Of several classes ``chosen`` is the place of the one to tell of, a row each: the most probable if None.
        """
        encoded = self.scorer.encode(columns, rows)
        bases, parts = self._parts(encoded)
        margins = np.asarray(self.scorer.answering.margins(encoded), dtype=np.float64)
        scores = self.scorer.score_encoded(encoded)
        calibrated = None if self.scorer.calibrate is None else scores
        if self.schema.task != "multiclass":
            return Contributions(
                float(bases[0]), self.features, parts[:, 0] @ self.shares, margins, calibrated
            )
        place = scores.argmax(axis=1) if chosen is None else np.asarray(chosen)
        row = np.arange(rows)
        return Contributions(
            bases[place],
            self.features,
            parts[row, place] @ self.shares,
            margins[row, place],
            None if calibrated is None else calibrated[row, place],
            np.array(self.labels or range(len(bases)), dtype=object)[place],
        )


def _shares(scorer: Scorer) -> Floats:
    """Return which share of each encoded column goes to each feature: (encoded columns, features), rows sum to 1."""
    of = scorer.sources()
    shares = np.zeros((len(scorer.names), len(scorer.inputs)))

    def give(name: str, share: float, row: Floats) -> None:
        if name not in of:
            row[scorer.inputs.index(name)] += share
            return
        for source in of[name]:
            give(source, share / len(of[name]), row)

    for name, row in zip(scorer.names, shares, strict=True):
        give(name, 1.0, row)
    return shares


def _parts_of(asked: Any, estimator: Any) -> Callable[[Floats], Parts]:
    """Return how the margin of encoded rows is taken apart."""
    if isinstance(asked, AskedXGBoost):
        return lambda encoded: _split(_xgboost_parts(asked, encoded))
    if isinstance(asked, AskedLightGBM):
        width = asked.booster.num_feature() + 1
        return lambda encoded: _split(
            asked.booster.predict(encoded, pred_contrib=True, num_threads=1).reshape(
                len(encoded), -1, width
            )
        )
    if isinstance(asked, AskedForest):
        return _forest_parts(asked, estimator)
    assert isinstance(asked, AskedLinear)
    return asked.parts


def _split(values: NDArray[Any]) -> Parts:
    """Split a booster's own contributions, (rows, classes, columns and the base)."""
    values = np.asarray(values, dtype=np.float64)
    return values[0, :, -1], values[:, :, :-1]


def _xgboost_parts(asked: AskedXGBoost, encoded: Floats) -> NDArray[Any]:
    kinds = asked.booster.feature_types
    rows = DMatrix(asked.rows(encoded), feature_types=kinds, enable_categorical=True, nthread=1)
    return asked.booster.predict(
        rows,
        pred_contribs=True,
        strict_shape=True,
        validate_features=False,
        iteration_range=asked.rounds,
    )


def _forest_parts(asked: AskedForest, forest: Any) -> Callable[[Floats], Parts]:
    told = asked.told if isinstance(asked, AskedFilledForest) else ()
    forest = forest.named_steps["estimator"] if isinstance(asked, AskedFilledForest) else forest
    explainer = _import_shap().TreeExplainer(forest, feature_perturbation="tree_path_dependent")
    bases = np.atleast_1d(np.asarray(explainer.expected_value, dtype=np.float64))
    first = 1 if len(bases) == 2 else 0  # of two classes the positive one

    def parts(encoded: Floats) -> Parts:
        found = np.asarray(explainer.shap_values(asked.rows(encoded), check_additivity=False))
        found = found[:, :, np.newaxis] if found.ndim == 2 else found
        found = found.transpose(0, 2, 1)[:, first:]
        own = found[:, :, : encoded.shape[1]].copy()
        for place, column in enumerate(
            told, start=encoded.shape[1]
        ):  # that it is missing belongs to the column
            own[:, :, column] += found[:, :, place]
        return bases[first:], own

    return parts


def _import_shap() -> Any:
    with warnings.catch_warnings():
        # On its import matplotlib's colour maps are registered in a way that is to end.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        import shap
    return shap


def record_at(columns: Columns, row: int) -> dict[str, Any]:
    """Return one row of columns as a record: texts, numbers, None for missing."""
    values = {name: column[row] for name, column in columns.items()}
    return {
        n: None if v is None or v != v else v if isinstance(v, str) else float(v)
        for n, v in values.items()
    }


def reasons(
    schema: Schema,
    contributions: Contributions,
    record: Mapping[str, Any],
    row: int = 0,
    most: int = MOST_REASONS,
) -> list[str]:
    """Return the features that speak most for the outcome, in words, the strongest first.

    Of two classes those that raise the risk, of several those that speak for the class told of, of a number those that
    raise or lower it. ``record`` holds the row's values under the schema's names.
    """
    values = contributions.values[row]
    regression = schema.task == "regression"
    weight = np.abs(values) if regression else values
    order = [int(place) for place in np.argsort(-weight, kind="stable") if weight[place] > 0][:most]
    found = []
    for place in order:
        name = contributions.features[place]
        effect = _effect(schema, contributions, row, float(values[place]))
        found.append(f"{described(schema.columns[name], record.get(name))} {effect}")
    return found


def _effect(schema: Schema, contributions: Contributions, row: int, value: float) -> str:
    if schema.task == "regression":
        return f"{'raises' if value > 0 else 'lowers'} the prediction"
    if contributions.classes is None:
        return "raises the risk"
    label = contributions.classes[row]
    return f"speaks for {schema.columns[schema.target].codes.get(label) or label}"


def described(column: Column, value: Any) -> str:
    """Return a feature's value in words, by the column's description and the meaning of its codes."""
    name = _phrase(column)
    if value is None or value != value:
        return f"missing {name}"
    code = int(value) if column.holds_numbers and float(value).is_integer() else value
    if column.kind != "numeric":
        return f'{name} "{column.codes.get(code) or code}"'
    shown = f"{code}" if isinstance(code, int) else f"{float(code):.10g}"
    return f"{name} of {shown}{f' {column.unit}' if column.unit else ''}"


def _phrase(column: Column) -> str:
    """Return what a column is called amid a sentence: its description up to any comment, or its name."""
    text = column.description
    for mark in (" (", ";", ":", ", ", ". "):
        text = text.split(mark)[0]
    text = text.strip().rstrip(".") or column.name.replace("_", " ")
    proper = text[:2].isupper() or not text[:1].isupper()
    return text if proper else text[0].lower() + text[1:]
