"""The split of rows into train, stop, choose and test: as given, by time, or by group.

Rows of one group stay together. ``test`` is a share of all rows, ``validation`` of the others;
validation is halved into ``stop`` and ``choose``. Nothing depends on the order of rows. A split by
group is stratified by the target's class, so that a rare class is in every part it has groups for,
and first of all in train.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lockstep.config.params import Split
from lockstep.errors import ConfigError, DataError, unknown
from lockstep.problems.schema import Schema

GIVEN = ("train", "test")
"""Names of parts in a source's own split."""


def split_rows(
    table: pd.DataFrame,
    schema: Schema,
    settings: Split,
    hashes: Callable[[], NDArray[np.uint64]] | None = None,
) -> pd.Series:
    """Return the part of each row, one of layout.PARTS, with the table's index.

    ``hashes`` gives what ``feature_hashes`` would, for a table without its features. A split that
    the data can't give is a DataError, one that the schema can't give a ConfigError.
    """
    group = group_codes(table, schema)
    if settings.kind == "given":
        parts = _given(table, schema, settings, group)
    elif settings.kind == "time":
        parts = parts_by_time(_dates(table, schema), group, settings)
    else:
        if settings.alike == "together":
            group = joined(group, hashes() if hashes else feature_hashes(table, schema))
        order = mixed(group, settings.seed)
        shares = _shares(settings)
        parts = _named(_best_cut(group, order, shares, _classes(table, schema)), shares)
    return pd.Series(parts, index=table.index, name="part")


def group_codes(table: pd.DataFrame, schema: Schema) -> NDArray[np.uint64]:
    """Return a stable hash of each row's group; without a group column each row is its own."""
    values = pd.Series(np.arange(len(table))) if schema.group is None else table[schema.group]
    if values.isna().any():
        fault = f"{int(values.isna().sum())} rows have no '{schema.group}'"
        raise DataError(f"{fault}; every row needs its group")
    return hashed(values)


def hashed(values: pd.Series) -> NDArray[np.uint64]:
    """Return a stable hash of each value: whole numbers by their value, others by their text."""
    if values.dtype.kind in "iu":
        return mixed(values.to_numpy().astype(np.uint64))
    texts = values.astype(str).to_numpy(dtype=object)
    return np.asarray(pd.util.hash_array(texts, categorize=True))


def feature_hashes(table: pd.DataFrame, schema: Schema) -> NDArray[np.uint64]:
    """Return a hash of each row's features; rows alike in every feature have the same."""
    features = table[schema.feature_names]
    hashes = pd.util.hash_pandas_object(features, index=False)
    return np.asarray(hashes, dtype=np.uint64)


def joined(group: NDArray[np.uint64], pattern: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return groups that hold whole groups and whole patterns: what either joins stays together.

    A joined group is named by its least pattern, so nothing depends on the order of rows.
    """
    groups, group_place = np.unique(group, return_inverse=True)
    patterns, pattern_place = np.unique(pattern, return_inverse=True)
    places = (group_place, pattern_place + len(groups))
    size = len(groups) + len(patterns)
    edges = coo_array((np.ones(len(group), dtype=np.int8), places), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    names = np.full(size, np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(names, component[len(groups) :], patterns)
    return names[component[group_place]]


def mixed(values: NDArray[np.uint64], seed: int = 0) -> NDArray[np.uint64]:
    """Return whole numbers mixed one-to-one over 64 bits (the finaliser of splitmix64).

    As an order of groups, it depends on the group and the seed alone.
    """
    z = values + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _shares(settings: Split) -> dict[str, float]:
    """Return each part's share of all rows, the first to come first."""
    rest = 1 - settings.test
    half = rest * settings.validation / 2
    return {"train": rest - 2 * half, "stop": half, "choose": half, "test": settings.test}


def parts_by_time(
    dates: pd.Series, group: NDArray[np.uint64], settings: Split
) -> NDArray[np.object_]:
    """Return each row's part, by its group's first date."""
    first = dates.groupby(group).transform("min").to_numpy()
    groups = _groups(group, first.astype("datetime64[s]").astype("int64"))
    shares = _shares(settings)
    return _named(_cut(groups.places(), shares)[groups.of_row], shares)


def _dates(table: pd.DataFrame, schema: Schema) -> pd.Series:
    """Return each row's date; DataError where one has none."""
    if schema.date is None:
        fix = f"set problems.{schema.name}.split.kind: group"
        raise ConfigError(f"{schema.name} has no column of kind date; {fix}")
    dates = pd.Series(table[schema.date].to_numpy())
    if dates.isna().any():
        raise DataError(
            f"{int(dates.isna().sum())} rows have no '{schema.date}'; fill it in, or set "
            f"problems.{schema.name}.split.kind: group"
        )
    return dates


@dataclass(frozen=True)
class _Groups:
    """The groups of a table, each once: name, order, rows; and the group of each row."""

    names: NDArray[np.uint64]
    order: NDArray[np.int64] | NDArray[np.uint64]
    rows: NDArray[np.int64]
    of_row: NDArray[np.intp]

    def places(
        self,
        order: NDArray[np.float64] | None = None,
        chosen: NDArray[np.bool_] | slice = slice(None),
    ) -> NDArray[np.float64]:
        """Return where each group's middle row is among all rows of the chosen groups, 0 to 1."""
        names, rows = self.names[chosen], self.rows[chosen]
        queue = np.lexsort([names, (self.order if order is None else order)[chosen]])
        found = np.empty(len(names))
        found[queue] = (np.cumsum(rows[queue]) - rows[queue] / 2) / rows.sum()
        return found


def _groups(group: NDArray[np.uint64], order: NDArray[np.int64] | NDArray[np.uint64]) -> _Groups:
    names, first, place, rows = np.unique(
        group, return_index=True, return_inverse=True, return_counts=True
    )
    return _Groups(names, order[first], rows, place)


def _cut(places: NDArray[np.float64], shares: dict[str, float]) -> NDArray[np.intp]:
    """Return the number of each group's part: places are cut where the parts' shares end."""
    return np.searchsorted(np.cumsum(list(shares.values()))[:-1], places, side="right")


def _named(parts: NDArray[np.intp], shares: dict[str, float]) -> NDArray[np.object_]:
    return np.array(list(shares), dtype=object)[parts]


def _dealt(
    places: NDArray[np.float64], parts: NDArray[np.intp], shares: dict[str, float]
) -> NDArray[np.intp]:
    """Move the parts' ends so that each has a group, in the same order, if there are enough."""
    wanted = np.flatnonzero(list(shares.values()))
    count, kinds = len(places), len(wanted)
    if count < kinds:
        return parts
    least = np.arange(1, kinds)
    ends = np.array([(parts <= part).sum() for part in wanted[:-1]])
    ends = np.maximum.accumulate(np.maximum(ends, least) - least) + least
    ends = np.minimum(ends, count - kinds + least)
    found = np.empty(count, dtype=np.intp)
    found[np.argsort(places, kind="stable")] = np.searchsorted(ends, np.arange(count), side="right")
    return wanted[found]


def _classes(table: pd.DataFrame, schema: Schema) -> NDArray[np.int64] | None:
    """Return the rank of each row's class, the rarest 0; None where the target has no classes."""
    if schema.task == "regression":
        return None
    return class_ranks(table[schema.target].astype(str).to_numpy(dtype=object))


def class_ranks(labels: NDArray[np.object_] | NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rank of each row's class (rows,), the rarest 0."""
    # Equally frequent classes rank by their name: nothing may depend on the order of rows.
    _, place, rows = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(rows), dtype=np.int64)
    rank[np.argsort(rows, kind="stable")] = np.arange(len(rows))
    return rank[place]


def all_are_measured(
    group: NDArray[np.uint64], classes: NDArray[np.int64], settings: Split
) -> bool:
    """Tell whether a split by group gives each part two classes, and train all of them.

    ``classes`` (rows,) holds the rank of each row's class, the rarest 0.
    """
    shares = _shares(settings)
    parts = _best_cut(group, mixed(group, settings.seed), shares, classes)
    measured, _, learned = _worth(parts, classes)
    wanted = sum(share > 0 for share in shares.values())
    return measured == wanted and learned == len(np.unique(classes))


def _best_cut(
    group: NDArray[np.uint64],
    order: NDArray[np.uint64],
    shares: dict[str, float],
    classes: NDArray[np.int64] | None,
) -> NDArray[np.intp]:
    """Return the number of each row's part; a group has its rarest class, which are cut alike.

    Where few groups leave a part empty or with one class, each class gives every part a group, if
    that or a cut of all classes together is better.
    """
    groups = _groups(group, order)
    own = np.zeros(len(groups.names), dtype=np.int64)
    if classes is not None:
        own += classes.max()
        np.minimum.at(own, groups.of_row, classes)
    places, dealt = np.empty(len(own)), np.empty(len(own), dtype=np.intp)
    for stratum in np.unique(own):
        chosen = own == stratum
        places[chosen] = groups.places(chosen=chosen)
        dealt[chosen] = _dealt(places[chosen], _cut(places[chosen], shares), shares)
    ways = (_cut(places, shares), dealt, _cut(groups.places(places), shares))
    return max((way[groups.of_row] for way in ways), key=partial(_worth, classes=classes))


def _worth(parts: NDArray[np.intp], classes: NDArray[np.int64] | None) -> tuple[int, int, int]:
    """Return how many parts can be measured, how many have rows, how many classes are learned."""
    if classes is None:
        return 0, len(np.unique(parts)), 0
    known = np.zeros((parts.max() + 1, classes.max() + 1), dtype=bool)
    known[parts, classes] = True
    count = known.sum(axis=1)
    return int((count > 1).sum()), int((count > 0).sum()), int(count[0])


def _given(
    table: pd.DataFrame, schema: Schema, settings: Split, group: NDArray[np.uint64]
) -> NDArray[np.object_]:
    """Return the source's own parts, validation cut by group from its training rows."""
    given = _own_parts(table, schema)
    _check_apart(given, group)
    training = (given == "train").to_numpy()
    parts = np.where(training, "train", "test").astype(object)
    if not training.any():  # whoever takes a part says that it has no rows
        return parts
    shares = _shares(Split(kind="group", test=0, validation=settings.validation))
    del shares["test"]
    order = mixed(group[training], settings.seed)
    classes = _classes(table[training], schema)
    ways = [_best_cut(group[training], order, shares, classes)]
    if schema.task == "binary":  # two classes are cut as they come, if each part then has both
        ways.insert(0, _best_cut(group[training], order, shares, None))
    parts[training] = _named(max(ways, key=partial(_worth, classes=classes)), shares)
    return parts


def _own_parts(table: pd.DataFrame, schema: Schema) -> pd.Series:
    other = f"set problems.{schema.name}.split.kind: time (or group)"
    if schema.part is None or table[schema.part].isna().all():
        raise DataError(f"the source of {schema.name} brings no split of its own; {other}")
    given = table[schema.part]
    if given.isna().any():
        fault = f"{int(given.isna().sum())} rows have no '{schema.part}'"
        raise DataError(f"{fault}; fill it in, or {other}")
    for name in given.unique():
        if name not in GIVEN:
            raise DataError(unknown(f"part in column '{schema.part}'", name, GIVEN))
    return given


def _check_apart(given: pd.Series, group: NDArray[np.uint64]) -> None:
    test = (given == "test").to_numpy()
    both = np.intersect1d(group[test], group[~test])
    if len(both):
        raise DataError(
            f"{len(both)} groups have rows in both parts of the source's own split; "
            "put each in one part, or set split.kind: group"
        )
