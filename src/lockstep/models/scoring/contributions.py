"""What each feature of a record adds to the model's margin, and the reasons in words.

The margin is the raw score before any calibration: log-odds of boosters and logistic regression,
the probability of a forest, the value of a regression. The parts add up to it: each model type
splits its own margins (``FastScorer.explainer``). xgboost's parts are float32, so its sums hold to
about 1e-4, others to 1e-9.

The parts of a derived column go in equal shares to the columns named in its ``of``, which pass them
on if they are derived themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.features.matrix_columns import CLASSES
from lockstep.models.model_type import Floats
from lockstep.models.scoring.scorer import Columns, Scorer
from lockstep.problems.schema import Column, Schema

MOST_REASONS = 4


@dataclass(frozen=True)
class Contributions:
    """What each feature adds: base + values.sum(axis=1) is the margin, row by row.

    For several classes each row explains one, whose label ``classes`` holds; ``base`` is (rows,).
    """

    base: float | Floats
    features: tuple[str, ...]
    values: Floats
    margin: Floats
    calibrated: Floats | None
    """The calibrated score, (rows,); None for a model without calibration."""
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
        self._parts = self.scorer.model.fast.explainer()

    def explain(
        self, columns: Columns, rows: int, chosen: NDArray[np.intp] | None = None
    ) -> Contributions:
        """Return what each feature adds to the margin of each row.

        For several classes ``chosen`` (rows,) is the place of the class to explain, by default the
        most probable one.
        """
        encoded = self.scorer.encode(columns, rows)
        bases, parts = self._parts(encoded)
        margins = np.asarray(self.scorer.model.fast.margins(encoded), dtype=np.float64)
        scores = self.scorer.model.score(encoded)
        calibrated = None if self.scorer.model.calibrate is None else scores
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
    """Return each encoded column's shares of the features: (encoded columns, features)."""
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
    """Return the features that contribute most to the outcome, in words, the strongest first.

    For two classes these raise the risk, for several they speak for the explained class, for a
    value they raise or lower it. ``record`` holds the row's values under the schema's names.
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
    """Return a feature's value in words, from the column's description and codes."""
    name = phrase_of(column)
    if value is None or value != value:
        return f"missing {name}"
    code = int(value) if column.holds_numbers and float(value).is_integer() else value
    if column.kind != "numeric":
        return f'{name} "{column.codes.get(code) or code}"'
    shown = f"{code}" if isinstance(code, int) else f"{float(code):.10g}"
    return f"{name} of {shown}{f' {column.unit}' if column.unit else ''}"


def phrase_of(column: Column) -> str:
    """Return a column's name within a sentence: its description up to any comment."""
    text = column.description
    for mark in (" (", ";", ":", ", ", ". "):
        text = text.split(mark)[0]
    text = text.strip().rstrip(".") or column.name.replace("_", " ")
    proper = text[:2].isupper() or not text[:1].isupper()
    return text if proper else text[0].lower() + text[1:]
