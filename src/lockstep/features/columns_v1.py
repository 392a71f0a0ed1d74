"""The one transformer of the package: what a schema declares of its columns becomes encoded columns.

This file travels inside every model artifact as code and is covered by its digest. It imports numpy, pandas, scipy and
scikit-learn only, and nothing of lockstep. A change of behaviour is a new file with a new VERSION.

Encoded values are float64. Categorical: 0 missing, 1 unknown, 2.. the known levels in the order of ``levels_``.
Ordered: rank among the levels (0..), or the number itself where no codes are declared; NaN for missing and unknown.
Numeric: the number; NaN for missing.

Derived columns, ``{name, kind, of: [columns], options: {...}}``; ``of`` may name columns and earlier derived ones.
Every kind takes the option ``encode: false``: computed for later derived columns only.

=============== ================= ===========================================================================
kind            of                options (default) and result
=============== ================= ===========================================================================
cross           two or more       categorical: combinations seen in the training rows
ratio           two numbers       first / second; NaN where the second is 0
difference      two numbers       first - second
clip            one number        low, high (None): the number, kept within them
bin             one number        edges [..], or quantiles (4) learned: ordered, the number of edges at or below it
weekday         date, or year,    categorical: Monday 0 .. Sunday 6
                month, day
part_of_day     one hour          edges ([6, 10, 16, 22]): categorical, part 0 wraps round midnight
cyclic          one number        period (24): NAME_sin, NAME_cos
frequency       one or more       groups of the training rows with these values; of a training row: the others
rotate          two numbers       degrees ([45]): NAME_45_x, NAME_45_y, turned by each angle
spline          one number        knots (5) quantiles learned, degree (3): NAME_0.., constant outside them
target_encoded  one or more       smooth ("auto"): scikit-learn's TargetEncoder, out of fold on training rows
neighbour_rate  one or more       neighbours (50), metric ("euclidean" | "sphere": latitude and longitude in
                numbers           degrees, distances in km), value ("rate": mean target of the nearest training
                                  points, out of fold on training rows | "distance": to the last of them)
=============== ================= ===========================================================================

A training point is a group at a position, so ten persons of one accident are one neighbour. For multiclass targets
rates are one column a class, NAME_CLASS. A neighbour_rate keeps the training positions: for public data only.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline
from scipy.spatial import cKDTree
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import TargetEncoder
from sklearn.utils.validation import check_is_fitted

VERSION = 1
"""Version of this transformer's behaviour."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Spec = dict[str, Any]
State = dict[str, Any]
Made = dict[str, Floats]
Asked = dict[str, list[int]]  # numbers of neighbours, by "rate" and "distance"

_MISSING, _UNKNOWN, _FIRST = 0, 1, 2
_EARTH_KM = 6371.0088  # mean radius, IUGG
_CHUNK = 20_000  # rows a neighbour query, so that memory stays bounded
_THREADED = 2_000  # rows from which a neighbour query uses all cores


def rounded(values: ArrayLike) -> Floats:
    """Return values rounded to 27 significant bits (eight digits), exactly and alike on every processor."""
    mantissa, exponent = np.frexp(np.asarray(values, dtype=np.float64))
    return np.ldexp(np.round(mantissa * 2.0**27) / 2.0**27, exponent)


# ---------------------------------------------------------------- columns as numbers and as codes


class _Lookup:
    """Finds the code of values among known levels, numbers or texts."""

    def __init__(self, levels: NDArray[Any]) -> None:
        self.size = len(levels) + _FIRST
        self.text = levels.dtype.kind == "U"
        if self.text:
            self.index = pd.Index(levels.tolist(), dtype=object)
            return
        known = levels.astype(np.float64)
        order = np.argsort(known, kind="stable")
        self.sorted, self.code = known[order], order + _FIRST

    def codes(self, values: Any) -> Codes:
        """Return 0 for missing, 1 for unknown, else 2 + the level's place."""
        if self.text:
            found = self.index.get_indexer(pd.Index(values, dtype=object)).astype(np.int64)
            return np.where(pd.isna(values), _MISSING, found + _FIRST)  # not found is -1, so 1: unknown
        place, known = _found(self.sorted, values)
        codes = np.full(len(values), _UNKNOWN, dtype=np.int64)
        codes[known] = self.code[place[known]]
        codes[np.isnan(values)] = _MISSING
        return codes


def _found(table: NDArray[Any], values: NDArray[Any]) -> tuple[Codes, NDArray[np.bool_]]:
    """Return each value's place in a sorted table, and whether it is there."""
    if not len(table):
        return np.zeros(len(values), dtype=np.int64), np.zeros(len(values), dtype=bool)
    place = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return place, table[place] == values


def _plain(value: Any) -> int | float | str:
    """Return a level as a plain Python value, whole numbers as int."""
    if isinstance(value, str):
        return value
    return int(value) if float(value).is_integer() else float(value)


def _numbers(values: pd.Series) -> Floats:
    """Return numbers that came as objects, NaN for missing ones."""
    try:
        return np.array([np.nan if v is None or v is pd.NA else float(v) for v in values], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"column '{values.name}' must hold numbers, found {values.dtype}") from None


def _texts(values: pd.Series) -> NDArray[np.object_]:
    """Return texts as objects, missing ones as None; a whole number reads like its text."""
    if values.dtype.kind in "fiub":
        return np.array([None if v != v else str(_plain(v)) for v in values.tolist()], dtype=object)
    return values.astype(object).where(values.notna(), None).to_numpy()


def _as_levels(declared: Sequence[Any], text: bool) -> NDArray[Any]:
    return np.array([str(level) for level in declared] if text else [float(level) for level in declared])


def _levels_of(values: Any) -> NDArray[Any]:
    """Return the levels that occur, in ascending order: an array of numbers or of texts."""
    present = values[~pd.isna(values)]
    return np.unique(present.astype(str) if present.dtype == object else present)


class _Frame:
    """A table's columns as numbers and as codes, and the derived ones made so far."""

    def __init__(self, table: pd.DataFrame, encoder: ColumnEncoder) -> None:
        self.table, self.encoder = table, encoder
        self.made: Made = {}
        self.near: dict[str, _Near] = {}
        self._codes: dict[str, Codes] = {}
        numeric = [name for name, dtype in table.dtypes.items() if dtype.kind in "fiub"]
        block = table[numeric].to_numpy(
            dtype=np.float64, na_value=np.nan
        )  # at once: for one row by far the fastest
        self._numeric = dict(zip(numeric, block.T, strict=True))

    def __len__(self) -> int:
        return len(self.table)

    def number(self, name: str) -> Floats:
        """Return a column as numbers, NaN where missing."""
        if name in self.made:
            return self.made[name]
        return self._numeric[name] if name in self._numeric else _numbers(self.table[name])

    def values(self, name: str) -> Any:
        """Return a column as it is compared with its levels: texts as objects, else numbers."""
        return _texts(self.table[name]) if self.encoder._is_text(name) else self.number(name)

    def codes(self, name: str) -> Codes:
        """Return a column as codes: 0 missing, 1 unknown, 2.. its levels."""
        if name not in self._codes:
            self._codes[name] = self.lookup(name).codes(self.values(name))
        return self._codes[name]

    def lookup(self, name: str) -> _Lookup:
        """Return a column's levels; the first call, while learning, settles them."""
        known = self.encoder.known_levels_
        if name not in known:
            declared = self.encoder._declared.get(name, {}).get("codes")
            text = self.encoder._is_text(name)
            known[name] = _as_levels(declared, text) if declared else _levels_of(self.values(name))
        return self.encoder._lookup(name)

    def add(self, made: Made, coded: bool) -> None:
        """Add derived columns, which are codes already where ``coded``."""
        self.made |= made
        if coded:
            self._codes |= {name: values.astype(np.int64) for name, values in made.items()}


@dataclass(frozen=True)
class _Training:
    """What is known of the training rows besides their columns."""

    labels: NDArray[Any]  # the target as it came
    outputs: Floats  # rows x outputs: the target, or for multiclass one column a class
    classes: list[Any]  # names of the outputs; empty where there is one
    task: str
    group: Codes
    fold: Codes


# ---------------------------------------------------------------- derived columns from values alone


def _cross_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    state, _ = _learn_keys(frame, spec)
    return {**state, "levels": _key_names(frame, spec, state)}


def _cross(frame: _Frame, spec: Spec, state: State) -> Made:
    place, known = _find_keys(frame, spec, state)
    codes = np.where(known, place + _FIRST, _UNKNOWN)
    return {spec["name"]: np.where(_all_missing(frame, spec), _MISSING, codes).astype(np.float64)}


def _ratio(frame: _Frame, spec: Spec, state: State) -> Made:
    above, below = (frame.number(name) for name in spec["of"])
    return {spec["name"]: above / np.where(below == 0, np.nan, below)}


def _difference(frame: _Frame, spec: Spec, state: State) -> Made:
    first, second = (frame.number(name) for name in spec["of"])
    return {spec["name"]: first - second}


def _clip(frame: _Frame, spec: Spec, state: State) -> Made:
    low, high = spec["options"]["low"], spec["options"]["high"]
    bounds = (-np.inf if low is None else low, np.inf if high is None else high)
    return {spec["name"]: np.clip(frame.number(spec["of"][0]), *bounds)}


def _bin_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    edges = spec["options"]["edges"]
    if edges is None:
        edges = _quantiles(frame, spec, spec["options"]["quantiles"])[1:-1]
    return {"edges": np.unique(np.array(edges, dtype=np.float64))}


def _bin(frame: _Frame, spec: Spec, state: State) -> Made:
    values = frame.number(spec["of"][0])
    return {spec["name"]: _steps(values, state["edges"])}


def _steps(values: Floats, edges: Floats) -> Floats:
    """Return how many edges lie at or below each value, NaN where it is missing."""
    steps = np.searchsorted(edges, values, side="right").astype(np.float64)
    return np.where(np.isnan(values), np.nan, steps)


def _quantiles(frame: _Frame, spec: Spec, parts: int) -> Floats:
    """Return the parts + 1 quantiles of the training values, equal ones once."""
    values = frame.number(spec["of"][0])
    values = values[~np.isnan(values)]
    if not len(values):
        raise ValueError(
            f"derived column '{spec['name']}': '{spec['of'][0]}' is missing in every training row"
        )
    return np.unique(rounded(np.quantile(values, np.linspace(0, 1, parts + 1))))


def _weekday_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    return {"levels": list(range(7))}


def _weekday(frame: _Frame, spec: Spec, state: State) -> Made:
    days = _days(frame, spec["of"])
    missing = np.isnat(days)
    monday = (np.where(missing, np.datetime64(0, "D"), days).astype(np.int64) + 3) % 7  # 1970-01-01: Thursday
    return {spec["name"]: np.where(missing, _MISSING, monday + _FIRST).astype(np.float64)}


def _days(frame: _Frame, names: Sequence[str]) -> NDArray[np.datetime64]:
    """Return dates as days, from a date column or from the numbers of year, month and day."""
    if len(names) == 1:
        return np.asarray(pd.to_datetime(frame.table[names[0]]).to_numpy().astype("datetime64[D]"))
    parts = [frame.number(name) for name in names]
    missing = np.isnan(parts).any(axis=0)
    year, month, day = (np.where(missing, 1, part).astype(np.int64) for part in parts)
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    return np.where(missing, np.datetime64("NaT"), months.astype("datetime64[D]") + (day - 1))


def _part_of_day_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    return {"levels": list(range(len(spec["options"]["edges"])))}


def _part_of_day(frame: _Frame, spec: Spec, state: State) -> Made:
    hours = frame.number(spec["of"][0])
    edges = np.array(spec["options"]["edges"], dtype=np.float64)
    codes = _steps(hours, edges) % len(edges) + _FIRST
    return {spec["name"]: np.where(np.isnan(hours), _MISSING, codes)}


def _cyclic(frame: _Frame, spec: Spec, state: State) -> Made:
    angle = frame.number(spec["of"][0]) * (2 * math.pi / spec["options"]["period"])
    name = spec["name"]
    return {f"{name}_sin": np.round(np.sin(angle), 9), f"{name}_cos": np.round(np.cos(angle), 9)}


def _rotate(frame: _Frame, spec: Spec, state: State) -> Made:
    x, y = (frame.number(name) for name in spec["of"])
    made = {}
    for degrees in spec["options"]["degrees"]:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        made[f"{spec['name']}_{degrees}_x"] = x * cos + y * sin
        made[f"{spec['name']}_{degrees}_y"] = y * cos - x * sin
    return made


def _spline_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    knots = _quantiles(frame, spec, spec["options"]["knots"] - 1)
    if len(knots) == 1:  # a constant column: any interval will do
        knots = np.array([knots[0], knots[0] + 1.0])
    degree = spec["options"]["degree"]
    return {"knots": np.concatenate([np.repeat(knots[0], degree), knots, np.repeat(knots[-1], degree)])}


def _spline(frame: _Frame, spec: Spec, state: State) -> Made:
    values, knots = frame.number(spec["of"][0]), state["knots"]
    inside = np.clip(np.where(np.isnan(values), knots[0], values), knots[0], knots[-1])
    basis = BSpline.design_matrix(inside, knots, spec["options"]["degree"]).toarray()
    basis[np.isnan(values)] = np.nan
    return {f"{spec['name']}_{i}": np.ascontiguousarray(basis[:, i]) for i in range(basis.shape[1])}


# ---------------------------------------------------------------- derived columns from keys: one or several columns


def _radix(frame: _Frame, names: Sequence[str], sizes: Sequence[int]) -> Codes:
    """Return one whole number for the codes of several columns together."""
    if math.prod(sizes) >= 2**62:
        raise ValueError(f"too many combinations of {', '.join(names)}; cross fewer columns")
    keys = np.zeros(len(frame), dtype=np.int64)
    for name, size in zip(names, sizes, strict=True):
        keys = keys * size + frame.codes(name)
    return keys


def _learn_keys(frame: _Frame, spec: Spec) -> tuple[State, Codes]:
    """Return the combinations that occur in the training rows, and each row's place among them."""
    sizes = [frame.lookup(name).size for name in spec["of"]]
    keys, place = np.unique(_radix(frame, spec["of"], sizes), return_inverse=True)
    return {"sizes": sizes, "keys": keys}, place


def _find_keys(frame: _Frame, spec: Spec, state: State) -> tuple[Codes, NDArray[np.bool_]]:
    return _found(state["keys"], _radix(frame, spec["of"], state["sizes"]))


def _key_names(frame: _Frame, spec: Spec, state: State) -> list[str]:
    """Return the combinations as texts, for people."""
    parts, rest = [], state["keys"]
    for name, size in zip(reversed(spec["of"]), reversed(state["sizes"]), strict=True):
        named = np.array(["missing", "unknown", *map(str, frame.encoder._levels(name))], dtype=object)
        parts.append(named[rest % size])
        rest = rest // size
    return [" × ".join(names) for names in zip(*reversed(parts), strict=True)]


def _all_missing(frame: _Frame, spec: Spec) -> NDArray[np.bool_]:
    return np.logical_and.reduce([frame.codes(name) == _MISSING for name in spec["of"]])


def _frequency_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    state, place = _learn_keys(frame, spec)
    groups = int(training.group.max()) + 1
    distinct = np.unique(place.astype(np.int64) * groups + training.group)
    return {**state, "counts": np.bincount(distinct // groups, minlength=len(state["keys"]))}


def _frequency(frame: _Frame, spec: Spec, state: State, own: int = 0) -> Made:
    place, known = _find_keys(frame, spec, state)
    counts = np.where(known, state["counts"][place] - own, 0).astype(np.float64)
    return {spec["name"]: np.where(_all_missing(frame, spec), np.nan, counts)}


def _frequency_on_training(frame: _Frame, spec: Spec, state: State, training: _Training) -> Made:
    """Count the other groups only, as for a row that is new."""
    return _frequency(frame, spec, state, own=1)


def _rate_names(spec: Spec, classes: Iterable[Any]) -> list[str]:
    return [f"{spec['name']}_{label}" for label in classes] or [spec["name"]]


def _target_encoder(spec: Spec, training: _Training) -> TargetEncoder:
    kinds = {"binary": "binary", "multiclass": "multiclass", "regression": "continuous"}
    return TargetEncoder(
        target_type=kinds[training.task], smooth=spec["options"]["smooth"], cv=PredefinedSplit(training.fold)
    )


def _target_encoded_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    state, place = _learn_keys(frame, spec)
    learned = _target_encoder(spec, training).fit(place[:, None].astype(np.float64), training.labels)
    rates = np.column_stack(learned.encodings_)
    mean = np.atleast_1d(np.asarray(learned.target_mean_, dtype=np.float64))
    return {**state, "rates": rounded(rates), "mean": rounded(mean), "classes": training.classes}


def _target_encoded(frame: _Frame, spec: Spec, state: State) -> Made:
    place, known = _find_keys(frame, spec, state)
    rates = np.where(known[:, None], state["rates"][place], state["mean"])
    return dict(zip(_rate_names(spec, state["classes"]), rates.T, strict=True))


def _target_encoded_on_training(frame: _Frame, spec: Spec, state: State, training: _Training) -> Made:
    """Encode each fold by the rates of the others."""
    place, _ = _find_keys(frame, spec, state)
    rates = _target_encoder(spec, training).fit_transform(place[:, None].astype(np.float64), training.labels)
    return dict(zip(_rate_names(spec, training.classes), rounded(rates).T, strict=True))


# ---------------------------------------------------------------- derived columns from the nearest training points


@dataclass(frozen=True)
class _Near:
    """Rates of, and distances to, the k nearest training points, by k; NaN distances for missing positions."""

    rates: dict[int, Floats]
    distances: dict[int, Floats]


class _Points:
    """Training points in a tree: positions, and the sum of the target and the number of rows at each."""

    def __init__(self, positions: Floats, metric: str, sums: Floats, counts: Floats) -> None:
        self.metric, self.sums, self.counts = metric, sums, counts
        self.tree = cKDTree(_in_space(positions, metric))

    def near(self, positions: Floats, asked: Asked, mean: Floats, skip: int = 0) -> _Near:
        """Return rates and distances for positions of shape (rows, coordinates); NaN: the mean rate.

        ``skip`` nearest points don't count for distances: 1 for rows that are training points themselves.
        """
        near = _Near(
            {k: np.tile(mean, (len(positions), 1)) for k in asked["rate"]},
            {k: np.full(len(positions), np.nan) for k in asked["distance"]},
        )
        told = np.flatnonzero(~np.isnan(positions).any(axis=1))
        if not len(told) or not (asked["rate"] or asked["distance"]):
            return near
        first, place = _distinct(positions[told])  # people of one accident ask once
        for start in range(0, len(first), _CHUNK):
            rows = slice(start, start + _CHUNK)
            asking = np.flatnonzero((place >= start) & (place < start + _CHUNK))
            found = self._query(_in_space(positions[told[first[rows]]], self.metric), asked, skip)
            for given, known in ((near.rates, found.rates), (near.distances, found.distances)):
                for k in given:
                    given[k][told[asking]] = known[k][place[asking] - start]
        return near

    def _query(self, space: Floats, asked: Asked, skip: int) -> _Near:
        most = max([*asked["rate"], *(k + skip for k in asked["distance"])])
        workers = -1 if len(space) >= _THREADED else 1
        reach = np.arange(1, min(most, len(self.counts)) + 1)
        distance, index = self.tree.query(space, k=reach, workers=workers)
        far = {k: rounded(distance[:, min(k + skip, len(reach)) - 1]) for k in asked["distance"]}
        return _Near(self._rates(index, asked["rate"]), far)

    def _rates(self, index: Codes, ks: list[int]) -> dict[int, Floats]:
        """Return the mean target of the first k points of each row, by k ascending."""
        rates, last = {}, 0
        sums, counts = np.zeros((len(index), self.sums.shape[1])), np.zeros((len(index), 1))
        for k in ks:
            more = index[:, last:k]
            if more.shape[1]:  # cumsum adds one by one, for one row as for many
                sums = sums + np.cumsum(self.sums[more], axis=1)[:, -1]
                counts = counts + np.cumsum(self.counts[more], axis=1)[:, -1:]
            rates[k], last = sums / counts, k
        return rates


def _in_space(positions: Floats, metric: str) -> Floats:
    """Return positions as points whose straight distance counts; latitude, longitude: on the globe, in km."""
    if metric == "euclidean":
        return positions
    latitude, longitude = np.radians(positions).T
    flat = np.cos(latitude)
    globe = np.column_stack([flat * np.cos(longitude), flat * np.sin(longitude), np.sin(latitude)])
    return np.round(globe * _EARTH_KM, 6)  # to the mm, alike on every processor


def _neighbour_key(spec: Spec) -> str:
    return f"{','.join(spec['of'])}:{spec['options']['metric']}"


def _positions(frame: _Frame, names: Sequence[str]) -> Floats:
    return np.column_stack([frame.number(name) for name in names])


def _neighbours_fit(frame: _Frame, spec: Spec, training: _Training) -> State:
    """Return which of the encoder's point sets is meant; the first of its columns learns it."""
    key = _neighbour_key(spec)
    if key not in frame.near:
        asked = {
            value: sorted({s["options"]["neighbours"] for s in frame.encoder._specs if _asks(s, key, value)})
            for value in ("rate", "distance")
        }
        state, near = _learn_points(_positions(frame, spec["of"]), spec["options"]["metric"], asked, training)
        frame.encoder.points_[key] = state
        frame.near[key] = near
    return {"key": key, "classes": training.classes}


def _asks(spec: Spec, key: str, value: str) -> bool:
    return (
        spec["kind"] == "neighbour_rate" and _neighbour_key(spec) == key and spec["options"]["value"] == value
    )


def _learn_points(positions: Floats, metric: str, asked: Asked, training: _Training) -> tuple[State, _Near]:
    """Return the training points, and what is near each training row: rates out of fold, distances to others."""
    told = np.flatnonzero(~np.isnan(positions).any(axis=1))
    if not len(told):
        raise ValueError("no training row has a position; drop the neighbour_rate columns")
    first, point = _distinct(np.column_stack([training.group[told], positions[told]]))
    places, fold = positions[told][first], training.fold[told][first]
    counts = np.asarray(np.bincount(point), dtype=np.float64)
    sums: Floats = np.array([np.bincount(point, weights=out) for out in training.outputs[told].T]).T.copy()
    mean = rounded(training.outputs.mean(axis=0))
    near = _out_of_fold(places, fold, metric, sums, counts, asked, mean)
    state = {
        "metric": metric,
        "positions": places,
        "sums": sums,
        "counts": counts,
        "mean": mean,
        "asked": asked,
    }
    return state, _spread(near, told, point, _means_of_others(training))


def _distinct(rows: Floats) -> tuple[Codes, Codes]:
    """Return the first of each distinct row, by ascending columns, and each row's place among them."""
    order = np.lexsort(rows.T[::-1])
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (rows[order][1:] != rows[order][:-1]).any(axis=1)
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return order[new], place


def _out_of_fold(
    places: Floats, fold: Codes, metric: str, sums: Floats, counts: Floats, asked: Asked, mean: Floats
) -> _Near:
    """Return rates of the points of the other folds, and distances to the other points."""
    others = {"rate": [], "distance": asked["distance"]}
    distances = _Points(places, metric, sums, counts).near(places, others, mean, skip=1).distances
    rates = {k: np.empty((len(places), len(mean))) for k in asked["rate"]}
    for part in np.unique(fold):
        held = fold == part
        if held.all():
            raise ValueError("all training rows with a position are of one fold; more groups are needed")
        points = _Points(places[~held], metric, sums[~held], counts[~held])
        near = points.near(places[held], {**asked, "distance": []}, mean)
        for k, rate in rates.items():
            rate[held] = near.rates[k]
    return _Near(rates, distances)


def _means_of_others(training: _Training) -> Floats:
    """Return each training row's mean of the target over the other folds: rows x outputs."""
    folds = np.unique(training.fold)
    means = np.array([training.outputs[training.fold != fold].mean(axis=0) for fold in folds])
    return rounded(means[np.searchsorted(folds, training.fold)])


def _spread(near: _Near, told: Codes, point: Codes, means: Floats) -> _Near:
    """Return what is near each row, from what is near each point; rows without a position have their means."""
    rates = {k: means.copy() for k in near.rates}
    distances = {k: np.full(len(means), np.nan) for k in near.distances}
    for k, rate in near.rates.items():
        rates[k][told] = rate[point]
    for k, far in near.distances.items():
        distances[k][told] = far[point]
    return _Near(rates, distances)


def _neighbours(frame: _Frame, spec: Spec, state: State) -> Made:
    key, k = state["key"], spec["options"]["neighbours"]
    if key not in frame.near:
        known = frame.encoder.points_[key]
        frame.near[key] = frame.encoder._tree(key).near(
            _positions(frame, spec["of"]), known["asked"], known["mean"]
        )
    near = frame.near[key]
    if spec["options"]["value"] == "distance":
        return {spec["name"]: near.distances[k]}
    return dict(zip(_rate_names(spec, state["classes"]), rounded(near.rates[k]).T, strict=True))


# ---------------------------------------------------------------- the vocabulary


def _nothing(frame: _Frame, spec: Spec, training: _Training) -> State:
    return {}


@dataclass(frozen=True)
class _Kind:
    """One kind of derived column: how it learns, how it is computed, and what it takes."""

    apply: Callable[[_Frame, Spec, State], Made]
    fit: Callable[[_Frame, Spec, _Training], State] = _nothing
    on_training: Callable[[_Frame, Spec, State, _Training], Made] | None = None
    takes: tuple[int, ...] = ()  # allowed numbers of columns; empty: any
    options: tuple[tuple[str, Any], ...] = ()  # with their defaults
    result: str = "numeric"


_KINDS: dict[str, _Kind] = {
    "cross": _Kind(_cross, _cross_fit, takes=(2, 3, 4, 5, 6), result="categorical"),
    "ratio": _Kind(_ratio, takes=(2,)),
    "difference": _Kind(_difference, takes=(2,)),
    "clip": _Kind(_clip, takes=(1,), options=(("low", None), ("high", None))),
    "bin": _Kind(_bin, _bin_fit, takes=(1,), options=(("edges", None), ("quantiles", 4)), result="ordered"),
    "weekday": _Kind(_weekday, _weekday_fit, takes=(1, 3), result="categorical"),
    "part_of_day": _Kind(
        _part_of_day,
        _part_of_day_fit,
        takes=(1,),
        options=(("edges", (6, 10, 16, 22)),),
        result="categorical",
    ),
    "cyclic": _Kind(_cyclic, takes=(1,), options=(("period", 24),)),
    "frequency": _Kind(_frequency, _frequency_fit, _frequency_on_training),
    "rotate": _Kind(_rotate, takes=(2,), options=(("degrees", (45,)),)),
    "spline": _Kind(_spline, _spline_fit, takes=(1,), options=(("knots", 5), ("degree", 3))),
    "target_encoded": _Kind(
        _target_encoded, _target_encoded_fit, _target_encoded_on_training, options=(("smooth", "auto"),)
    ),
    "neighbour_rate": _Kind(
        _neighbours,
        _neighbours_fit,
        options=(("neighbours", 50), ("metric", "euclidean"), ("value", "rate")),
    ),
}


def _complete(derived: dict[str, Any]) -> Spec:
    """Return a derived column's declaration with every option set; what is off is a ValueError."""
    name, kind, of = derived["name"], derived["kind"], list(derived["of"])
    if kind not in _KINDS:
        raise ValueError(f"derived column '{name}': unknown kind '{kind}'{_nearest(kind, _KINDS)}")
    takes, allowed = _KINDS[kind].takes, {**dict(_KINDS[kind].options), "encode": True}
    if takes and len(of) not in takes:
        raise ValueError(
            f"derived column '{name}': {kind} takes {' or '.join(map(str, takes))} columns, got {len(of)}"
        )
    given = dict(derived.get("options") or {})
    for option in given:
        if option not in allowed:
            raise ValueError(f"derived column '{name}': unknown option '{option}'{_nearest(option, allowed)}")
    return {"name": name, "kind": kind, "of": of, "options": {**allowed, **given}}


def _nearest(name: object, known: Iterable[object]) -> str:
    names = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else f"; known: {', '.join(names)}"


# ---------------------------------------------------------------- the transformer


class ColumnEncoder(TransformerMixin, BaseEstimator):
    """Encode a table's columns, and those derived from them, as one float64 matrix.

    Parameters
    ----------
    columns
        One dict a column of the table: ``name``, ``kind`` (categorical, ordered, numeric, or date, which is for
        weekdays only), ``codes`` (allowed levels in order; empty: learned), ``text`` (levels are texts), ``encode``
        (False: for derived columns only).
    derived
        One dict a derived column: ``name``, ``kind``, ``of``, ``options``; see the table at the top of this module.
    folds, seed
        Number of folds of what is learned from the target out of fold, and the seed that deals groups to them.
    task
        "binary" (target 0 and 1), "multiclass" (whole numbers) or "regression".

    Attributes
    ----------
    feature_kinds_
        Kind of every encoded column: "categorical", "ordered" or "numeric".
    levels_
        Known levels of every encoded categorical column, in the order of their codes 2..
    """

    def __init__(
        self,
        columns: list[dict[str, Any]],
        derived: Sequence[dict[str, Any]] = (),
        folds: int = 5,
        seed: int = 0,
        task: str = "binary",
    ) -> None:
        self.columns = columns
        self.derived = derived
        self.folds = folds
        self.seed = seed
        self.task = task

    def fit(self, X: pd.DataFrame, y: ArrayLike, groups: ArrayLike | None = None) -> ColumnEncoder:
        """Learn levels, rates and positions from the training rows."""
        self._learn(X, y, groups)
        return self

    def fit_transform(self, X: pd.DataFrame, y: ArrayLike, groups: ArrayLike | None = None) -> pd.DataFrame:
        """Learn from the training rows and encode them, what comes from the target out of fold.

        ``groups`` (any values, one a row): rows of one group are in one fold.
        """
        return self._output(self._learn(X, y, groups))

    def transform(self, X: pd.DataFrame) -> pd.DataFrame:
        """Encode rows: float64 columns of :meth:`get_feature_names_out`, with the table's index."""
        check_is_fitted(self, "feature_kinds_")
        frame = _Frame(self._checked(X), self)
        for spec in self._specs:
            kind = _KINDS[spec["kind"]]
            frame.add(kind.apply(frame, spec, self.state_[spec["name"]]), kind.result == "categorical")
        return self._output(frame)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Return the names of the encoded columns, in order."""
        check_is_fitted(self, "feature_kinds_")
        return np.array(list(self.feature_kinds_), dtype=object)

    def _learn(self, X: pd.DataFrame, y: ArrayLike, groups: ArrayLike | None) -> _Frame:
        self._forget()
        frame = _Frame(self._checked(X), self)
        training = self._training(frame, y, groups)
        made_by = {spec["name"]: self._derive(frame, spec, training) for spec in self._specs}
        self.feature_kinds_ = self._kinds(made_by)
        self._settle_levels(frame)
        self.feature_names_in_ = np.array([column["name"] for column in self.columns], dtype=object)
        self.n_features_in_ = len(self.columns)
        return frame

    def _settle_levels(self, frame: _Frame) -> None:
        for name, kind in self.feature_kinds_.items():
            if name in self._declared and kind != "numeric":
                frame.lookup(name)
        categorical = [name for name, kind in self.feature_kinds_.items() if kind == "categorical"]
        self.levels_ = {name: self._levels(name) for name in categorical}

    def _forget(self) -> None:
        self.known_levels_: dict[str, NDArray[Any]] = {}
        self.points_: dict[str, State] = {}
        self.state_: dict[str, State] = {}
        self._runtime.clear()

    def _derive(self, frame: _Frame, spec: Spec, training: _Training) -> list[str]:
        """Fit one derived column, add it to the frame, and return the names it made."""
        kind = _KINDS[spec["kind"]]
        state = self.state_[spec["name"]] = kind.fit(frame, spec, training)
        made = (
            kind.on_training(frame, spec, state, training)
            if kind.on_training
            else kind.apply(frame, spec, state)
        )
        if "levels" in state:
            self.known_levels_[spec["name"]] = np.array(state.pop("levels"))
        frame.add(made, kind.result == "categorical")
        return list(made)

    def _kinds(self, made_by: dict[str, list[str]]) -> dict[str, str]:
        kinds = {c["name"]: c["kind"] for c in self.columns if c.get("encode", True) and c["kind"] != "date"}
        for spec in self._specs:
            if spec["options"]["encode"]:
                kinds |= dict.fromkeys(made_by[spec["name"]], _KINDS[spec["kind"]].result)
        return kinds

    def _training(self, frame: _Frame, y: ArrayLike, groups: ArrayLike | None) -> _Training:
        labels = np.asarray(y)
        if len(labels) != len(frame):
            raise ValueError(f"{len(frame)} rows, but {len(labels)} targets")
        classes = [_plain(label) for label in np.unique(labels)] if self.task == "multiclass" else []
        several = [(labels == label).astype(np.float64) for label in classes]
        outputs = np.column_stack(several or [labels.astype(np.float64)])
        rows = np.arange(len(frame)) if groups is None else np.asarray(groups)
        names, group = np.unique(rows, return_inverse=True)
        return _Training(labels, outputs, classes, self.task, group, self._deal(len(names))[group])

    def _deal(self, groups: int) -> Codes:
        """Return a fold for each group: groups shuffled by seed, dealt in turn."""
        if groups < 2:
            raise ValueError("one group only; what is learned out of fold needs at least two")
        shuffled = np.random.Generator(np.random.PCG64(self.seed)).permutation(groups)
        fold = np.empty(groups, dtype=np.int64)
        fold[shuffled] = np.arange(groups) % min(self.folds, groups)
        return fold

    def _checked(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the table if it has exactly the declared columns, in any order."""
        if not isinstance(X, pd.DataFrame):
            raise ValueError(f"a pandas DataFrame with named columns is needed, got {type(X).__name__}")
        expected, found = [column["name"] for column in self.columns], list(X.columns)
        missing = [name for name in expected if name not in X.columns]
        extra = [str(name) for name in found if name not in expected]
        extra += [f"{name} (twice)" for name in expected if found.count(name) > 1]
        if missing or extra:
            raise ValueError(_difference_of(missing, extra, expected))
        return X

    def _output(self, frame: _Frame) -> pd.DataFrame:
        names = list(self.feature_kinds_)
        block = np.empty((len(names), len(frame)), dtype=np.float64)
        for row, name in zip(block, names, strict=True):
            row[:] = self._encoded(frame, name)
        return pd.DataFrame(block.T, columns=names, index=frame.table.index)

    def _encoded(self, frame: _Frame, name: str) -> Floats:
        if name in frame.made:
            return frame.made[name]
        if self.feature_kinds_[name] == "categorical":
            return frame.codes(name).astype(np.float64)
        if self.feature_kinds_[name] == "ordered" and self._declared[name].get("codes"):
            codes = frame.codes(name)
            return np.where(codes >= _FIRST, codes - float(_FIRST), np.nan)
        return frame.number(name)

    @property
    def _runtime(self) -> dict[str, Any]:
        """What is made from the fitted attributes when first needed, and never saved."""
        return self.__dict__.setdefault("_made_lazily", {})

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "_made_lazily"}

    def _lazily(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._runtime:
            self._runtime[key] = make()
        return self._runtime[key]

    @property
    def _specs(self) -> list[Spec]:
        return self._lazily("specs", lambda: [_complete(derived) for derived in self.derived])

    @property
    def _declared(self) -> dict[str, dict[str, Any]]:
        return self._lazily("declared", lambda: {column["name"]: column for column in self.columns})

    def _is_text(self, name: str) -> bool:
        return bool(self._declared.get(name, {}).get("text", False))

    def _levels(self, name: str) -> list[Any]:
        return [_plain(level) for level in self.known_levels_[name].tolist()]

    def _lookup(self, name: str) -> _Lookup:
        return self._lazily(f"lookup {name}", lambda: _Lookup(self.known_levels_[name]))

    def _tree(self, key: str) -> _Points:
        known = self.points_[key]
        make = lambda: _Points(known["positions"], known["metric"], known["sums"], known["counts"])  # noqa: E731
        return self._lazily(f"tree {key}", make)


def _difference_of(missing: list[str], extra: list[str], expected: list[str]) -> str:
    """Return one line that says which columns are missing or not expected, with the nearest names."""
    parts = []
    if missing:
        parts.append("missing " + ", ".join(f"'{m}'{_close(m, extra)}" for m in missing[:5]) + _more(missing))
    if extra:
        parts.append(
            "unexpected " + ", ".join(f"'{e}'{_close(e, expected)}" for e in extra[:5]) + _more(extra)
        )
    return "columns differ from those declared: " + "; ".join(parts)


def _close(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (near '{close[0]}')" if close else ""


def _more(names: list[str]) -> str:
    return f" and {len(names) - 5} more" if len(names) > 5 else ""
