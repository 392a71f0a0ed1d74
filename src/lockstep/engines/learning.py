"""The encoder's learned state from sums that tasks return, and the same columns out of fold.

What ``ColumnEncoder`` learns from all training rows at once is here merged from chunks of them:
levels, combinations and their counts, target sums by key and fold, value counts, training points.
A training row is encoded by a state learned from the other folds, one state a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import SparkSession

from lockstep.engines.chunks import FOLD, Chunk
from lockstep.engines.tasks import run_tasks
from lockstep.errors import DataError
from lockstep.features import columns_v1 as columns
from lockstep.features.columns_v1 import ColumnEncoder
from lockstep.features.matrix_columns import GROUP, TARGET

Floats = NDArray[np.float64]
KEYED = ("cross", "frequency", "target_encoded")
"""Kinds that are learned from combinations of codes."""
Answer = dict[str, Any]


@dataclass
class Learned:
    """A fitted encoder, and what differs from its state for the training rows of each fold."""

    encoder: ColumnEncoder
    rates: dict[str, list[tuple[Floats, Floats]]] = field(default_factory=dict)
    """By target-encoded column and fold: rates by key, and the mean, of the other folds."""
    means: Floats = field(default_factory=lambda: np.empty((0, 0)))
    """By fold: the mean of each output over the other folds."""
    point_folds: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """By set of points: the fold of each."""

    def __post_init__(self) -> None:
        self._runtime: dict[Any, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "_runtime"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _runtime={})

    # ------------------------------------------------------------ training rows, out of fold

    def training_frame(
        self, table: pd.DataFrame, fold: int, specs: Sequence[dict[str, Any]]
    ) -> Any:
        """Return training rows of one fold with their derived columns, out of fold."""
        encoder = self.of_fold(fold)
        frame = columns._Frame(encoder._checked(table), encoder)
        for spec in specs:
            if spec["kind"] == "neighbour_rate":
                self._add_near(frame, spec, fold)
            kind = columns._KINDS[spec["kind"]]
            made = kind.apply(frame, spec, encoder.state_[spec["name"]])
            frame.add(made, kind.result == "categorical")
        return frame

    def encode_training(self, table: pd.DataFrame, folds: NDArray[Any]) -> pd.DataFrame:
        """Return the encoded columns of training rows, in the table's order."""
        pieces = []
        for fold in np.unique(folds):
            rows = table[folds == fold]
            frame = self.training_frame(rows, int(fold), self.encoder._specs)
            pieces.append(self.encoder._output(frame))
        return pd.concat(pieces).loc[table.index]

    def of_fold(self, fold: int) -> ColumnEncoder:
        """Return the encoder that knows the other folds only."""
        if fold not in self._runtime:
            encoder = copy(self.encoder)
            encoder.state_ = {
                name: self._state_of_fold(name, state, fold)
                for name, state in self.encoder.state_.items()
            }
            self._runtime[fold] = encoder
        found: ColumnEncoder = self._runtime[fold]
        return found

    def _state_of_fold(self, name: str, state: dict[str, Any], fold: int) -> dict[str, Any]:
        if name in self.rates:
            rates, mean = self.rates[name][fold]
            return {**state, "rates": rates, "mean": mean}
        if "counts" in state:  # a frequency counts the other groups
            return {**state, "counts": state["counts"] - 1}
        return state

    def _add_near(self, frame: Any, spec: dict[str, Any], fold: int) -> None:
        """Add to a frame the rates of points of other folds, and the distances to all others."""
        key = columns._neighbour_key(spec)
        if key in frame.near:
            return
        asked, positions = self.encoder.points_[key]["asked"], columns._positions(frame, spec["of"])
        others, everyone = self._points(key, fold), self._points(key, None)
        rates = others.near(positions, {**asked, "distance": []}, self.means[fold]).rates
        far = everyone.near(
            positions, {"rate": [], "distance": asked["distance"]}, self.means[fold], skip=1
        )
        frame.near[key] = columns._Near(rates, far.distances)

    def _points(self, key: str, fold: int | None) -> Any:
        """Return the tree of a set's points, without those of a fold."""
        if (key, fold) not in self._runtime:
            known, of = self.encoder.points_[key], self.point_folds[key]
            kept = slice(None) if fold is None else of != fold
            self._runtime[key, fold] = columns._Points(
                known["positions"][kept],
                known["metric"],
                known["sums"][kept],
                known["counts"][kept],
            )
        return self._runtime[key, fold]


# ---------------------------------------------------------------- on the driver


def learn(
    spark: SparkSession, encoder: ColumnEncoder, chunks: list[Chunk], training: Any
) -> Learned:
    """Fit the encoder from sums over the training rows in ``chunks``.

    ``training`` is what ``ColumnEncoder._training`` makes of their targets and groups.
    """
    encoder._forget()
    folds = range(int(training.fold.max()) + 1)
    others = [training.outputs[training.fold != fold] for fold in folds]
    learned = Learned(encoder, means=columns.rounded([rows.mean(axis=0) for rows in others]))
    asked = Asked(learned, len(training.classes))
    _settle(asked, spark, chunks, _coded(encoder))
    for specs in _rounds(encoder._specs):
        _settle(asked, spark, chunks, [n for s in specs if s["kind"] in KEYED for n in s["of"]])
        asked.specs = specs
        answers = run_tasks(spark, asked.sums, chunks)
        for spec in specs:
            found = [part[spec["name"]] for answer in answers for part in answer]
            _learn_spec(learned, spec, [one for one in found if one], training, others)
        asked.done += specs
        learned._runtime.clear()  # what was made of an earlier state
    _finish(encoder, chunks)
    return learned


def _rounds(specs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return derived columns in rounds: each needs derived columns of earlier rounds only."""
    place: dict[str, int] = {}
    for spec in specs:
        needs = [place[name] for name in spec["of"] if name in place]
        place[spec["name"]] = max(needs, default=-1) + 1
    count = max(place.values(), default=-1) + 1
    return [[spec for spec in specs if place[spec["name"]] == number] for number in range(count)]


def _coded(encoder: ColumnEncoder) -> list[str]:
    """Return the columns of the table that are encoded by their levels."""
    return [
        column["name"]
        for column in encoder.columns
        if column["kind"] in ("categorical", "ordered") and column.get("encode", True)
    ]


@dataclass
class Asked:
    """What tasks are asked about the training rows of a chunk."""

    learned: Learned
    classes: int
    done: list[dict[str, Any]] = field(default_factory=list)
    specs: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def levels(self, chunk: Chunk) -> list[dict[str, NDArray[Any]]]:
        """Return the values that occur in the named columns."""
        return [
            {name: columns._levels_of(frame.values(name)) for name in self.names}
            for frame, _ in self._frames(chunk)
        ]

    def sums(self, chunk: Chunk) -> list[dict[str, Answer]]:
        """Return what each derived column is learned from, for each fold."""
        return [
            {spec["name"]: _sums(frame, spec, known, self.classes) for spec in self.specs}
            for frame, known in self._frames(chunk)
        ]

    def _frames(self, chunk: Chunk) -> list[tuple[Any, pd.DataFrame]]:
        """Return the training rows of each fold, with the derived columns that are learned."""
        known = chunk.read_known()
        table = chunk.read([column["name"] for column in self.learned.encoder.columns])
        return [
            (self.learned.training_frame(table[rows], int(fold), self.done), known[rows])
            for fold in np.unique(known[FOLD])
            if fold >= 0
            for rows in [(known[FOLD] == fold).to_numpy()]
        ]


def _sums(frame: Any, spec: dict[str, Any], known: pd.DataFrame, classes: int) -> Answer:
    """Return the sums of one derived column over some training rows; none if it learns nothing."""
    if spec["kind"] in KEYED:
        sizes = [frame.lookup(name).size for name in spec["of"]]
        keys = columns._radix(frame, spec["of"], sizes)
        return _KEY_SUMS[spec["kind"]](keys, known, classes)
    if spec["kind"] == "neighbour_rate":
        return _point_sums(columns._positions(frame, spec["of"]), known, classes)
    if _learns_quantiles(spec):
        values = frame.number(spec["of"][0])
        found, counts = np.unique(values[~np.isnan(values)], return_counts=True)
        return {"values": found, "counts": counts}
    return {}


def _learns_quantiles(spec: dict[str, Any]) -> bool:
    return spec["kind"] == "spline" or (spec["kind"] == "bin" and spec["options"]["edges"] is None)


def _outputs(target: NDArray[Any], classes: int) -> Floats:
    """Return the target as rows x outputs, one column a class of several."""
    several = [(target == place).astype(np.float64) for place in range(classes)]
    return np.column_stack(several or [target.astype(np.float64)])


def _distinct_keys(keys: NDArray[Any], known: pd.DataFrame, classes: int) -> Answer:
    return {"keys": np.unique(keys)}


def _key_groups(keys: NDArray[Any], known: pd.DataFrame, classes: int) -> Answer:
    """Return each combination with each group that has it, once."""
    pairs = pd.DataFrame({"key": keys, "group": known[GROUP].to_numpy()}).drop_duplicates()
    return {"keys": pairs["key"].to_numpy(), "groups": pairs["group"].to_numpy()}


def _key_sums(keys: NDArray[Any], known: pd.DataFrame, classes: int) -> Answer:
    """Return rows, target sums and squared deviations from the mean, by combination."""
    found, place = np.unique(keys, return_inverse=True)
    rows, outputs = np.bincount(place), _outputs(known[TARGET].to_numpy(), classes)
    sums = np.column_stack([np.bincount(place, weights=out) for out in outputs.T])
    apart = (outputs - (sums / rows[:, None])[place]) ** 2
    squares = np.column_stack([np.bincount(place, weights=out) for out in apart.T])
    fold = np.full(len(found), known[FOLD].iloc[0])
    return {"keys": found, "fold": fold, "rows": rows, "sums": sums, "squares": squares}


_KEY_SUMS: dict[str, Callable[[NDArray[Any], pd.DataFrame, int], Answer]] = {
    "cross": _distinct_keys,
    "frequency": _key_groups,
    "target_encoded": _key_sums,
}


def _point_sums(positions: Floats, known: pd.DataFrame, classes: int) -> Answer:
    """Return the rows and target sums of each group at each of its positions."""
    told = np.flatnonzero(~np.isnan(positions).any(axis=1))
    group = known[GROUP].to_numpy()[told]
    _, rank = np.unique(group, return_inverse=True)
    first, point = columns._distinct(np.column_stack([rank, positions[told]]))
    outputs = _outputs(known[TARGET].to_numpy()[told], classes)
    sums = [np.bincount(point, weights=out, minlength=len(first)) for out in outputs.T]
    return {
        "groups": group[first],
        "positions": positions[told][first],
        "counts": np.bincount(point, minlength=len(first)).astype(np.float64),
        "sums": np.array(sums).T,
        "fold": np.full(len(first), known[FOLD].iloc[0]),
    }


# ---------------------------------------------------------------- merging what the tasks return


def _settle(asked: Asked, spark: SparkSession, chunks: list[Chunk], names: Iterable[str]) -> None:
    """Let the encoder know the levels of columns: declared ones, or those that occur."""
    encoder = asked.learned.encoder
    wanted = [name for name in dict.fromkeys(names) if name not in encoder.known_levels_]
    declared = {name: encoder._declared.get(name, {}).get("codes") for name in wanted}
    asked.names = [name for name in wanted if not declared[name]]
    found = run_tasks(spark, asked.levels, chunks) if asked.names else []
    for name, codes in declared.items():
        if codes:
            levels = columns._as_levels(codes, encoder._is_text(name))
        else:
            levels = np.unique(np.concatenate([part[name] for parts in found for part in parts]))
        encoder.known_levels_[name] = levels


def _joined(answers: list[Answer], name: str) -> NDArray[Any]:
    return np.concatenate([answer[name] for answer in answers])


class _Values:
    """A column's training values, by their counts, as the learning of quantiles asks for them."""

    def __init__(self, answers: list[Answer]) -> None:
        self.values = np.repeat(_joined(answers, "values"), _joined(answers, "counts"))

    def number(self, name: str) -> Floats:
        """Return the values; their order means nothing."""
        return self.values


def _learn_spec(
    learned: Learned,
    spec: dict[str, Any],
    answers: list[Answer],
    training: Any,
    others: list[Floats],
) -> None:
    """Set the state of one derived column."""
    encoder, kind = learned.encoder, spec["kind"]
    if kind == "neighbour_rate":
        state = _learn_points(learned, spec, answers, training)
    elif kind in KEYED:
        keys = np.unique(_joined(answers, "keys"))
        state = {"sizes": [encoder._lookup(name).size for name in spec["of"]], "keys": keys}
        if kind == "frequency":
            state["counts"] = _counts(keys, answers)
        elif kind == "target_encoded":
            state |= _learn_rates(learned, spec, answers, keys, training, others)
        else:
            state["levels"] = columns._key_names(cast("Any", _Known(encoder)), spec, state)
    else:
        frame: Any = _Values(answers) if _learns_quantiles(spec) else None
        state = columns._KINDS[kind].fit(frame, spec, training)
    if "levels" in state:
        encoder.known_levels_[spec["name"]] = np.array(state.pop("levels"))
    encoder.state_[spec["name"]] = state


@dataclass(frozen=True)
class _Known:
    """What the names of combinations need of a frame."""

    encoder: ColumnEncoder


def _counts(keys: NDArray[Any], answers: list[Answer]) -> NDArray[np.int64]:
    """Return how many groups have each combination."""
    place = np.searchsorted(keys, _joined(answers, "keys"))
    groups, rank = np.unique(_joined(answers, "groups"), return_inverse=True)
    distinct = np.unique(place.astype(np.int64) * len(groups) + rank)
    return np.bincount(distinct // len(groups), minlength=len(keys))


def _learn_rates(
    learned: Learned,
    spec: dict[str, Any],
    answers: list[Answer],
    keys: NDArray[Any],
    training: Any,
    others: list[Floats],
) -> dict[str, Any]:
    """Return rates by combination over all training rows, and keep those of each fold's others."""
    parts = {name: _joined(answers, name) for name in ("keys", "fold", "rows", "sums", "squares")}
    smooth = spec["options"]["smooth"]
    learned.rates[spec["name"]] = [
        _rates(keys, {n: v[parts["fold"] != fold] for n, v in parts.items()}, rest, smooth)
        for fold, rest in enumerate(others)
    ]
    rates, mean = _rates(keys, parts, training.outputs, smooth)
    return {"rates": rates, "mean": mean, "classes": training.classes}


def _rates(
    keys: NDArray[Any], parts: dict[str, NDArray[Any]], outputs: Floats, smooth: Any
) -> tuple[Floats, Floats]:
    """Return scikit-learn's target encoding of each combination, and the mean, rounded."""
    place, mean = np.searchsorted(keys, parts["keys"]), outputs.mean(axis=0)
    rows = np.bincount(place, weights=parts["rows"], minlength=len(keys))
    found = []
    for number in range(outputs.shape[1]):
        part_sums, part_rows = parts["sums"][:, number], parts["rows"]
        sums = np.bincount(place, weights=part_sums, minlength=len(keys))
        own = sums / np.maximum(rows, 1)
        apart = parts["squares"][:, number] + part_rows * (part_sums / part_rows - own[place]) ** 2
        squares = np.bincount(place, weights=apart, minlength=len(keys))
        variance = outputs[:, number].var()
        found.append(shrunk(rows, sums, squares, float(mean[number]), float(variance), smooth))
    return columns.rounded(np.column_stack(found)), columns.rounded(mean)


def shrunk(
    rows: NDArray[Any],
    sums: NDArray[Any],
    squares: NDArray[Any],
    mean: float,
    variance: float,
    smooth: Any,
) -> Floats:
    """Return means by key, shrunk towards the mean of all (Micci-Barreca 2001, as scikit-learn).

    ``squares`` are sums of squared deviations from the key's own mean. A key without rows has the
    mean of all.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        if smooth == "auto":
            weight = variance * rows / (variance * rows + squares / rows)
            found = weight * sums / rows + (1 - weight) * mean
        else:
            found = (sums + smooth * mean) / (rows + smooth)
    return np.where(np.isnan(found), mean, found)


def _learn_points(
    learned: Learned, spec: dict[str, Any], answers: list[Answer], training: Any
) -> dict[str, Any]:
    """Return which set of points is meant; the first of its columns learns it."""
    encoder, key = learned.encoder, columns._neighbour_key(spec)
    if key not in encoder.points_:
        state, fold = _points(answers, spec["options"]["metric"])
        state["mean"] = columns.rounded(training.outputs.mean(axis=0))
        state["asked"] = {
            value: sorted(
                {s["options"]["neighbours"] for s in encoder._specs if columns._asks(s, key, value)}
            )
            for value in ("rate", "distance")
        }
        encoder.points_[key], learned.point_folds[key] = state, fold
    return {"key": key, "classes": training.classes}


def _points(answers: list[Answer], metric: str) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Return the training points by group and position, and the fold of each."""
    groups, positions = _joined(answers, "groups"), _joined(answers, "positions")
    if not len(groups):
        raise DataError("no training row has a position; drop the neighbour_rate columns")
    _, rank = np.unique(groups, return_inverse=True)
    first, point = columns._distinct(np.column_stack([rank, positions]))
    sums = [np.bincount(point, weights=out) for out in _joined(answers, "sums").T]
    counts = np.bincount(point, weights=_joined(answers, "counts"))
    fold = _joined(answers, "fold")[first]
    if (fold == fold[0]).all():
        raise DataError("all training rows with a position are of one fold; more groups are needed")
    state = {
        "metric": metric,
        "positions": positions[first],
        "sums": np.array(sums).T.copy(),
        "counts": counts,
    }
    return state, fold.astype(np.int64)


def _finish(encoder: ColumnEncoder, chunks: list[Chunk]) -> None:
    """Set what follows from the learned state, in the order in which the encoder itself sets it."""
    row = chunks[0].read([column["name"] for column in encoder.columns]).iloc[:1]
    frame = columns._Frame(encoder._checked(row), encoder)
    made_by: dict[str, list[str]] = {}
    for spec in encoder._specs:
        kind = columns._KINDS[spec["kind"]]
        made = kind.apply(frame, spec, encoder.state_[spec["name"]])
        frame.add(made, kind.result == "categorical")
        made_by[spec["name"]] = list(made)
    encoder.feature_kinds_ = encoder._kinds(made_by)
    encoder.state_ = {name: encoder.state_[name] for name in made_by}
    _order_levels(encoder)
    encoder.feature_names_in_ = np.array([c["name"] for c in encoder.columns], dtype=object)
    encoder.n_features_in_ = len(encoder.columns)


def _order_levels(encoder: ColumnEncoder) -> None:
    """Keep the levels that the encoder asks for, in its order: it is part of a model's digest."""
    order: list[str] = []
    for spec in encoder._specs:
        order += spec["of"] if spec["kind"] in KEYED else []
        order += [spec["name"]]
    order += _coded(encoder)
    known = encoder.known_levels_
    encoder.known_levels_ = {name: known[name] for name in dict.fromkeys(order) if name in known}
    categorical = [n for n, kind in encoder.feature_kinds_.items() if kind == "categorical"]
    encoder.levels_ = {name: encoder._levels(name) for name in categorical}
