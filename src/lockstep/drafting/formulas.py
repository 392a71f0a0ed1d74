"""A target that other columns give by a formula: a sum of multiples, or a product of powers.

Coefficients are found by least squares on some rows and judged on others. Rows that do not follow
the formula are trimmed, so a few mistakes in a file hide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_SHARE = 0.99
"""The share of rows in which a formula must hold."""
_MOST_ROWS, _FEWEST_ROWS, _MOST_MISSING = 4000, 50, 0.2
_STARTS, _TRIMS, _WIDE = 8, 4, 3.0
_EXACT = 1e-7
"""Differences that arithmetic makes, as a share of the target's spread."""
_SINGLE = 1e-6
"""Differences that numbers of single precision make, as a share of their size."""
_LEEWAY = 1.2
"""Roundings by which a formula may be off, as its coefficients are estimates."""
_COARSE = 20
"""How many roundings wide the target's spread must be for a rounded formula to say something."""
_MOST_BY_CHANCE = 0.3
"""Share of rows that one constant may hit as well."""
_WHOLE = 0.03
"""How far the exponent of a product may be from a whole number."""


@dataclass(frozen=True)
class Formula:
    """A formula in words, its columns, and the share of the rows in which it holds."""

    text: str
    columns: tuple[str, ...]
    share: float


def find_formula(
    columns: Mapping[str, Floats], wanted: Floats, steps: Mapping[str, float], step: float
) -> Formula | None:
    """Return the formula of two or more columns that gives the target, or None.

    ``columns`` and ``wanted`` are rows in random order, NaN where missing; ``steps`` and ``step``
    are the units of their last decimals, 0 for whole numbers.
    """
    names = [n for n, v in columns.items() if np.isnan(v).mean() <= _MOST_MISSING and np.nanstd(v)]
    if len(names) < 2:
        return None
    table = np.column_stack([columns[name] for name in names])
    rounding = np.array([steps[name] / 2 for name in names])
    for search in (_sum, _product):
        found = search(names, table, wanted, rounding, step / 2 or 0.5)
        if found:
            return found
    return None


def _complete(table: Floats, wanted: Floats) -> NDArray[np.bool_]:
    return np.isfinite(table).all(axis=1) & np.isfinite(wanted)


def _sum(
    names: list[str], table: Floats, wanted: Floats, rounding: Floats, half: float
) -> Formula | None:
    """Return the target as a sum of multiples of columns and a constant."""
    middle, scale = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    used = _search((table - middle) / scale, wanted, rounding / scale, half)
    if len(used) < 2:
        return None
    rows = _complete(table[:, used], wanted)
    design = np.column_stack([table[rows][:, used], np.ones(rows.sum())])
    weights = _trimmed_fit(design, wanted[rows])
    weights = np.array([_short(weight) for weight in weights])
    if abs(weights[-1]) < _slack(wanted[rows]) + half / 10:
        weights[-1] = 0.0
    off = np.abs(design @ weights - wanted[rows])
    share = _share(off, wanted[rows], _allowed(weights[:-1], rounding[used], half, wanted[rows]))
    if share < LEAST_SHARE:
        return None
    terms = [_term(w, names[i]) for w, i in zip(weights[:-1], used, strict=True)]
    text = " ".join([*terms, *([f"{weights[-1]:+.6g}"] if weights[-1] else [])])
    return Formula(text.removeprefix("+ "), tuple(names[i] for i in used), share)


def _term(weight: float, name: str) -> str:
    sign, size = "-" if weight < 0 else "+", abs(weight)
    return f"{sign} {name}" if size == 1 else f"{sign} {size:.6g} · {name}"


def _short(weight: float) -> float:
    """Return a coefficient without the last digits that arithmetic made."""
    near = round(weight, 3)
    return near if abs(weight - near) <= 1e-4 * max(abs(near), 1e-3) else float(f"{weight:.6g}")


def _allowed(weights: Floats, rounding: Floats, half: float, wanted: Floats) -> list[float]:
    """Return how far a formula may be off: by arithmetic, and by the rounding of target, columns.

    A column with decimals may be exact, or rounded before the target was made of it.
    """
    slack = _slack(wanted)
    rounded = half * _LEEWAY + slack
    return [slack, rounded, rounded + float((np.abs(weights) * rounding).sum()) * _LEEWAY]


def _share(off: Floats, wanted: Floats, allowed: list[float]) -> float:
    """Return the share of rows in which a formula holds, 0 where a constant holds as well."""
    exact, *others = allowed
    share = float((off <= exact).mean())
    for most in others:
        chance = float((np.abs(wanted - np.median(wanted)) <= most).mean())
        if chance <= _MOST_BY_CHANCE and wanted.std() >= _COARSE * most:
            share = max(share, float((off <= most).mean()))
    return share


def _slack(wanted: Floats) -> float:
    """Return the difference that arithmetic alone may make; an outlier does not widen it."""
    low, high = np.quantile(wanted, [0.05, 0.95])
    size = float(np.quantile(np.abs(wanted), 0.95))
    return max(_EXACT * (high - low), min(_SINGLE * size, 1e-3 * (high - low)))


def _product(
    names: list[str], table: Floats, wanted: Floats, rounding: Floats, half: float
) -> Formula | None:
    """Return the target as a constant times a product of columns' whole powers."""
    with np.errstate(divide="ignore"):
        logs, aim = np.log(np.abs(table)), np.log(np.abs(wanted))
    good = (np.isfinite(logs).mean(axis=0) >= 1 - _MOST_MISSING) & (np.nanstd(table, axis=0) > 0)
    rows = _complete(logs[:, good], aim) & (np.abs(wanted) > 20 * half)
    places = np.flatnonzero(good)
    if rows.sum() < _FEWEST_ROWS or len(places) < 2:
        return None
    design = np.column_stack([logs[rows][:, places], np.ones(rows.sum())])[:_MOST_ROWS]
    power = np.round(_trimmed_fit(design, aim[rows][:_MOST_ROWS]), 6)[:-1]
    whole = np.round(power)
    used = places[whole != 0]
    if len(used) < 2 or np.abs(power - whole).max() > _WHOLE or np.abs(whole).max() > 3:
        return None
    return _checked_product(names, table, wanted, rounding, half, used, whole[whole != 0])


def _checked_product(
    names: list[str], table: Floats, wanted: Floats, rounding: Floats, half: float,
    used: NDArray[np.int64], power: Floats,
) -> Formula | None:  # fmt: skip
    rows = _complete(table[:, used], wanted) & (table[:, used] != 0).all(axis=1)
    parts, aim = table[rows][:, used], wanted[rows]
    made = np.prod(parts**power, axis=1)
    large = np.abs(aim) >= np.quantile(np.abs(aim), 0.8)  # rounding blurs the ratio least there
    factor = _shortest(float(np.median((aim / made)[large])), made, aim, half)
    off = np.abs(factor * made - aim)
    inner = (np.abs(power) * rounding[used] / np.abs(parts)).sum(axis=1)
    relative = off / np.maximum(np.abs(aim), half)  # roundings of columns grow with the target
    leeway = _LEEWAY * half / np.maximum(np.abs(aim), half) + _SINGLE
    share = float((relative <= leeway).mean())
    if np.median(inner) * _COARSE * np.abs(aim).mean() < aim.std():
        share = max(share, float((relative <= leeway + _LEEWAY * inner).mean()))
    chance = float((np.abs(aim - np.median(aim)) <= leeway * np.abs(aim)).mean())
    if share < LEAST_SHARE or chance > _MOST_BY_CHANCE or aim.std() < _COARSE * half:
        return None
    over = [_power(names[i], p) for i, p in zip(used, power, strict=True) if p > 0]
    under = [_power(names[i], -p) for i, p in zip(used, power, strict=True) if p < 0]
    above = " · ".join([*([f"{factor:.6g}"] if factor != 1 else []), *over]) or "1"
    text = " / ".join([above, *under])
    return Formula(text, tuple(names[i] for i in used), share)


def _shortest(factor: float, made: Floats, aim: Floats, half: float) -> float:
    """Return the factor of the fewest digits that fits as many rows, to the target's rounding."""

    def fitting(value: float) -> float:
        return float((np.abs(value * made - aim) <= _LEEWAY * half + _SINGLE * np.abs(aim)).mean())

    shorter = (float(f"{factor:.{digits}g}") for digits in range(1, 7))
    return next((f for f in shorter if fitting(f) >= fitting(factor)), _short(factor))


def _power(name: str, power: float) -> str:
    return name if power == 1 else f"{name}^{power:g}"


# ---------------------------------------------------------------- the search


def _search(table: Floats, wanted: Floats, rounding: Floats, half: float) -> list[int]:
    """Return the columns that are needed to give the target, none where they do not."""
    rows = np.flatnonzero(_complete(table, wanted))[:_MOST_ROWS]
    if len(rows) < _FEWEST_ROWS:
        return []
    most = len(rows) // 3
    used = _nearest(table[rows], wanted[rows])[:most]
    learn, attempt = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    weights = _found(table, wanted, used, learn, attempt, rounding, half)
    if weights is None:
        return []
    for place in np.array(used)[np.argsort(np.abs(weights), kind="stable")].tolist():
        fewer = [other for other in used if other != place]
        if fewer and _found(table, wanted, fewer, learn, attempt, rounding, half) is not None:
            used = fewer
    return sorted(used)


def _nearest(table: Floats, wanted: Floats) -> list[int]:
    """Return the columns, those first that go most with the target."""
    aim = (wanted - wanted.mean()) / (wanted.std() or 1.0)
    return [int(i) for i in np.argsort(-np.abs(table.T @ aim), kind="stable")]


def _found(
    table: Floats, wanted: Floats, used: list[int], learn: NDArray[np.int64],
    attempt: NDArray[np.int64], rounding: Floats, half: float,
) -> Floats | None:  # fmt: skip
    """Return the weights of columns that give the target in rows not learned from, or None."""
    design = np.column_stack([table[:, used], np.ones(len(table))])
    weights = _trimmed_fit(design[learn], wanted[learn])
    off, aim = np.abs(design[attempt] @ weights - wanted[attempt]), wanted[attempt]
    if not aim.std():
        return None
    share = _share(off, aim, _allowed(weights[:-1], rounding[used], half, aim))
    return weights[:-1] if share >= LEAST_SHARE else None


def _trimmed_fit(design: Floats, wanted: Floats) -> Floats:
    """Return the least-squares weights of the half of the rows that a formula fits best.

    Small random sets of rows are starts too (least trimmed squares, Rousseeuw 1984).
    """
    generator = np.random.Generator(np.random.PCG64(0))
    rows, half = len(design), max(len(design) // 2, design.shape[1])
    size = min(rows, 2 * design.shape[1])
    starts = [np.arange(rows), *(generator.permutation(rows)[:size] for _ in range(_STARTS))]
    best, least = np.zeros(design.shape[1]), np.inf
    for start in starts:
        weights = np.linalg.lstsq(design[start], wanted[start], rcond=None)[0]
        for _ in range(_TRIMS):
            off = np.abs(design @ weights - wanted)
            keep = np.argsort(off, kind="stable")[:half]
            weights = np.linalg.lstsq(design[keep], wanted[keep], rcond=None)[0]
        off = np.abs(design @ weights - wanted)
        keep = off <= max(_WIDE * float(np.median(off)), _slack(wanted))
        weights = np.linalg.lstsq(design[keep], wanted[keep], rcond=None)[0]
        score = float((np.sort(off)[:half] ** 2).sum())
        if score < least:
            best, least = weights, score
        if score <= half * _slack(wanted) ** 2:
            break
    return best
