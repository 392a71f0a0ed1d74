"""The publisher's raw tables: text columns, as each year has them."""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_uppercase

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lockstep.problems.accidents.eras import TRUTH
from lockstep.problems.accidents.sample.draws import MILLION, Choice, Draws, calibration, within
from lockstep.problems.accidents.sample.world import World
from lockstep.problems.draws import Columns

MISSING = " -1"
NO_BREAK_SPACE = "\u00a0"
LAST_IDS = {
    2019: (138_306_524, 267_000_000), 2020: (154_742_274, 267_500_000), 2021: (201_764, 267_638),
    2022: (813_952, 1_099_700), 2023: (155_680_557, 203_851_184), 2024: (156_700_000, 205_100_000),
}  # fmt: skip
"""The largest id_vehicule and id_usager: the first accident's; they fall as published."""

DIGITS = {2019: 7, 2020: 7, 2021: 10, 2022: 10}
"""Decimals of lat and long, where they are not 8."""

STREETS = (
    "RUE DE LA GARE", "AVENUE DE LA RÉPUBLIQUE", "ROUTE NATIONALE", "BOULEVARD VICTOR HUGO",
    "RUE DU GÉNÉRAL DE GAULLE", "AV. DU GAL LECLERC", "CHEMIN DES ÉCOLES", "PLACE DE L'ÉGLISE",
    "RUE JEAN JAURÈS", "AVENUE DE PARIS", "ROUTE DE LYON", "8 MAI 1945 (RUE DU)",
    "RUE PASTEUR ; ANGLE RUE CURIE", "LIEU-DIT \"LES CHAMPS\"",
)  # fmt: skip
"""Made-up addresses with the published ones' accents, semicolons and quotation marks."""

SECOND_PLACE = 0.27
"""Share of accidents with a second row in lieux from 2023."""


def raw_tables(
    accidents: Columns, vehicles: Columns, people: Columns, world: World, draws: Draws
) -> Iterator[tuple[str, pa.Table]]:
    """Yield file names and tables, a year after the other, and the true probabilities at last."""
    accidents = accidents | _accident_extras(len(accidents["an"]), draws)
    vehicles = vehicles | {"label": _labels(vehicles["number"], draws)}
    truth = []
    for year in np.unique(accidents["an"]).tolist():
        happened, involved, hurt = _of_year(year, accidents, vehicles, people)
        first, second = _caracteristiques(year, happened, world), _lieux(year, happened)
        tables = first, second, _vehicules(involved), _usagers(year, hurt)
        yield from zip(file_names(year), tables, strict=True)
        truth.append(_truth(year, hurt))
    yield TRUTH, pa.concat_tables(truth)


def _of_year(
    year: int, accidents: Columns, vehicles: Columns, people: Columns
) -> tuple[Columns, Columns, Columns]:
    """Return the three tables' rows of one year, numbered as published."""
    rows = np.flatnonzero(accidents["an"] == year)
    own = np.flatnonzero(np.isin(vehicles["accident"], rows))
    accidents, vehicles = _rows(accidents, rows), _rows(vehicles, own)
    people = _rows(people, np.isin(people["accident"], rows))
    accidents["Num_Acc"] = year * 100_000_000 + 1 + np.arange(len(rows))
    for table, last in zip((vehicles, people), LAST_IDS[year], strict=True):
        table["Num_Acc"] = accidents["Num_Acc"][np.searchsorted(rows, table["accident"])]
        table["id"] = _falling(last, table["accident"])
    place = np.searchsorted(own, people["vehicle"])
    people["vehicle_id"], people["label"] = vehicles["id"][place], vehicles["label"][place]
    return accidents, vehicles, people


def file_names(year: int) -> list[str]:
    """Return the publisher's names of a year's four files (odd from 2021)."""
    odd = {2021: "carcteristiques", 2022: "carcteristiques"}
    first = odd.get(year, "caracteristiques" if year < 2023 else "caract")
    return [f"{name}-{year}.csv" for name in (first, "lieux", "vehicules", "usagers")]


def _rows(table: Columns, rows: np.ndarray) -> Columns:
    return {name: column[rows] for name, column in table.items()}


def _accident_extras(size: int, draws: Draws) -> Columns:
    """Return the columns that are there for their quirks alone."""
    nothing, widths = np.zeros(size, np.int64), Choice.named("larrout")
    return {
        "street": np.array(STREETS)[draws.uniform("street", size) % len(STREETS)],
        "way": 1 + draws.uniform("way", size) ** 2 // (MILLION * 900),
        "no voie": draws.chance("no voie", 0.078, size),
        "v1": draws.chance("v1", 0.174, size),
        "v2": draws.uniform("v2", size),
        **{name: draws.value(name, nothing) for name in ("pr", "pr1")},
        "larrout": np.array(widths.codes)[draws.code("larrout", widths, nothing)],
        "no pr": draws.chance("no pr", calibration()["pr_unknown"], size),
        "second": draws.chance("second place", SECOND_PLACE, size),
        "second catr": np.minimum(draws.uniform("second catr", size) * 6 // MILLION + 1, 4),
    }


def _labels(number: np.ndarray, draws: Draws) -> np.ndarray:
    """Return each vehicle's label: A01, B01 … or, for a few, published junk."""
    junk, rare = Choice.named("num_veh_rare"), calibration()["num_veh_rare_rate"]
    picked = draws.code("num_veh", junk, np.zeros(len(number), np.int64))
    plain = np.array([f"{letter}01" for letter in ascii_uppercase])
    is_junk = draws.chance("odd num_veh", rare, len(number))
    return np.where(
        is_junk, np.array(junk.codes)[picked], plain[np.minimum(number, len(plain) - 1)]
    )


def _text(codes: np.ndarray, width: int = 1) -> pa.Array:
    """Return codes as text, missing ones (-1) with the publisher's leading space."""
    known, place = np.unique(codes, return_inverse=True)
    labels = [MISSING if code == -1 else f"{code:0{width}d}" for code in known.tolist()]
    return pa.array(labels).take(pa.array(place))


def _pick(labels: list[str], place: np.ndarray) -> pa.Array:
    return pa.array(labels, pa.string()).take(pa.array(place))


def _where(condition: np.ndarray, text: str, otherwise: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(condition), text, otherwise)


def _plain(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _falling(last: int, accident: np.ndarray) -> np.ndarray:
    """Return published numbers: they rise within an accident and fall from one to the next."""
    rows = np.arange(len(accident))
    first = rows - within(accident)
    after = np.searchsorted(accident, accident, side="right")
    return max(last, len(rows)) - (first + after - 1 - rows)


def grouped(numbers: np.ndarray) -> pa.Array:
    """Return whole numbers from 0 with no-break spaces between thousands."""
    units, thousands, millions = numbers % 1000, numbers // 1000 % 1000, numbers // MILLION
    low, middle = (pc.utf8_lpad(_plain(part), 3, "0") for part in (units, thousands))
    small = pc.binary_join_element_wise(_plain(thousands), low, NO_BREAK_SPACE)
    large = pc.binary_join_element_wise(_plain(millions), middle, low, NO_BREAK_SPACE)
    return pc.if_else(numbers < 1000, _plain(numbers), pc.if_else(numbers < MILLION, small, large))


def decimal_comma(degrees: np.ndarray, digits: int) -> pa.Array:
    """Return degrees with a decimal comma; negative ones have the publisher's leading space."""
    parts = np.round(np.abs(degrees) * MILLION).astype(np.int64)
    sign = pc.if_else(pa.array(degrees < 0), " -", "")
    fraction = pc.utf8_rpad(pc.utf8_lpad(_plain(parts % MILLION), 6, "0"), digits, "0")
    whole = pc.binary_join_element_wise(sign, _plain(parts // MILLION), "")
    return pc.binary_join_element_wise(whole, fraction, ",")


def _caracteristiques(year: int, accidents: Columns, world: World) -> pa.Table:
    clock = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(24 * 60)]
    departments = [code.lstrip("0") if year == 2019 else code for code in world.departments.codes]
    columns = {
        "Accident_Id" if year == 2022 else "Num_Acc": _plain(accidents["Num_Acc"]),
        "jour": _text(accidents["jour"]),
        "mois": _text(accidents["mois"], width=2 if year >= 2023 else 1),
        "an": _text(accidents["an"]),
        "hrmn": _pick(clock, 60 * accidents["hour"] + accidents["minute"]),
        "lum": _text(accidents["lum"]),
        "dep": _pick(departments, accidents["dep"]),
        "com": _pick(world.code.tolist(), accidents["com"]),
        "agg": _text(1 + accidents["inside"]),
        **{name: _text(accidents[name]) for name in ("int", "atm", "col")},
        "adr": _where(accidents["no voie"] & (year >= 2023), "N/A", pa.array(accidents["street"])),
        **{name: decimal_comma(accidents[name], DIGITS.get(year, 8)) for name in ("lat", "long")},
    }
    return pa.table(columns)


def _lieux(year: int, accidents: Columns) -> pa.Table:
    """Return the places; from 2023 some accidents have a second row for a junction's other road."""
    times = 1 + (accidents["second"] & (year >= 2023))
    order = np.repeat(np.arange(len(times)), times)
    places = _rows(accidents, order)
    catr = np.where(within(order) == 0, places["catr"], places["second catr"])
    v2 = np.searchsorted([911_710, 967_690, 983_540, 987_520], places["v2"], side="right")
    street, width = pa.array(places["street"]), pa.array(places["larrout"])
    way = pc.if_else(pa.array(places["catr"] <= 3), _plain(places["way"]), street)
    no_text, no_post = ("N/A", MISSING) if year >= 2023 else ("", "(1)")
    columns = {
        "Num_Acc": _plain(places["Num_Acc"]),
        "catr": _text(catr),
        "voie": _where(places["no voie"], no_text, way),
        "v1": _text(np.where(places["v1"], -1, 0)),
        "v2": _pick([no_text, "D", "A", "N", "C"], v2),
        **{name: _text(places[name]) for name in ("circ", "nbv", "vosp", "prof")},
        **{name: _where(places["no pr"], no_post, grouped(places[name])) for name in ("pr", "pr1")},
        "plan": _text(places["plan"]),
        "lartpc": _pick([""], np.zeros(len(order), np.int64)),
        "larrout": _where((places["larrout"] == MISSING) & (year == 2019), "", width),
        **{name: _text(places[name]) for name in ("surf", "infra", "situ", "vma")},
    }
    return pa.table(columns)


def _vehicules(vehicles: Columns) -> pa.Table:
    bus = np.isin(vehicles["catv"], (37, 38, 39, 40))
    codes = ("senc", "catv", "obs", "obsm", "choc", "manv", "motor")
    columns = {
        "Num_Acc": _plain(vehicles["Num_Acc"]),
        "id_vehicule": grouped(vehicles["id"]),
        "num_veh": pa.array(vehicles["label"]),
        **{name: _text(vehicles[name]) for name in codes},
        "occutc": _where(~bus, "", _plain(vehicles["riders"])),
    }
    return pa.table(columns)


def _usagers(year: int, people: Columns) -> pa.Table:
    letters = {7: "A", 8: "B"}
    acts = _pick([letters.get(code, str(code)) for code in range(10)], people["actp"].clip(0))
    columns = {
        "Num_Acc": _plain(people["Num_Acc"]),
        **({} if year < 2021 else {"id_usager": grouped(people["id"])}),
        "id_vehicule": grouped(people["vehicle_id"]),
        "num_veh": pa.array(people["label"]),
        **{name: _text(people[name]) for name in ("place", "catu", "grav", "sexe")},
        "an_nais": _where(people["an_nais"] < 0, "", _text(people["an_nais"])),
        **{name: _text(people[name]) for name in ("trajet", "secu1", "secu2", "secu3", "locp")},
        "actp": _where(people["actp"] < 0, MISSING, acts),
        "etatp": _text(people["etatp"]),
    }
    return pa.table(columns)


def _truth(year: int, people: Columns) -> pa.Table:
    known = people["id"] if year >= 2021 else _rank(people)
    return pa.table(
        {"Num_Acc": people["Num_Acc"], "id_usager": known, "probability": people["probability"]}
    )


def _rank(people: Columns) -> np.ndarray:
    """Return each person's number in the accident, from 1, whatever the order of the rows.

    The order is by id_vehicule, place, catu, sexe, an_nais, secu1, grav, with missing values last.
    """
    shown = [people[name] for name in ("place", "catu", "sexe", "an_nais", "secu1", "grav")]
    keys = [np.where(key < 0, 9999, key) for key in reversed(shown)]
    order = np.lexsort([*keys, people["vehicle_id"], people["accident"]])
    rank = np.empty(len(order), np.int64)
    rank[order] = 1 + within(people["accident"][order])
    return rank
