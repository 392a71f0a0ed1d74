"""What fitted estimators answer to an encoded array: the same bits as from a DataFrame, without making one.

Each class below stands for one kind of estimator of the zoo. ``responses`` is what a calibration takes, ``outputs``
what ``predict_proba`` or ``predict`` returns (of two classes the positive one's), ``margins`` the raw sum before any
link.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Protocol

from lockstep.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


WIDE = 256
"""From so many rows on, a booster answers on all cores; for fewer, waking them takes longer than it saves."""


class Answering(Protocol):
    """A fitted estimator, asked with encoded rows: float64 (rows, encoded columns)."""

    def responses(self, encoded: Floats) -> NDArray[Any]:
        """Return what a calibration takes: decision function or probabilities, (rows,) or (rows, classes)."""

    def outputs(self, encoded: Floats) -> NDArray[Any]:
        """Return the positive class's probability (rows,), those of several classes, or the prediction (rows,)."""

    def margins(self, encoded: Floats) -> NDArray[Any]:
        """Return what contributions add up to: log-odds, a forest's probability, or the value."""


def answering(estimator: Any, task: str) -> Answering:
    """Return how an estimator below any calibration is asked; one not of the zoo is a DataError."""
    kinds: dict[str, Callable[[Any, str], Answering]] = {
        "XGBClassifier": AskedXGBoost,
        "XGBRegressor": AskedXGBoost,
        "LGBMClassifier": AskedLightGBM,
        "LGBMRegressor": AskedLightGBM,
        "RandomForestClassifier": AskedForest,
        "RandomForestRegressor": AskedForest,
        "Pipeline": AskedFilledForest
        if "fill" in getattr(estimator, "named_steps", {})
        else AskedLinear,
    }
    name = type(estimator).__name__
    if name not in kinds:
        raise DataError(f"a {name} can't be served; types that can: {', '.join(sorted(kinds))}")
    return kinds[name](estimator, task)


class AskedXGBoost:
    """Xgboost boosters of its own, so that the given one keeps its settings, which are part of its digest.

    They are asked by the C function that ``Booster.inplace_predict`` calls, whose wrapping takes as long as 200 trees:
    a few rows on one thread, many on all; each row's sum is its own, so the bits are the same.
    """

    def __init__(self, estimator: Any, task: str) -> None:
        given = estimator.get_booster()
        content = given.save_raw("ubj")
        self.booster, self._wide = _own_booster(content, 1), _own_booster(content, 0)
        best = given.attr("best_iteration")
        self.rounds = (0, int(best) + 1) if best is not None else (0, 0)
        self._value, self._margin = (_asking(self.rounds, kind) for kind in (0, 1))
        self._ask = _dense_prediction()

    def outputs(self, encoded: Floats) -> NDArray[Any]:
        """Return probabilities or values, float32 as the booster's own."""
        return self._asked(encoded, self._value)

    responses = outputs

    def margins(self, encoded: Floats) -> NDArray[Any]:
        """Return log-odds (rows,) or (rows, classes), or values; float32."""
        return self._asked(encoded, self._margin)

    def _asked(self, encoded: Floats, how: bytes) -> NDArray[np.float32]:
        """Return the booster's answer; calls from many threads don't hinder each other."""
        rows = self.rows(encoded)
        booster = self.booster if len(rows) < WIDE else self._wide
        return self._ask(booster.handle, rows, how)

    def rows(self, encoded: Floats) -> NDArray[np.float32]:
        """Return encoded rows as the booster reads them."""
        import numpy as np

        with np.errstate(over="ignore"):  # too large for float32 is infinite to the booster, too
            return np.ascontiguousarray(encoded, dtype=np.float32)


def _own_booster(content: bytearray, threads: int) -> Any:
    """Return the booster of these bytes, to work on so many threads (0: all)."""
    from xgboost import Booster

    booster = Booster({"nthread": threads})
    booster.load_model(content)
    booster.set_param({"nthread": threads})
    return booster


def _dense_prediction() -> Callable[[Any, NDArray[np.float32], bytes], NDArray[np.float32]]:
    """Return what asks a booster, by its handle, with dense rows and settings; see ``_asking``."""
    from ctypes import POINTER, byref, c_float, c_uint64, c_void_p, string_at

    import numpy as np
    from xgboost.core import _LIB, _check_call

    ask, nothing = _LIB.XGBoosterPredictFromDense, c_void_p()
    floats, sizes = POINTER(c_float), POINTER(c_uint64)

    def asked(handle: Any, rows: NDArray[np.float32], how: bytes) -> NDArray[np.float32]:
        found, shape, dimensions = floats(), sizes(), c_uint64()
        out = (byref(shape), byref(dimensions), byref(found))
        _check_call(ask(handle, _interface(rows), how, nothing, *out))
        sized = shape[: dimensions.value]
        copy = bytearray(
            string_at(found, 4 * prod(sized))
        )  # the booster's own memory is used again
        return np.frombuffer(copy, dtype=np.float32).reshape(sized)

    return asked


def _asking(rounds: tuple[int, int], kind: int) -> bytes:
    """Return the settings of a prediction as xgboost's C functions take them; kind 0: value, 1: margin."""
    settings = {
        "type": kind,
        "training": False,
        "iteration_begin": rounds[0],
        "iteration_end": rounds[1],
    }
    return json.dumps(
        {**settings, "missing": float("nan"), "strict_shape": False, "cache_id": 0}
    ).encode()


def _interface(rows: NDArray[np.float32]) -> bytes:
    """Return where a C-contiguous array lies, in numpy's array interface protocol as JSON."""
    place, (height, width) = rows.__array_interface__["data"][0], rows.shape
    told = f'"typestr": "{rows.dtype.str}", "shape": [{height}, {width}]'
    return f'{{"data": [{place}, true], "strides": null, {told}, "version": 3}}'.encode()


class AskedLightGBM:
    """A lightgbm booster, asked on one thread."""

    def __init__(self, estimator: Any, task: str) -> None:
        self.booster = estimator.booster_
        # Since 4.7 its classifiers have a decision function, which scikit-learn calibrates rather than probabilities.
        self.responses = self.margins if hasattr(estimator, "decision_function") else self.outputs

    def outputs(self, encoded: Floats) -> NDArray[Any]:
        """Return probabilities or values, float64."""
        return self.booster.predict(encoded, num_threads=1)

    def margins(self, encoded: Floats) -> NDArray[Any]:
        """Return log-odds (rows,) or (rows, classes), or values."""
        return self.booster.predict(encoded, raw_score=True, num_threads=1)


class AskedForest:
    """A forest's trees, summed in their order as scikit-learn does in one job."""

    def __init__(self, estimator: Any, task: str) -> None:
        import numpy as np

        trees = [tree.tree_ for tree in estimator.estimators_]
        self.apply = [tree.apply for tree in trees]
        self.takes_missing = estimator.monotonic_cst is None
        picked = {
            "binary": np.s_[:, 0, 1],
            "multiclass": np.s_[:, 0, :],
            "regression": np.s_[:, 0, 0],
        }[task]
        self.leaves = [np.ascontiguousarray(tree.value[picked]) for tree in trees]

    def responses(self, encoded: Floats) -> Floats:
        """Return the mean of the trees' leaves, float64."""
        import numpy as np

        rows = self.rows(encoded)
        total = np.zeros((len(rows), *self.leaves[0].shape[1:]), dtype=np.float64)
        for apply, leaves in zip(self.apply, self.leaves, strict=True):
            total += leaves.take(apply(rows), axis=0)
        return total / len(self.leaves)

    outputs = responses
    margins = responses

    def rows(self, encoded: Floats) -> NDArray[np.float32]:
        """Return encoded rows as float32; what scikit-learn's forest refuses is a DataError."""
        import numpy as np

        with np.errstate(over="ignore"):
            rows = np.ascontiguousarray(encoded, dtype=np.float32)
        if np.isinf(rows).any():
            raise DataError("a value is too large for this model (beyond 3.4e38); correct it")
        if not self.takes_missing and np.isnan(rows).any():
            raise DataError(
                "this forest has monotone columns and takes no missing value; give every value"
            )
        return rows


class AskedFilledForest(AskedForest):
    """A forest with monotone columns behind the imputer that fills what is missing and tells of it."""

    def __init__(self, estimator: Any, task: str) -> None:
        fill = estimator.named_steps["fill"]
        super().__init__(estimator.named_steps["estimator"], task)
        self.medians, self.told = fill.statistics_, fill.indicator_.features_

    def rows(self, encoded: Floats) -> NDArray[np.float32]:
        """Return encoded rows as float32: filled, then a column for each that may be missing."""
        import numpy as np

        missing = np.isnan(encoded)
        return super().rows(
            np.hstack([np.where(missing, self.medians, encoded), missing[:, self.told]])
        )


class AskedLinear:
    """A linear model over its view of steps, lines and a column a level, as one sparse product.

    A row of the view has at most one entry a categorical column, one a step column, and all lines. The product is
    scipy's, over the same entries in the same order as the pipeline's own, so that its sums have the same bits.
    """

    def __init__(self, estimator: Any, task: str) -> None:
        import numpy as np

        view, self.model = estimator.named_steps["view"], estimator.named_steps["estimator"]
        self.task = task
        self.several = task == "multiclass"
        names = [str(name) for name in view.feature_names_in_]
        parts = {
            name: (step, columns)
            for name, step, columns in view.transformers_
            if name != "remainder"
        }
        self.width, self.dense = 0, not view.sparse_output_
        self.pipeline, self.names = estimator, names
        self._read_levels(*parts.get("level", (None, [])))
        self._read_steps(*parts.get("step", (None, [])))
        self._read_lines(*parts.get("line", (None, [])))
        self.owners = [names.index(name) for name in self.slots]
        sizes = self.level_sizes + self.step_sizes
        self.one_hots = len(sizes)
        self.view_slots = np.repeat(np.arange(self.one_hots), sizes)
        self.view_slots = np.append(self.view_slots, np.full(self.line_count, -1))

    def _read_levels(self, encoder: Any, columns: list[str]) -> None:
        """Read for each categorical column the view's column of each code; -1 where it has none."""
        import numpy as np

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
        import numpy as np

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
        self.told = np.asarray(fill.indicator_.features_)
        self.line_count = len(self.mean)
        self.width += self.line_count
        self.slots += [*columns, *(columns[place] for place in self.told)]

    def entries(self, encoded: Floats) -> tuple[NDArray[np.int32], Floats]:
        """Return the view's columns and values of each row, (rows, slots); without a column 0 and value 0."""
        import numpy as np

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
        """Set the entries of steps and lines, as the view's imputer, discretizer and scaler make them."""
        import numpy as np

        if np.isinf(numbers).any():
            raise DataError("a value is infinite (a ratio, or a number too large); correct it")
        missing = np.isnan(numbers)
        filled = np.where(missing, self.medians, numbers)
        first = len(self.level_of)
        for place, (edges, start) in enumerate(zip(self.edges, self.step_starts, strict=True)):
            column = filled[:, self.step_places[place]]
            index[:, first + place] = edges.searchsorted(column, side="right") + start
        lines = np.hstack([filled, missing[:, self.told]])
        lines -= self.mean
        lines /= self.scale
        index[:, self.one_hots :] = np.arange(self.line_start, self.width)
        value[:, self.one_hots :] = lines

    def matrix(self, encoded: Floats) -> Any:
        """Return the view's sparse matrix of encoded rows: (rows, columns of the model)."""
        import numpy as np
        from scipy.sparse import csr_matrix

        index, value = self.entries(encoded)
        ends = np.arange(0, index.size + 1, index.shape[1], dtype=np.int32)
        return csr_matrix((value.ravel(), index.ravel(), ends), shape=(len(encoded), self.width))

    def margins(self, encoded: Floats) -> Floats:
        """Return the decision function or the value: (rows,), or (rows, classes)."""
        import numpy as np

        if (
            self.dense
        ):  # one level and nothing else: no sparse product, so none that has to be repeated
            return np.asarray(self._dense_margins(encoded))
        coefficients = self.model.coef_
        found = self.matrix(encoded) @ (coefficients.T if coefficients.ndim == 2 else coefficients)
        found = found + self.model.intercept_
        return found if self.several else found.reshape(-1)

    def _dense_margins(self, encoded: Floats) -> Any:
        import pandas as pd

        ask = (
            self.pipeline.predict if self.task == "regression" else self.pipeline.decision_function
        )
        return ask(pd.DataFrame(encoded, columns=self.names))

    responses = margins

    def parts(self, encoded: Floats) -> tuple[Floats, Floats]:
        """Return bases (classes,) and what each encoded column adds to the margin: (rows, classes, encoded columns).

        A column of the view adds coefficient x (value - baseline): the baseline is 0 for a standardised line, and the
        same share for each of a column's levels or steps.
        """
        import numpy as np

        coefficients, centers, bases, to_columns = self._for_parts
        index, value = self.entries(encoded)
        terms = coefficients[:, index] * value - centers[:, np.newaxis]
        return bases, (terms @ to_columns).transpose(1, 0, 2)

    @cached_property
    def _for_parts(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Coefficients and slots' mean parts by class, bases, and which encoded column a slot belongs to."""
        import numpy as np

        coefficients = np.atleast_2d(self.model.coef_)
        centers = np.zeros((len(coefficients), len(self.slots)))
        for slot in range(self.one_hots):
            centers[:, slot] = coefficients[:, self.view_slots == slot].mean(axis=1)
        to_columns = np.zeros((len(self.slots), len(self.names)))
        to_columns[np.arange(len(self.slots)), self.owners] = 1.0
        return (
            coefficients,
            centers,
            np.atleast_1d(self.model.intercept_) + centers.sum(axis=1),
            to_columns,
        )

    def outputs(self, encoded: Floats) -> Floats:
        """Return probabilities, or values."""
        from scipy.special import expit
        from sklearn.utils.extmath import softmax

        found = self.margins(encoded)
        if self.task == "regression":
            return found
        return softmax(found, copy=False) if self.several else expit(found)


def _level_table(encoder: Any, place: int) -> tuple[NDArray[np.int64], int]:
    """Return the one-hot column of each code (the last entry: of any unknown), and how many columns there are."""
    import numpy as np

    known = encoder.categories_[place]
    rare = encoder.infrequent_categories_[place]
    frequent = [code for code in known if rare is None or code not in rare]
    other = -1 if rare is None else len(frequent)
    table = np.full(int(known.max()) + 2, other, dtype=np.int64)
    table[np.array(frequent, dtype=np.intp)] = np.arange(len(frequent))
    return table, len(frequent) + (rare is not None)
