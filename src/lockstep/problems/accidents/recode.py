"""The publisher's codes of every era as those of schema.yaml: float64 arrays with NaN.

A code without a meaning in any era stays, so that the check of the table counts it as unknown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

NEW_ERA = 2019
"""First year of the format with id_vehicule, secu1 to secu3, vma and motor."""

_GROUPS: dict[int | None, tuple[int, ...]] = {
    1: (1, 2, 4, 5, 30, 31, 32, 33, 34, 41, 42, 43, 50, 60, 80),
    2: (3, 7),
    3: (18, 19, 37, 38, 39, 40),
    4: (13, 14, 15, 16, 17, 20, 21),
    5: (8, 9, 10, 11, 12),
    6: (6, 35, 36),
    None: (0, 99),
}
VEHICLE_GROUPS = {code: group for group, codes in _GROUPS.items() for code in codes}
"""catv → group: 80 (e-bike), 50, 60 (scooters) are cycles, 41 to 43 go with the scooters."""

WEATHER = {0: None, 1: 0, 8: 0, 9: 0} | dict.fromkeys(range(2, 8), 1)
"""atm → 0 normal, 1 adverse."""

_SOUTH = (974, 976, 986, 987, 988)
_WEST = (971, 972, 973, 975, 977, 978, 986, 987)


def lookup(values: np.ndarray, table: dict[int, int | None]) -> np.ndarray:
    """Return ``values`` by ``table`` (None: missing); what it does not list stays."""
    out = values.copy()
    for old, new in table.items():
        out[values == old] = np.nan if new is None else new
    return out


def severe(grav: np.ndarray) -> np.ndarray:
    """Return 1 for killed (2), hospitalised (3), 0 for unhurt (1), slightly hurt (4), else NaN."""
    return np.select([np.isin(grav, (2, 3)), np.isin(grav, (1, 4))], [1.0, 0.0], np.nan)


def full_year(an: np.ndarray) -> np.ndarray:
    """Return four-digit years: 13 means 2013 in the files up to 2018."""
    return np.where(an < 100, an + 2000, an)


def corsica_as_digits(codes: Any) -> Any:
    """Return department or municipality codes (pyarrow strings), 2A as 201 and 2B as 202."""
    south = pc.replace_substring_regex(codes, pattern="^2[Aa]", replacement="201")
    return pc.replace_substring_regex(south, pattern="^2[Bb]", replacement="202")


def clock_as_digits(hrmn: Any) -> Any:
    """Return times of day (pyarrow strings) in digits: "06:05" as 0605."""
    return pc.replace_substring_regex(
        hrmn, pattern="^([0-9]{1,2}):([0-9]{2})(:.*)?$", replacement=r"\1\2"
    )


def department(dep: np.ndarray, year: np.ndarray) -> np.ndarray:
    """Return departments: to 2018 files hold ten times the number, except Corsica and overseas."""
    tenfold = (year < NEW_ERA) & ~np.isin(dep, (201, 202)) & (dep < 970)
    return np.where(tenfold, np.floor(dep / 10), dep)


def municipality(com: np.ndarray, dep: np.ndarray, year: np.ndarray) -> np.ndarray:
    """Return INSEE codes: to 2018 files hold the number within the (recoded) department."""
    within = (year < NEW_ERA) & (com < 1000)
    return np.where(within, com + np.where(dep >= 970, dep * 100, dep * 1000), com)


def position(
    lat: np.ndarray, long: np.ndarray, dep: np.ndarray, year: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return degrees; missing where either is 0, which the publisher writes for "unknown".

    Up to 2018 the files hold degrees x 1e5 and lose the sign of some overseas positions.
    """
    old = year < NEW_ERA
    unusable = np.isnan(lat) | np.isnan(long) | (lat == 0) | (long == 0)
    lat = np.where(old, lat / 1e5, lat)
    long = np.where(old, long / 1e5, long)
    lat = np.where(old & np.isin(dep, _SOUTH), -np.abs(lat), lat)
    long = np.where(old & np.isin(dep, _WEST), -np.abs(long), long)
    return np.where(unusable, np.nan, lat), np.where(unusable, np.nan, long)


def safety_device(secu: np.ndarray) -> np.ndarray:
    """Return secu1 for the two digits of files to 2018: device, then use (1 yes, 2 no).

    Not used is 0 (none), use unknown is 8 (cannot be determined), used but unknown is missing.
    """
    device, use = np.floor(secu / 10), secu % 10
    known = np.isin(device, (1, 2, 3, 4, 9))
    conditions = [np.isnan(secu), use == 2, (use == 1) & known, (use == 1) & (device == 0)]
    return np.select(conditions, [np.nan, 0.0, device, np.nan], default=8.0)


def pedestrian(catu: np.ndarray) -> np.ndarray:
    """Return user categories; 4 (pedestrian on skates or scooter, to 2017) is a pedestrian."""
    return lookup(catu, {4: 3})


def place_of(place: np.ndarray, catu: np.ndarray) -> np.ndarray:
    """Return places: 10 for every pedestrian (empty in files to 2017); 0 is missing."""
    return np.where(catu == 3, 10.0, lookup(place, {0: None}))
