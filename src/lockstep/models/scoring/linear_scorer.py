"""A linear model over its view of levels, steps and lines, as one sparse product.

A row of the view has at most one entry for each categorical and each stepped column, and all lines.
The product is scipy's, over the same entries in the same order as the pipeline's own, so its sums
have the same bits.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.utils.extmath import softmax

from lockstep.errors import DataError
from lockstep.models.model_type import FastScorer, Floats, Parts


class LinearScorer:
    """A fitted Pipeline(view, estimator); a slot is an entry that each row of the view may have."""

    def __init__(self, pipeline: Any, task: str) -> None:
        self.pipeline, self.task = pipeline, task
        view, self.model = pipeline.named_steps["view"], pipeline.named_steps["estimator"]
        self.names = [str(name) for name in view.feature_names_in_]
        parts = {name: (step, columns) for name, step, columns in view.transformers_}
        self.width, self.dense = 0, not view.sparse_output_
        self._read_levels(*parts.get("level", (None, [])))
        self._read_steps(*parts.get("step", (None, [])))
        self._read_lines(*parts.get("line", (None, [])))
        self.owners = [self.names.index(name) for name in self.slots]
        sizes = self.level_sizes + self.step_sizes
        self.one_hots = len(sizes)
        self.view_slots = np.repeat(np.arange(self.one_hots), sizes)
        self.view_slots = np.append(self.view_slots, np.full(self.line_count, -1))

    @property
    def scorer(self) -> FastScorer:
        """The model as a scorer."""
        return FastScorer(self.outputs, self.margins, self.margins, lambda: self.parts)

    def _read_levels(self, encoder: Any, columns: list[str]) -> None:
        """Read for each categorical column the view's column of each code; -1 where it has none."""
        self.level_of = [self.names.index(name) for name in columns]
        self.level_tables, self.level_sizes = [], []
        for place in range(len(columns)):
            table, size = _level_table(encoder, place)
            self.level_tables.append(np.where(table < 0, -1, table + self.width))
            self.level_sizes.append(size)
            self.width += size
        self.slots = list(columns)

    def _read_steps(self, pipeline: Any, columns: list[str]) -> None:
        self.stepped = list(columns)
        self.edges, self.step_starts, self.step_sizes = [], [], []
        if len(columns):
            steps = pipeline.named_steps["bin"]
            for edges, size in zip(steps.bin_edges_, steps.n_bins_.tolist(), strict=True):
                self.edges.append(edges[1:-1])
                self.step_starts.append(self.width)
                self.step_sizes.append(size)
                self.width += size
        self.slots += list(columns)

    def _read_lines(self, pipeline: Any, columns: list[str]) -> None:
        self.line_start = self.width
        self.line_count = 0
        self.varied = [self.names.index(name) for name in columns]
        # A column with a direction has a line and no steps.
        self.step_places = [list(columns).index(name) for name in self.stepped]
        if not len(columns):
            return
        scale, fill = pipeline.named_steps["scale"], pipeline.named_steps["fill"]
        self.medians = fill.statistics_
        self.mean, self.scale = scale.mean_, scale.scale_
        self.flagged = np.asarray(fill.indicator_.features_)
        self.line_count = len(self.mean)
        self.width += self.line_count
        self.slots += [*columns, *(columns[place] for place in self.flagged)]

    def entries(self, encoded: Floats) -> tuple[NDArray[np.int32], Floats]:
        """Return the view's columns and values of each row, (rows, slots); no column: 0 and 0."""
        index = np.empty((len(encoded), len(self.slots)), dtype=np.int32)
        value = np.ones(index.shape, dtype=np.float64)
        for place, (column, table) in enumerate(zip(self.level_of, self.level_tables, strict=True)):
            codes = np.minimum(encoded[:, column], len(table) - 1).astype(np.intp)
            index[:, place] = table[codes]
        if self.varied:
            self._fill_numeric(encoded[:, self.varied], index, value)
        none = index < 0
        if none.any():
            index[none], value[none] = 0, 0.0
        return index, value

    def _fill_numeric(self, numbers: Floats, index: NDArray[np.int32], value: Floats) -> None:
        """Set the entries of steps and lines, as the view's transformers compute them."""
        if np.isinf(numbers).any():
            raise DataError("a value is infinite (a ratio, or a number too large); correct it")
        missing = np.isnan(numbers)
        filled = np.where(missing, self.medians, numbers)
        first = len(self.level_of)
        for place, (edges, start) in enumerate(zip(self.edges, self.step_starts, strict=True)):
            column = filled[:, self.step_places[place]]
            index[:, first + place] = edges.searchsorted(column, side="right") + start
        lines = np.hstack([filled, missing[:, self.flagged]])
        lines -= self.mean
        lines /= self.scale
        index[:, self.one_hots :] = np.arange(self.line_start, self.width)
        value[:, self.one_hots :] = lines

    def margins(self, encoded: Floats) -> Floats:
        """Return the decision function or the value: (rows,), or (rows, classes)."""
        if self.dense:  # one level and nothing else: the pipeline's own product is not sparse
            rows = pd.DataFrame(encoded, columns=self.names)
            ask = "predict" if self.task == "regression" else "decision_function"
            return np.asarray(getattr(self.pipeline, ask)(rows))
        index, value = self.entries(encoded)
        ends = np.arange(0, index.size + 1, index.shape[1], dtype=np.int32)
        shape = (len(encoded), self.width)
        matrix = csr_matrix((value.ravel(), index.ravel(), ends), shape=shape)
        found = matrix @ self.model.coef_.T + self.model.intercept_
        return found if self.task == "multiclass" else found.reshape(-1)

    def outputs(self, encoded: Floats) -> Floats:
        """Return probabilities, or values."""
        found = self.margins(encoded)
        if self.task == "regression":
            return found
        return softmax(found, copy=False) if self.task == "multiclass" else expit(found)

    def parts(self, encoded: Floats) -> Parts:
        """Return bases and what each encoded column adds to the margins.

        A column of the view adds coefficient x (value - baseline): the baseline is 0 for a
        standardised line, and the same share for each of a column's levels or steps.
        """
        coefficients, centers, bases, to_columns = self._for_parts
        index, value = self.entries(encoded)
        terms = coefficients[:, index] * value - centers[:, np.newaxis]
        return bases, (terms @ to_columns).transpose(1, 0, 2)

    @cached_property
    def _for_parts(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Coefficients and slots' mean parts by class, bases, and each slot's encoded column."""
        coefficients = np.atleast_2d(self.model.coef_)
        centers = np.zeros((len(coefficients), len(self.slots)))
        for slot in range(self.one_hots):
            centers[:, slot] = coefficients[:, self.view_slots == slot].mean(axis=1)
        to_columns = np.zeros((len(self.slots), len(self.names)))
        to_columns[np.arange(len(self.slots)), self.owners] = 1.0
        bases = np.atleast_1d(self.model.intercept_) + centers.sum(axis=1)
        return coefficients, centers, bases, to_columns


def _level_table(encoder: Any, place: int) -> tuple[NDArray[np.int64], int]:
    """Return the one-hot column of each code, last that of an unknown one, and their number."""
    known = encoder.categories_[place]
    rare = encoder.infrequent_categories_[place]
    frequent = [code for code in known if rare is None or code not in rare]
    other = -1 if rare is None else len(frequent)
    table = np.full(int(known.max()) + 2, other, dtype=np.int64)
    table[np.array(frequent, dtype=np.intp)] = np.arange(len(frequent))
    return table, len(frequent) + (rare is not None)
