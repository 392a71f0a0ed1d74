"""Vehicles of the accidents and the people in them or struck by them."""

from __future__ import annotations

import numpy as np

from lockstep.problems.accidents.sample.accidents import ALONE, TWO, WITH_PEDESTRIAN
from lockstep.problems.accidents.sample.draws import MILLION, Choice, Draws, calibration, within
from lockstep.problems.draws import Columns

CAR, VAN, MOTO, MOPED, BIKE, SCOOTER, HEAVY, BUS, QUAD, OTHER = range(10)
"""Groups of vehicles, in the order of the figures; SCOOTER stands for the new personal devices."""

ROAD_KINDS = (0, 1, 1, 2, 2, 2, 2, 2)
"""Motorways, national and departmental roads, all others: by the level of catr."""

CLASS_OF_GROUP = (0, 3, 1, 1, 2, 2, 3, 3, 4, 4)
"""Car, motor two-wheeler, cycle, van or heavy, other: the levels of people's figures."""

PASSENGERS = (
    (0.820, 0.110, 0.040, 0.019, 0.008, 0.002, 0.001, 0, 0),
    (0.830, 0.110, 0.040, 0.010, 0.005, 0.003, 0.001, 0.0005, 0.0005),
    (0.900, 0.100, 0, 0, 0, 0, 0, 0, 0),
    (0.920, 0.080, 0, 0, 0, 0, 0, 0, 0),
    (0.985, 0.015, 0, 0, 0, 0, 0, 0, 0),
    (0.970, 0.030, 0, 0, 0, 0, 0, 0, 0),
    (0.930, 0.060, 0.010, 0, 0, 0, 0, 0, 0),
    (0.500, 0.220, 0.100, 0.060, 0.040, 0.030, 0.020, 0.015, 0.015),
    (0.860, 0.140, 0, 0, 0, 0, 0, 0, 0),
    (0.880, 0.090, 0.030, 0, 0, 0, 0, 0, 0),
)
"""Shares of 0 to 8 passengers by group: people an accident come out as published."""

PEDESTRIANS = (0.925, 0.06, 0.015)
LISTED_DRIVER = 0.985
FLED = 0.012
"""Share of drivers who ran away and of whom next to nothing is known."""
NO_BIRTH_YEAR = 0.015

SEATS = (2, 4, 3, 5, 8, 7, 9, 6)
"""Places of passengers; those of one vehicle take them in turn."""

CHILD = 10
"""Age below which a car's passenger may sit in a child seat."""

SECOND_DEVICE = (-1, 0, 6, 8, 5, 9)
SECOND_SHARES = ((0.36, 0.52, 0.003, 0.105, 0.002, 0.01), (0.24, 0.22, 0.36, 0.14, 0.03, 0.01))
WALKS = (-1, 1, 2, 3, 4, 5, 6, 7, 8, 9)
MOVEMENTS = {
    "trajet": ((-1, 0, 1, 2, 3, 4, 5, 9), (0.012, 0.25, 0.13, 0.025, 0.027, 0.095, 0.36, 0.101)),
    "locp": (WALKS, (0.01, 0.12, 0.16, 0.40, 0.12, 0.09, 0.03, 0.005, 0.005, 0.06)),
    # what a pedestrian did; 7 and 8 stand for the letters A and B
    "actp": (WALKS, (0.01, 0.10, 0.04, 0.66, 0.01, 0.04, 0.005, 0.004, 0.031, 0.10)),
    "etatp": ((-1, 1, 2, 3), (0.08, 0.70, 0.16, 0.06)),
}
"""Codes of where people went and what they did, and their shares."""


def draw_vehicles(accidents: Columns, draws: Draws) -> Columns:
    """Return a row a vehicle, those of an accident together."""
    acc = np.repeat(np.arange(len(accidents["vehicles"])), accidents["vehicles"])
    vehicles = {"accident": acc, "number": within(acc), "scenario": accidents["scenario"][acc]}
    group = _groups(accidents, vehicles, draws)
    riders = draws.value("passengers", group, Choice.of(range(9), PASSENGERS))
    # empty cars, mopeds and cycles of drifting months become personal electric devices
    rate = np.array([0.06, 0, 0, 0.25, 0.15, 0, 0, 0, 0, 0])[group] * accidents["drift"][acc]
    electric = draws.chance("drift", np.minimum(rate, 0.9), len(group)) & (riders == 0)
    vehicles |= {"group": np.where(electric, SCOOTER, group), "riders": riders}
    vehicles |= _details(vehicles, draws)
    vehicles |= _crew(vehicles, draws)
    vehicles["opponent"] = _opponents(vehicles)
    return vehicles


def _groups(accidents: Columns, vehicles: Columns, draws: Draws) -> np.ndarray:
    """Draw kinds of vehicles, those of an accident between two together."""
    acc, scenario = vehicles["accident"], vehicles["scenario"]
    kind = np.array(ROAD_KINDS)[accidents["catr_level"]]
    pair = draws.value("pair", kind)[acc]
    alone = draws.value("group", 3 * np.array([0, 1, 1, 2])[scenario] + kind[acc])
    of_two = np.where(vehicles["number"] == 0, pair // 10, pair % 10)
    return np.where(scenario == TWO, of_two, alone)


def _details(vehicles: Columns, draws: Draws) -> Columns:
    group, scenario = vehicles["group"], vehicles["scenario"]
    columns = {name: draws.value(name, group) for name in ("catv", "motor")}
    columns |= {name: draws.value(name, scenario) for name in ("senc", "choc", "manv", "obsm")}
    columns["obs"] = draws.value("obs", 2 * scenario + (columns["obsm"] == 0))
    return columns


def _crew(vehicles: Columns, draws: Draws) -> Columns:
    """Return whether the driver is listed and how many pedestrians each vehicle struck."""
    size = len(vehicles["obsm"])
    driver = draws.chance("driver", LISTED_DRIVER, size) | (vehicles["number"] == 0)
    table = Choice.of([1, 2, 3], [PEDESTRIANS])
    struck = draws.value("pedestrians", np.zeros(size, np.int64), table)
    return {"driver": driver.astype(np.int64), "struck": np.where(vehicles["obsm"] == 1, struck, 0)}


def _opponents(vehicles: Columns) -> np.ndarray:
    """Return what each vehicle hit: 0 pedestrian, 1 nothing, 2 light, 3 car, 4 heavy, 5 several."""
    scenario, number = vehicles["scenario"], vehicles["number"]
    # the other one of two
    other = np.clip(np.arange(len(number)) + 1 - 2 * number, 0, len(number) - 1)
    weight = np.array([3, 4, 2, 2, 2, 2, 4, 4, 3, 3])[vehicles["group"]]
    by_scenario = np.select([scenario == WITH_PEDESTRIAN, scenario == ALONE], [0, 1], 5)
    return np.where(scenario == TWO, weight[other], by_scenario)


def draw_people(accidents: Columns, vehicles: Columns, draws: Draws) -> Columns:
    """Return a row a person, those of a vehicle together: driver, passengers, pedestrians."""
    aboard = vehicles["driver"] + vehicles["riders"]
    veh = np.repeat(np.arange(len(aboard)), aboard + vehicles["struck"])
    number = within(veh)
    catu = np.where(number < vehicles["driver"][veh], 1, np.where(number < aboard[veh], 2, 3))
    kind = np.array(CLASS_OF_GROUP)[vehicles["group"]][veh]
    role = np.where(catu == 3, 10, (catu - 1) * 5 + kind)
    people = {"vehicle": veh, "accident": vehicles["accident"][veh], "catu": catu, "role": role}
    people["place"] = _places(people, number - vehicles["driver"][veh], vehicles, draws)
    people |= _persons(people, accidents, draws)
    people |= _equipment(people, kind, draws)
    people |= _movements(people, draws)
    return _without_the_fled(people, draws)


def _places(people: Columns, number: np.ndarray, vehicles: Columns, draws: Draws) -> np.ndarray:
    """Return places: the first passenger's as published, the next ones' in turn from there."""
    catu = people["catu"]
    first = draws.value("place", np.array(CLASS_OF_GROUP)[vehicles["group"]])
    turn = np.array([SEATS.index(code) if code in SEATS else 0 for code in range(10)])[first]
    in_turn = np.array(SEATS)[(turn[people["vehicle"]] + np.maximum(number, 0)) % len(SEATS)]
    return np.where(catu == 1, 1, np.where(catu == 3, 10, in_turn))


def _persons(people: Columns, accidents: Columns, draws: Draws) -> Columns:
    role, size = people["role"], len(people["role"])
    female = draws.chance("female", np.array(calibration()["female"])[role], size)
    older = 6 * accidents["drift"][people["accident"]]
    age = np.clip(_ages(role, draws.uniform("age", size)) + older, 0, 109).astype(np.int64)
    unknown = draws.chance("no birth year", NO_BIRTH_YEAR, size)
    birth = np.where(unknown, -1, accidents["an"][people["accident"]] - age)
    return {"sexe": np.where(female, 2, 1), "age": age, "an_nais": birth}


def _ages(role: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return ages by linear interpolation between the published quantiles of each role."""
    table = calibration()["age"]
    knots = np.round(np.array(table["knots"]) * MILLION)
    rows = np.array(table["rows"])
    left = np.clip(np.searchsorted(knots, uniform, side="right") - 1, 0, len(knots) - 2)
    part = (uniform - knots[left]) / (knots[left + 1] - knots[left])
    return rows[role, left] + part * (rows[role, left + 1] - rows[role, left])


def _equipment(people: Columns, kind: np.ndarray, draws: Draws) -> Columns:
    size, secu1 = len(kind), draws.value("secu1", people["role"])
    child = (people["role"] == 5) & (people["age"] < CHILD) & draws.chance("child seat", 0.6, size)
    motor = ((kind == 1) & (people["catu"] < 3)).astype(np.int64)
    second = draws.value("secu2", motor, Choice.of(SECOND_DEVICE, SECOND_SHARES))
    third = np.where(draws.chance("third device", 0.985, size), -1, 0)
    return {"secu1": np.where(child, 3, secu1), "secu2": second, "secu3": third}


def _movements(people: Columns, draws: Draws) -> Columns:
    walking, nothing = people["catu"] == 3, np.zeros(len(people["catu"]), np.int64)
    tables = {name: Choice.of(codes, [shares]) for name, (codes, shares) in MOVEMENTS.items()}
    drawn = {name: draws.value(name, nothing, table) for name, table in tables.items()}
    seated = np.where(draws.chance("not walking", 0.55, len(nothing)), 0, -1)
    others: Columns = {"locp": seated, "actp": seated, "etatp": np.full_like(seated, -1)}
    return drawn | {name: np.where(walking, drawn[name], code) for name, code in others.items()}


def _without_the_fled(people: Columns, draws: Draws) -> Columns:
    """Blank what is not known of drivers who ran away."""
    fled = draws.chance("fled", FLED, len(people["catu"])) & (people["catu"] == 1)
    unknown = ("sexe", "an_nais", "trajet", "secu1", "secu2")
    blank = {name: np.where(fled, -1, people[name]) for name in unknown}
    return people | blank | {"fled": fled}
