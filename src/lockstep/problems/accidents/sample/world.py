"""The country of the accidents: published departments, municipalities drawn once for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lockstep.problems.accidents.sample.draws import MILLION, Choice, Draws, calibration, effects

WORLD_SEED = 1954
"""Of the municipalities' places and effects; another sample is of the same country."""

PUBLISHED_ACCIDENTS = 54_698
CAPITAL = ("75", "92", "93", "94")
FLAT = {"75": 30, "92": 8, "93": 8, "94": 8}
"""How even a department's municipalities are: shares fall as 1 / (rank + this), elsewhere 1."""

SIZE_STEPS = (1.5, 3, 6, 12, 24, 48, 96, 192)
"""Accidents a year that part municipalities into classes of size, 0 to 8."""

INSIDE_BY_SIZE = (0.22, 0.30, 0.38, 0.48, 0.58, 0.68, 0.76, 0.82, 0.86)
"""Share of accidents inside built-up areas, by class of size."""

CANTON = 12
"""Municipalities that lie together and share an effect."""

FIRST_CODES = {"75": 101, "69": 381, "13": 201}
"""Where the numbers of the municipal districts of Paris, Lyon and Marseille start."""


@dataclass(frozen=True)
class World:
    """Departments and municipalities; arrays are by municipality unless they say otherwise."""

    departments: Choice
    """The departments and their shares of the accidents."""
    capital: np.ndarray
    """By department: whether it is Paris or one of its three neighbours."""
    first: np.ndarray
    """By department: its first municipality."""
    bounds: np.ndarray
    """Upper ends of shares within the department, in millionths plus a million a department."""
    code: np.ndarray
    """INSEE codes."""
    lat: np.ndarray
    long: np.ndarray
    inside: np.ndarray
    """Share of its accidents inside built-up areas."""
    size_class: np.ndarray
    effect: np.ndarray
    """Effect on severity, in logits, besides those of department and size."""

    def commune(self, department: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Return a municipality of each department by share."""
        return np.searchsorted(self.bounds, department * MILLION + uniform, side="right")


def build_world() -> World:
    """Return the country."""
    rows = calibration()["departments"]["rows"]
    columns = map(np.array, zip(*rows, strict=True))
    codes, share, lat, long, lat_spread, long_spread, seen, top, _, inside = columns
    capital = np.isin(codes, CAPITAL)
    # a department has more municipalities than one year shows
    counts = np.where(capital | (seen < 40), seen, np.round(1.6 * seen)).astype(np.int64)
    dep = np.repeat(np.arange(len(rows)), counts)
    rank = np.concatenate([np.arange(k) for k in counts])
    weight, bounds = _shares(codes, top, counts)
    size = np.searchsorted(SIZE_STEPS, weight * share[dep] * PUBLISHED_ACCIDENTS)
    draws = Draws(WORLD_SEED)
    canton, north, east = _places(draws, dep, rank)
    return World(
        departments=Choice.of(codes.tolist(), [share]),
        capital=capital,
        first=np.r_[0, np.cumsum(counts)[:-1]],
        bounds=bounds,
        code=_codes(codes, dep, rank),
        lat=np.round(lat[dep] + north * lat_spread[dep], 6),
        long=np.round(long[dep] + east * long_spread[dep], 6),
        inside=_inside(size, weight, dep, inside),
        size_class=size,
        effect=_effects(draws, canton, size),
    )


def _shares(
    codes: np.ndarray, top: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    weights, bounds = [], []
    for number, (code, first, count) in enumerate(zip(codes, top, counts, strict=True)):
        rest = 1 / (np.arange(2, count + 1) + FLAT.get(str(code), 1))
        tail = (1 - first) * rest / np.cumsum(rest)[-1] if count > 1 else rest
        weight = np.r_[first if count > 1 else 1.0, tail]
        upto = np.cumsum(weight)
        weights.append(weight)
        bounds.append(np.round(upto / upto[-1] * MILLION).astype(np.int64) + number * MILLION)
    return np.concatenate(weights), np.concatenate(bounds)


def _places(
    draws: Draws, dep: np.ndarray, rank: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each municipality's canton and its place, in spreads around the centre."""
    key = dep * 1000 + rank % np.maximum(1, (np.bincount(dep)[dep] + CANTON - 1) // CANTON)
    canton = np.unique(key, return_inverse=True)[1]
    together = {way: draws.normal(f"canton {way}", len(key))[canton] for way in ("north", "east")}
    north, east = (0.9 * t + 0.25 * draws.normal(way, len(key)) for way, t in together.items())
    return canton, north, east


def _inside(
    size: np.ndarray, weight: np.ndarray, dep: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Return shares inside built-up areas: they rise with size and average to the figure."""
    base = np.array(INSIDE_BY_SIZE)[size]
    for _ in range(3):  # clipping moves the average a little
        mean = np.bincount(dep, base * weight)
        base = np.clip(base + (target - mean)[dep], 0.03, 0.97)
    return np.round(base, 6)


def _effects(draws: Draws, canton: np.ndarray, size: np.ndarray) -> np.ndarray:
    spread = effects()["spread"]
    own = np.array(spread["commune"])[size] * draws.normal("commune", len(size))
    return np.round(spread["canton"] * draws.normal("canton", len(size))[canton] + own, 3)


def _codes(codes: np.ndarray, dep: np.ndarray, rank: np.ndarray) -> np.ndarray:
    first = np.array([FIRST_CODES.get(str(code), 1) for code in codes])
    width = np.array([5 - len(code) for code in codes])
    room = (10**width - first - 20) // np.bincount(dep)
    # real numbers have gaps
    step = np.where(np.isin(codes, list(FIRST_CODES)), 1, np.clip(room, 1, 3))
    number = first[dep] + np.where(rank < 16, rank, rank * step[dep])
    parts = zip(codes[dep].tolist(), number.tolist(), width[dep].tolist(), strict=True)
    return np.array([f"{code}{value:0{digits}d}" for code, value, digits in parts])
