"""Severity: a model of known effects, so that the best reachable score is known."""

from __future__ import annotations

import numpy as np

from lockstep.problems.accidents.sample.draws import MILLION, Draws, calibration, effects, sigmoid
from lockstep.problems.accidents.sample.world import World
from lockstep.problems.draws import Columns

UNHURT, KILLED, HOSPITAL, SLIGHT, UNKNOWN = 1, 2, 3, 4, -1
UNKNOWN_SHARE = 0.07
"""Share of the drivers who ran away whose state is unknown."""

VICTIM_OF_GROUP = (0, 4, 1, 2, 3, 3, 4, 4, 5, 5)
"""Car, motorcycle, moped, cycle, van or heavy, other; 6 are pedestrians."""

AGE_STEPS = (10, 18, 25, 45, 65, 75)
DRIFT_EFFECT = -0.35
"""Logits by which severity falls at the end of a drift of strength 1."""


def draw_severity(
    accidents: Columns, vehicles: Columns, people: Columns, world: World, draws: Draws
) -> Columns:
    """Return each person's ``grav`` and the true probability of being killed or hospitalised."""
    levels = factor_levels(accidents, vehicles, people, world)
    probability = true_probability(levels, accidents, people, world)
    size = len(probability)
    positive = draws.chance("positive", probability, size)
    killed = draws.chance("killed", sigmoid(_sum(levels, effects()["killed"], size)), size)
    slight = draws.chance("slight", sigmoid(_sum(levels, effects()["slight"], size)), size)
    mild = np.where(slight & ~people["fled"], SLIGHT, UNHURT)
    mild = _someone_is_hurt(mild, positive, people, draws)
    unknown = people["fled"] & draws.chance("unknown", UNKNOWN_SHARE, size) & (mild == UNHURT)
    grav = np.where(positive, np.where(killed, KILLED, HOSPITAL), np.where(unknown, UNKNOWN, mild))
    return {"grav": grav, "probability": probability}


def true_probability(
    levels: Columns, accidents: Columns, people: Columns, world: World
) -> np.ndarray:
    """Return the probability of being killed or hospitalised, with six digits.

    It is a function of what the raw tables show, and of the municipality's own effect.
    """
    acc = people["accident"]
    logit = _sum(levels, effects()["positive"], len(acc))
    logit += world.effect[accidents["com"]][acc]
    return sigmoid(logit + DRIFT_EFFECT * accidents["drift"][acc])


def factor_levels(accidents: Columns, vehicles: Columns, people: Columns, world: World) -> Columns:
    """Return each person's level of every factor of the model."""
    acc, veh = people["accident"], people["vehicle"]
    levels = {name: level[acc] for name, level in _accident_levels(accidents, world).items()}
    victim = np.where(people["catu"] == 3, 6, np.array(VICTIM_OF_GROUP)[vehicles["group"]][veh])
    step = np.searchsorted(AGE_STEPS, people["age"], side="right")
    levels["victim"] = 6 * victim + vehicles["opponent"][veh]
    levels["age"] = np.where(people["an_nais"] < 0, len(AGE_STEPS) + 1, step)
    levels["sexe"] = np.maximum(people["sexe"], 0)
    levels["secu1"] = people["secu1"] + 1
    levels["catu"] = people["catu"]
    levels["obs"] = np.where(people["catu"] == 3, 0, vehicles["obs"][veh] + 1)
    levels["fled"] = people["fled"].astype(np.int64)
    return levels


def _accident_levels(accidents: Columns, world: World) -> Columns:
    vma = np.searchsorted([0, 25, 45, 55, 75, 85, 95, 115, 135], accidents["vma"], side="right")
    years = sorted(calibration()["years"])
    year = np.clip(accidents["an"], int(years[0]), int(years[-1])) - int(years[0])
    codes = ("catr", "lum", "col", "int", "hour", "mois", "situ", "scenario")
    return {
        **{name: np.maximum(accidents[name], 0) for name in codes},
        "vma": vma,
        "year": year,
        "dep": accidents["dep"],
        "size": world.size_class[accidents["com"]],
        "inside": accidents["inside"],
        "vehicles": np.minimum(accidents["vehicles"], 5),
    }


def _sum(levels: Columns, model: dict[str, list[float]], size: int) -> np.ndarray:
    """Return the sum of the effects in the model's order, so that rounding is always the same."""
    added = (np.array(by_level)[levels[f]] for f, by_level in model.items() if f != "base")
    return sum(added, start=np.full(size, model["base"][0]))


def _someone_is_hurt(
    mild: np.ndarray, positive: np.ndarray, people: Columns, draws: Draws
) -> np.ndarray:
    """Make one person slightly hurt in accidents that hurt nobody: those are not on record."""
    acc = people["accident"]
    starts = np.flatnonzero(np.r_[True, acc[1:] != acc[:-1]])
    hurt = np.logical_or.reduceat(positive | (mild == SLIGHT), starts)[acc]
    # riders and pedestrians before people in cars
    easily = np.isin(people["role"], (1, 2, 6, 7, 10))
    score = draws.uniform("hurt", len(acc)) + MILLION * easily - 2 * MILLION * people["fled"]
    best = np.maximum.reduceat(score, starts)[acc]
    return np.where(~hurt & (score == best), SLIGHT, mild)
