"""Accidents: when, where, on what road, in what weather, and what ran into what."""

from __future__ import annotations

from calendar import isleap, monthrange
from datetime import date, timedelta

import numpy as np

from lockstep.problems.accidents.sample.draws import MILLION, Choice, Draws, calibration
from lockstep.problems.accidents.sample.world import World
from lockstep.problems.draws import Columns

WITH_PEDESTRIAN, ALONE, TWO, MANY = range(4)
"""Scenarios: a vehicle and a pedestrian, one vehicle, two, more."""

CLOCK = (0, 30, 15, 45, 10, 20, 40, 50, 5, 25, 35, 55)
CLOCK_SHARES = (0.19, 0.17, 0.10, 0.10, 0.07, 0.07, 0.07, 0.07, 0.03, 0.03, 0.03, 0.03)
ROUND_MINUTES = 0.9
"""Share of times that policemen round to five minutes."""

COMMUNE_SPREAD = (0.008, 0.012)
"""Degrees of latitude and longitude by which accidents scatter within a municipality."""


def draw_accidents(
    size: int, years: list[int], drift: float, world: World, draws: Draws
) -> Columns:
    """Return ``size`` accidents; codes are the publisher's, English names the generator's."""
    accidents = _when(size, years, drift, draws) | _where(size, world, draws)
    accidents |= _road(accidents, draws)
    accidents |= _crash(accidents, draws)
    return accidents | _conditions(accidents, draws)


def _calendar(years: list[int]) -> tuple[list[date], list[float]]:
    """Return every day of the years and its weight, by year, month and weekday."""
    figures, weights = calibration(), []
    days = [date(y, 1, 1) + timedelta(k) for y in years for k in range(365 + isleap(y))]
    for day in days:
        year = figures["accidents"].get(str(day.year), figures["accidents"]["2022"])
        month = figures["month"][day.month - 1] / monthrange(day.year, day.month)[1]
        weights.append(year * month * figures["weekday"][day.weekday()])
    return days, weights


def _when(size: int, years: list[int], drift: float, draws: Draws) -> Columns:
    days, weights = _calendar(sorted(set(years)))
    picked = draws.code("day", Choice.of(days, [weights]), np.zeros(size, np.int64))
    parts = np.array([(d.year, d.month, d.day, d.weekday() >= 5) for d in days])
    year, month, day, weekend = parts[picked].T
    hour = draws.code("hour", Choice.named("hour"), weekend)
    rounded = draws.value("clock", np.zeros(size, np.int64), Choice.of(CLOCK, [CLOCK_SHARES]))
    exact = draws.uniform("minute", size) * 60 // MILLION
    minute = np.where(draws.chance("rounded minute", ROUND_MINUTES, size), rounded, exact)
    # no drift in the first half of the months, then steps up to the whole in the last one
    passed = (year * 12 + month - min(years) * 12) / (12 * (max(years) - min(years) + 1))
    later = drift * np.clip(2 * passed - 1, 0, 1)
    return {"an": year, "mois": month, "jour": day, "hour": hour, "minute": minute, "drift": later}


def _where(size: int, world: World, draws: Draws) -> Columns:
    dep = draws.code("department", world.departments, np.zeros(size, np.int64))
    com = world.commune(dep, draws.uniform("commune", size))
    inside = draws.chance("inside", world.inside[com], size)
    north, east = COMMUNE_SPREAD
    return {
        "dep": dep,
        "com": com,
        "inside": inside.astype(np.int64),
        "zone": 2 * world.capital[dep] + inside,
        "lat": world.lat[com] + north * draws.normal("lat", size),
        "long": world.long[com] + east * draws.normal("long", size),
    }


def _road(accidents: Columns, draws: Draws) -> Columns:
    """Return the road: ``road`` and ``catr_level`` are levels of figures, the others codes."""
    figures, size = calibration(), len(accidents["zone"])
    table = Choice.named("catr")
    level = draws.code("catr", table, accidents["zone"])
    road = 2 * level + accidents["inside"]
    vma = draws.value("vma", road)
    junk = draws.value("junk vma", np.zeros(size, np.int64), Choice.named("vma_rare"))
    vma = np.where(draws.chance("rare vma", figures["vma_rare_rate"], size), junk, vma)
    vma = np.where(draws.chance("no vma", np.array(figures["vma_missing"])[level], size), -1, vma)
    columns = {"catr": table.values(level), "catr_level": level, "road": road, "vma": vma}
    drawn = ("circ", "nbv", "vosp", "prof", "plan", "infra")
    return columns | {name: draws.value(name, level) for name in drawn}


def _crash(accidents: Columns, draws: Draws) -> Columns:
    size, road = len(accidents["road"]), accidents["road"]
    vehicles = draws.value("vehicles", road)
    struck = draws.chance("pedestrian", np.array(calibration()["pedestrian"])[road], size)
    alone = np.where(struck, WITH_PEDESTRIAN, ALONE)
    scenario = np.where(vehicles == 1, alone, np.where(vehicles == 2, TWO, MANY))
    collision = draws.value("col", scenario)
    place = draws.value("situ", 4 * accidents["catr_level"] + scenario)
    return {"vehicles": vehicles, "scenario": scenario, "col": collision, "situ": place}


def _conditions(accidents: Columns, draws: Draws) -> Columns:
    figures, month, size = calibration(), accidents["mois"], len(accidents["mois"])
    sky = draws.value("light", (month - 1) * 24 + accidents["hour"])
    dark = draws.value("night", accidents["zone"], Choice.named("night_light"))
    adverse = draws.chance("adverse", np.array(figures["adverse"])[month - 1], size) * 1
    winter = ((month == 12) | (month <= 2)) * 1
    surf = draws.value("surf", 2 * adverse + winter)
    surf = np.where(draws.chance("no surf", figures["surf_missing"], size), -1, surf)
    junction, weather = draws.value("int", accidents["zone"]), draws.value("atm", adverse)
    return {"int": junction, "lum": np.where(sky == 3, dark, sky), "atm": weather, "surf": surf}
