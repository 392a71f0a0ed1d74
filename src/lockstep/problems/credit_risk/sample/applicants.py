"""Applicants and loans: the public tables' marginals, rank correlations and gaps, by month."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from operator import mul
from pathlib import Path
from statistics import NormalDist

import numpy as np

from lockstep.problems.draws import Columns, Draws, figures

END = 3.6
"""Standard deviations that stand for the ends of a column's range."""
HOUSING_BY_INCOME, EARLIER_BY_SCORE = 0.4, -0.35
"""Correlations of housing with income, and of an earlier default with the score."""
DRIFT_SCORE, DRIFT_INQUIRIES, DRIFT_PURPOSE = -0.03, 0.03, 0.01
"""Changes a month at drift 1: two columns in standard deviations, a share of purposes."""
STEPS = {
    "credit_score": 1, "income": 100, "loan_amount": 25, "employment_years": 1,
    "revolving_balance": 1, "revolving_utilisation": 0.1, "debt_to_income": 0.01,
    "credit_history_years": 0.1,
}  # fmt: skip
"""What the values of a column are whole multiples of."""

CODE_FILES = {"calibration.json": ()}
calibration = partial(figures, Path(__file__).with_name("calibration.json"))
"""Returns quantiles, shares, default rates, gaps and rank correlations."""


def draw_applicants(draws: Draws, month: str, units: int, drift: float) -> Columns:
    """Return a month's applications without gaps; ``drift`` is strength times months."""
    normal = draw_normal(draws, month, units)
    normal["credit_score"] = normal["credit_score"] + DRIFT_SCORE * drift
    normal["inquiries_6_months"] = normal["inquiries_6_months"] + DRIFT_INQUIRIES * drift
    table = calibration()
    columns = {name: by_quantile(name, normal[name]) for name in table["quantiles"] if name != "at"}
    columns |= {name: by_share(shares, normal[name]) for name, shares in table["counts"].items()}
    return columns | draw_kinds(draws, month, normal, drift)


def draw_normal(draws: Draws, month: str, units: int) -> Columns:
    """Return a standard normal number a column, correlated as the tables' columns are."""
    names = calibration()["order"]
    own = [draws.normal(f"{month} {name}", units) for name in names]
    rows, zero = zip(names, factor(), strict=True), np.zeros(units)
    return {name: sum(map(mul, weights, own), start=zero) for name, weights in rows}


@lru_cache
def factor() -> list[list[float]]:
    """Return the lower triangle that correlates independent normal numbers, six decimals.

    A rank correlation r is a correlation 2 sin(pi r / 6) of normal numbers (Pearson, 1907).
    """
    ranks = calibration()["rank_correlations"]
    lower: list[list[float]] = []
    for i, row in enumerate(ranks):
        wanted = [2 * math.sin(math.pi * r / 6) for r in row]
        made: list[float] = []
        for j in range(i):
            known = sum(made[k] * lower[j][k] for k in range(j))
            made.append((wanted[j] - known) / lower[j][j])
        rest = 1 - sum(value * value for value in made)
        lower.append([round(value, 6) for value in [*made, math.sqrt(rest)]])
    return lower


def by_quantile(name: str, normal: np.ndarray) -> np.ndarray:
    """Return values with the table's distribution of a column, in the order of ``normal``."""
    table = calibration()["quantiles"]
    values = np.interp(normal, normal_levels(tuple(table["at"])), table[name])
    step = STEPS[name]
    return np.round(np.round(values / step) * step, 2)


@lru_cache
def normal_levels(shares: tuple[float, ...]) -> list[float]:
    """Return the standard deviations below which shares lie, six decimals, within ±``END``."""
    inner = NormalDist()
    return [-END if s <= 0 else END if s >= 1 else round(inner.inv_cdf(s), 6) for s in shares]


def by_share(shares: list[float], normal: np.ndarray) -> np.ndarray:
    """Return whole numbers from 0 that have such shares, in the order of ``normal``."""
    ends = [sum(shares[: i + 1]) for i in range(len(shares) - 1)]
    levels = normal_levels(tuple(round(end, 6) for end in ends))
    return np.searchsorted(levels, normal, side="right")


def draw_kinds(draws: Draws, month: str, normal: Columns, drift: float) -> Columns:
    """Return purpose, housing and earlier default."""
    table, units = calibration(), len(normal["income"])
    housing = mixed(HOUSING_BY_INCOME, normal["income"], draws.normal(f"{month} housing", units))
    own = draws.normal(f"{month} earlier", units)
    earlier = mixed(EARLIER_BY_SCORE, normal["credit_score"], own)
    purpose = pick(table["purpose"], draws.normal(f"{month} purpose", units))
    moved = draws.chance(f"{month} moved", min(DRIFT_PURPOSE * drift, 1.0), units)
    return {
        "purpose": np.where(moved, "DEBTCONSOLIDATION", purpose),
        "housing": pick(table["housing"], housing),
        "earlier_default": pick(table["earlier_default"], earlier),
    }


def mixed(weight: float, other: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return a normal number that goes with another to a correlation of ``weight``."""
    return weight * other + math.sqrt(1 - weight * weight) * own


def pick(shares: dict[str, float], normal: np.ndarray) -> np.ndarray:
    """Return levels of such shares, in their order by ``normal``."""
    return np.array(list(shares), dtype=object)[by_share(list(shares.values()), normal)]


def draw_gaps(draws: Draws, month: str, units: int) -> Columns:
    """Return by column which values the applicant or the credit bureau left out."""
    gaps = calibration()["missing"]
    return {name: draws.chance(f"{month} gap {name}", share, units) for name, share in gaps.items()}
