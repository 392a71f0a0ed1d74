"""Districts drawn from a known model: their places, people, and values of houses."""

from __future__ import annotations

import math
from functools import lru_cache, partial
from pathlib import Path
from statistics import NormalDist

import numpy as np

from lockstep.problems.draws import MILLION, Columns, Draws, figures

QUARTERS, QUARTERS_SEED = 160, 1990
"""How many quarters make neighbourhoods dearer or cheaper; they are the same in every sample."""
FACTORS = 64
"""Equally likely factors between the expected and the actual value of houses."""
FLOOR, CAP = 14_999, 500_001
"""Dollars: what StatLib's table has for less than 15,000 and for more than 500,000."""


CODE_FILES = {"calibration.json": ()}
calibration = partial(figures, Path(__file__).with_name("calibration.json"))
"""Returns quantiles and places."""


def draw_districts(units: int, draws: Draws) -> Columns:
    """Return each district's position, averages, income, value in dollars and its expectation."""
    place = draw_places(units, draws)
    people = draw_people(units, place["wealth"], draws)
    return place | people | draw_values(expected_worth(place, people), draws)


def draw_places(units: int, draws: Draws) -> Columns:
    """Return positions in hundredths of a degree, ``price`` by place and ``wealth`` by quarter."""
    latitude, longitude, spread, share, price = _places()
    ends = np.cumsum(share)
    home = np.searchsorted(ends, draws.uniform("place", units) * (ends[-1] / MILLION), side="right")
    north = latitude[home] + spread[home] * draws.normal("latitude", units)
    east = longitude[home] + spread[home] * draws.normal("longitude", units)
    north = np.round(np.clip(north, 32.54, 41.95), 2)
    east = np.round(np.clip(east, -124.35, -114.31), 2)
    wealth = quarters(north, east)
    return {"Latitude": north, "Longitude": east, "price": price[home], "wealth": wealth}


def _places() -> list[np.ndarray]:
    """Return latitude, longitude, spread, share and price by place."""
    _, *columns = zip(*calibration()["places"]["rows"], strict=True)
    return [np.array(column, dtype=float) for column in columns]


def quarters(north: np.ndarray, east: np.ndarray) -> np.ndarray:
    """Return how dear a quarter is in its city: hills and hollows of a few km, mean about 0."""
    draws, (latitude, longitude, spread, _, _) = Draws(QUARTERS_SEED), _places()
    home = draws.uniform("home", QUARTERS) % len(spread)
    at_north = latitude[home] + spread[home] * draws.normal("latitude", QUARTERS)
    at_east = longitude[home] + spread[home] * draws.normal("longitude", QUARTERS)
    height = draws.normal("height", QUARTERS)
    total = np.zeros(len(north))
    for i in range(QUARTERS):
        width = 0.4 * spread[home[i]]
        apart = ((north - at_north[i]) ** 2 + (east - at_east[i]) ** 2) / width**2
        total += height[i] / (1 + apart * apart)
    return total


def draw_people(units: int, wealth: np.ndarray, draws: Draws) -> Columns:
    """Return income, age, rooms, people …: the table's marginals and rank correlations."""
    names = ("income", "age", "rooms", "bedrooms", "people", "occupancy")
    one = {name: draws.normal(name, units) for name in names}
    income = 0.85 * one["income"] + 0.5 * wealth
    age = one["age"] - 0.12 * one["income"] - 0.15 * wealth
    rooms = 0.66 * income - 0.14 * age + 0.68 * one["rooms"]
    bedrooms = 0.28 * rooms - 0.45 * income + 0.8 * one["bedrooms"]
    people = 0.95 * one["people"] - 0.28 * age
    occupancy = 0.25 * people - 0.08 * wealth + 0.95 * one["occupancy"]
    drawn = {"MedInc": income, "HouseAge": age, "AveRooms": rooms, "AveBedrms": bedrooms}
    drawn |= {"Population": people, "AveOccup": occupancy}
    return {name: by_rank(name, values) for name, values in drawn.items()}


def by_rank(name: str, values: np.ndarray) -> np.ndarray:
    """Return values with the table's distribution of a column, in the order of ``values``."""
    table = calibration()["quantiles"]
    return np.interp(ranks(values), table["at"], table[name])


def ranks(values: np.ndarray) -> np.ndarray:
    """Return each value's rank as a share of the rows, within 0 and 1."""
    place = np.empty(len(values))
    place[np.argsort(values, kind="stable")] = np.arange(len(values))
    return (place + 0.5) / len(values)


def expected_worth(place: Columns, people: Columns) -> np.ndarray:
    """Return the expected value of each district's houses, in 100,000 dollars, before noise."""
    names = ("MedInc", "HouseAge", "AveOccup")
    income, age, crowding = (ranks(people[name]) - 0.5 for name in names)
    price = place["price"] + 0.45 * place["wealth"]
    dear = np.clip(price, -1, 1)
    # Old houses are dear in dear cities, else cheap; income counts for more in dear places.
    score = 2.2 * income + 0.7 * price - 0.85 * crowding + 0.5 * age
    score = score + 0.4 * age * dear + 0.5 * income * dear
    return by_rank("value", score)


def draw_values(worth: np.ndarray, draws: Draws) -> Columns:
    """Return values in hundreds of dollars, with floor and cap, and their exact expectations."""
    hundreds = np.round(worth[:, None] * noise()[None, :] * 1000).astype(np.int64)
    outcomes = np.clip(hundreds * 100, FLOOR, CAP)
    taken = draws.uniform("noise", len(worth)) * FACTORS // MILLION
    value = outcomes[np.arange(len(worth)), taken]
    return {"value": value, "expected": outcomes.sum(axis=1) / FACTORS}


@lru_cache
def noise() -> np.ndarray:
    """Return equally likely log-normal factors, with four digits and a mean of about one."""
    sigma, normal = calibration()["noise"]["sigma"], NormalDist()
    steps = [normal.inv_cdf((i + 0.5) / FACTORS) for i in range(FACTORS)]
    return np.array([round(math.exp(sigma * step - sigma * sigma / 2), 4) for step in steps])
