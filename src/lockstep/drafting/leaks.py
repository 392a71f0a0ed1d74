"""Columns that give the target away: alone, judged out of fold and by ranks, or by a formula.

Each suspicion has an interval: a small table can raise one, and an outlier neither makes nor hides
one. At most ``SAMPLE`` rows are examined, in random order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from lockstep.drafting.evidence import SAMPLE, Evidence, Floats, Places, Target, column_numbers
from lockstep.drafting.formulas import find_formula
from lockstep.drafting.profile import Column, Profile
from lockstep.drafting.thresholds import find_threshold
from lockstep.drafting.wording import at_least, both, share
from lockstep.problems.text_tables import MISSING, TextTable

FOLDS = 5
_SIDE = 3
"""Rows on each side of a number whose classes vote for its own."""
_DETERMINED, _STRONG, _MOST_UPPER = 0.02, 0.1, 0.3
"""Shares of the rows not of the usual class that may be wrong: at most, and at the upper end."""
_STRONG_AUC = 0.98
"""The least area under the ROC curve, at the interval's lower end, of a column that is asked."""
_DETERMINED_R2, _LEAST_R2 = 0.99, 0.98
"""The share of the target's ranks that is explained, and the least at the lower end."""
_TRIMMED = 0.02
"""The share of rows, those that fit worst, that are not looked at: an outlier hides nothing."""
_FEWEST, _FEWEST_ROWS = 5, 30
_FEW_CLASSES = 3
_FEWEST_PURE, _PART_OF_LABEL, _MOST_USUAL = 20, 0.4, 0.6
"""Rows of a level with one label: how many, which part of the label's; the label's share."""
_EQUAL, _EQUAL_BY_CHANCE = 0.3, 0.05
"""Share of the rows in which a column equals the target: at least, and at most by chance."""
_Z = 1.96
_FISHER = 1.06
"""The factor of Spearman's standard error on Fisher's scale (Fieller, Hartley, Pearson 1957)."""


def leaks(text: TextTable, profile: Profile, target: Target) -> dict[str, Evidence]:
    """Return the columns that give the target away: whether wholly, and the evidence."""
    rows = np.random.Generator(np.random.PCG64(0)).permutation(text.rows)[:SAMPLE]
    wanted = target.values(text.columns[target.name].take(rows).dictionary_encode())
    rows, wanted = rows[~np.isnan(wanted)], wanted[~np.isnan(wanted)]
    if len(rows) < _FEWEST_ROWS:
        return {}
    judge = _by_ranks if target.task == "regression" else _by_classes
    found: dict[str, Evidence] = {}
    numbers = {}
    for column in profile.columns.values():
        if column.name == target.name or column.distinct + (column.missing > 0) < 2:
            continue
        coded = text.columns[column.name].take(rows).dictionary_encode()
        values = column_numbers(coded, column) if column.numbers else None
        levels = _levels(coded, column)
        evidence = judge(levels, values, wanted)
        if not evidence and target.task != "regression":
            evidence = _by_level(levels, coded.dictionary.to_pylist(), wanted)
        if evidence:
            found[column.name] = evidence
        if values is not None:
            numbers[column.name] = values
    weak = {name: values for name, values in numbers.items() if name not in found}
    formula = _by_formula(numbers, wanted, profile, target)
    if not formula and len(weak) < len(numbers):  # a column that is the target hides the others
        formula = _by_formula(weak, wanted, profile, target)
    return _by_threshold(weak, wanted, target) | found | formula


def _by_threshold(
    numbers: dict[str, Floats], wanted: Floats, target: Target
) -> dict[str, Evidence]:
    """Return the columns whose weighted sum tells two classes apart, each with the share."""
    told = find_threshold(numbers, wanted) if target.task == "binary" else None
    if told is None:
        return {}
    names, right = told
    columns = both(f"'{name}'" for name in names)
    how = f"a weighted sum of {columns} predicts the target"
    return dict.fromkeys(names, (False, f"{how} in {share(right)} of rows not learned from"))


def _by_formula(
    numbers: dict[str, Floats], wanted: Floats, profile: Profile, target: Target
) -> dict[str, Evidence]:
    """Return the columns of a formula that gives the target, each with the formula."""
    if target.task != "regression" or len(numbers) < 2:
        return {}
    steps = {name: step_of(profile.columns[name]) for name in numbers}
    found = find_formula(numbers, wanted, steps, step_of(target.column))
    if found is None:
        return {}
    how = f"{target.name} = {found.text} in {share(found.share)} of the rows"
    return dict.fromkeys(found.columns, (True, how))


def step_of(column: Column) -> float:
    """Return the unit of a column's last decimal as its levels show it, 0 without decimals."""
    sign = "," if column.numbers and column.numbers.decimal == "," else "."
    parts = [level.partition(sign)[2] for level in column.levels if "e" not in level.lower()]
    digits = max((sum(mark.isdigit() for mark in part) for part in parts), default=0)
    return 10.0**-digits if digits else 0.0


def _levels(coded: Any, column: Column) -> Places:
    """Return the number of each row's distinct text, 0 where it is missing."""
    texts = coded.dictionary.to_pylist()
    absent = MISSING | (column.numbers.words.keys() if column.numbers else set())
    place = np.arange(1, len(texts) + 2)
    place[[i for i, text in enumerate(texts) if text in absent] + [len(texts)]] = 0
    return place[coded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]


def _folds(rows: int) -> Places:
    return np.arange(rows) % FOLDS  # the rows are in random order


# ---------------------------------------------------------------- classes


def _by_classes(levels: Places, values: Floats | None, wanted: Floats) -> Evidence | None:
    """Return how often a class guessed from one column is right in rows not learned from."""
    classes, place = np.unique(wanted, return_inverse=True)
    counts = np.bincount(place)
    usual = int(counts.argmax())
    base = len(place) - int(counts[usual])
    guesses = [_level_guess(levels, place, len(classes))]
    if values is not None:
        guesses.append(_neighbour_guess(values, place, len(classes), guesses[0]))
    wrong = min(int((guess != place).sum()) for guess in guesses)
    upper = stats.beta.ppf(0.975, wrong + 1, max(len(place) - wrong, 1)) * len(place)
    if base >= _FEWEST and wrong <= max(_STRONG * base, 2) and upper <= _MOST_UPPER * base:
        most = min(upper / len(place), 1)
        right = f"{share(1 - wrong / len(place))} of the rows ({at_least(1 - most)})"
        return wrong <= max(_DETERMINED * base, 2), f"it alone predicts the target in {right}"
    if values is None or len(classes) != 2:
        return None
    return _by_area(values, place == 1)


def _level_guess(levels: Places, place: Places, classes: int) -> Places:
    """Return each row's most frequent class among rows of its level in the other folds.

    A level that is only in one fold gets the class that most rows with any value have.
    """
    folds, width = _folds(len(place)), int(levels.max()) + 1
    cells = levels * classes + place
    total = np.bincount(cells, minlength=width * classes).reshape(width, classes)
    guess = np.empty(len(place), dtype=np.int64)
    for fold in range(FOLDS):
        held = folds == fold
        own = np.bincount(cells[held], minlength=width * classes).reshape(width, classes)
        known = total - own
        known[1:][known[1:].sum(axis=1) == 0] = known[1:].sum(axis=0)
        guess[held] = known.argmax(axis=1)[levels[held]]
    return guess


def _neighbour_guess(values: Floats, place: Places, classes: int, missing: Places) -> Places:
    """Return each row's class by the rows of the other folds that are next to it in order."""
    folds, guess = _folds(len(place)), missing.copy()
    present = np.isfinite(values)
    for fold in range(FOLDS):
        learn, held = present & (folds != fold), present & (folds == fold)
        if not learn.any() or not held.any():
            continue
        order = np.argsort(values[learn], kind="stable")
        known, votes = values[learn][order], np.eye(classes, dtype=np.int64)[place[learn][order]]
        sums = np.vstack([np.zeros((1, classes), dtype=np.int64), np.cumsum(votes, axis=0)])
        low, high = (np.searchsorted(known, values[held], side=side) for side in ("left", "right"))
        near = votes[_nearest(known, values[held], low)] / 2  # where both sides are as many
        low = np.where(high - low >= 2 * _SIDE, low, np.maximum(low - _SIDE, 0))
        high = np.where(high - low >= 2 * _SIDE, high, np.minimum(high + _SIDE, len(known)))
        guess[held] = (sums[high] - sums[low] + near).argmax(axis=1)
    return guess


def _nearest(known: Floats, values: Floats, place: Places) -> Places:
    """Return the place of the known number (sorted) that is nearest to each value."""
    below, above = np.maximum(place - 1, 0), np.minimum(place, len(known) - 1)
    return np.where(values - known[below] <= known[above] - values, below, above)


def _by_area(values: Floats, positive: Any) -> Evidence | None:
    """Return the area under the ROC curve of a column, where even its lower end is high.

    The interval is Hanley and McNeil's (Radiology 143, 1982).
    """
    present = np.isfinite(values)
    ill, well = values[present & positive], values[present & ~positive]
    if present.mean() < 0.9 or min(len(ill), len(well)) < _FEWEST_ROWS:
        return None
    ranks = stats.rankdata(np.concatenate([ill, well]))[: len(ill)].sum()
    area = (ranks - len(ill) * (len(ill) + 1) / 2) / (len(ill) * len(well))
    area = max(area, 1 - area)
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (len(ill) - 1) * (first - area**2)
    spread += (len(well) - 1) * (second - area**2)
    lower = area - _Z * math.sqrt(max(spread, 0.0) / (len(ill) * len(well)))
    if lower < _STRONG_AUC:
        return None
    interval = f"95% interval: at least {lower:.3f}"
    return False, f"it alone ranks the two classes with an AUC of {area:.3f} ({interval})"


def _by_level(levels: Places, texts: list[str], wanted: Floats) -> Evidence | None:
    """Return the level all of whose rows have one label, if they are much of that label's rows.

    A column that is filled in only where the target is so is one of these. Of many classes, an
    honest column tells one as well.
    """
    _, place = np.unique(wanted, return_inverse=True)
    classes, width = int(place.max()) + 1, int(levels.max()) + 1
    counts = np.bincount(levels * classes + place, minlength=width * classes)
    counts = counts.reshape(width, classes)
    of_label, rows, label = counts.sum(axis=0), counts.sum(axis=1), counts.argmax(axis=1)
    part = counts.max(axis=1) / of_label[label]
    pure = (counts.max(axis=1) == rows) & (rows >= _FEWEST_PURE) & (part >= _PART_OF_LABEL)
    pure &= of_label[label] <= _MOST_USUAL * len(place)
    if classes > _FEW_CLASSES or not pure.any():
        return None
    level = int(np.argmax(np.where(pure, rows, 0)))
    held = f"with '{texts[level - 1]}'" if level else "without a value"
    same = f"all {rows[level]:,} rows {held} have the same label"
    return False, f"{same}, and are {share(float(part[level]))} of that label's rows"


# ---------------------------------------------------------------- amounts


def _by_ranks(levels: Places, values: Floats | None, wanted: Floats) -> Evidence | None:
    """Return how much of the target's ranks a column explains in rows not learned from."""
    ranks = stats.rankdata(wanted)
    if ranks.std() == 0:
        return None
    if values is not None and (evidence := _by_equality(values, wanted)):
        return evidence
    shares = [_explained(_level_means(levels, ranks), ranks)]
    if values is not None:
        present = np.isfinite(values)
        if present.sum() >= max(_FEWEST_ROWS, 0.5 * len(values)):
            shares.append(_in_order(values[present], wanted[present]))
    explained, rows = max(shares)
    fisher = math.atanh(min(math.sqrt(max(explained, 0.0)), 1 - 1e-12))
    lower = math.tanh(fisher - _Z * _FISHER / math.sqrt(max(rows - 3, 1))) ** 2
    if explained < _DETERMINED_R2 or lower < _LEAST_R2:
        return None
    how = f"its order alone explains {share(explained)} of the order of the target's values"
    return True, f"{how} ({at_least(lower)})"


def _by_equality(values: Floats, wanted: Floats) -> Evidence | None:
    """Return the share of rows in which a number is the target itself, more often than by chance.

    Such a column is the target in another unit, or before a correction. A column that determines
    the target is found by its ranks.
    """
    equal = float((values == wanted).mean())
    if not _EQUAL <= equal < 1 - _TRIMMED:
        return None
    (own, count), (theirs, times) = (np.unique(v, return_counts=True) for v in (values, wanted))
    _, here, there = np.intersect1d(own, theirs, return_indices=True)
    chance = float(count[here] @ times[there]) / len(wanted) ** 2
    if chance > _EQUAL_BY_CHANCE:
        return None
    return True, f"it equals the target in {share(equal)} of the rows, by chance in {share(chance)}"


def _level_means(levels: Places, ranks: Floats) -> Floats:
    """Return the mean rank of each row's level in the other folds."""
    folds, width = _folds(len(ranks)), int(levels.max()) + 1
    count, total = (np.bincount(levels, weights=w, minlength=width) for w in (None, ranks))
    guess = np.empty(len(ranks))
    for fold in range(FOLDS):
        held = folds == fold
        rows = count - np.bincount(levels[held], minlength=width)
        sums = total - np.bincount(levels[held], weights=ranks[held], minlength=width)
        middle = sums.sum() / max(rows.sum(), 1)
        guess[held] = np.where(rows > 0, sums / np.maximum(rows, 1), middle)[levels[held]]
    return guess


def _in_order(values: Floats, wanted: Floats) -> tuple[float, int]:
    """Return the squared rank correlation of a number, rising or falling."""
    place, ranks = stats.rankdata(values), stats.rankdata(wanted)
    if (place - place.mean()) @ (ranks - ranks.mean()) < 0:
        place = len(place) + 1 - place
    return _explained(place, ranks)


def _explained(guess: Floats, ranks: Floats) -> tuple[float, int]:
    """Return the squared correlation without the rows that fit worst, and the rows looked at."""
    keep = np.argsort(np.abs(guess - ranks), kind="stable")
    keep = keep[: len(keep) - math.ceil(_TRIMMED * len(keep))]
    guess, ranks = guess[keep], ranks[keep]
    if guess.std() == 0 or ranks.std() == 0:
        return 0.0, len(keep)
    return max(float(np.corrcoef(guess, ranks)[0, 1]), 0.0) ** 2, len(keep)
