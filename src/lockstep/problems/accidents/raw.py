"""The publisher's raw files of any years in one folder → one row a person by schema.yaml."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from lockstep.errors import DataError
from lockstep.problems.accidents import recode
from lockstep.problems.accidents.eras import TRUTH, raw_files, required_columns, year_in
from lockstep.problems.accidents.twice import refuse_same_accidents
from lockstep.problems.shares import Share, check_shares
from lockstep.problems.text_tables import (
    MISSING,
    RawTable,
    TextTable,
    numbers,
    read_text,
    whole_numbers,
)

MAX_UNMATCHED = 0.05
"""Largest share of persons without accident or vehicle: beyond, that table is truncated."""

MAX_ALIKE = 0.1
"""Largest share of rows alike in every column, where no id tells people apart."""

_MISSING = MISSING | {"-1", "-1.0", "N/C", "NC", "#ERREUR", "#VALEURMULTI"}
_VEHICLE_KEY = ["accident_id", "id_vehicule", "num_veh"]
_PERSON_ORDER = [*_VEHICLE_KEY, "place", "catu", "sexe", "an_nais", "secu1", "grav"]


def read_raw(folder: Path) -> RawTable:
    """Read every year's four tables below ``folder`` and join them: a row a person, no fan-out.

    Faulty, missing or truncated files are DataErrors that name the file.
    """
    raw = read_files(raw_files(folder), folder / TRUTH)
    check_shares(raw.shares)
    return raw


def pieces(folder: Path) -> list[dict[str, list[Path]]]:
    """Return the files that can be read apart: those of each year, if all names have one."""
    files = raw_files(folder)
    years = {year_in(path.name) for paths in files.values() for path in paths}
    if None in years:
        return [files]
    return [
        {kind: [p for p in paths if year_in(p.name) == year] for kind, paths in files.items()}
        for year in sorted(filter(None, years))
    ]


def read_piece(folder: Path, piece: dict[str, list[Path]]) -> RawTable:
    """Read one of the pieces; shares of faulty rows are counted, not judged."""
    return read_files(piece, folder / TRUTH)


def read_files(files: dict[str, list[Path]], truth: Path) -> RawTable:
    """Read and join some of the files by kind; shares of faulty rows are counted, not judged."""
    key = ["accident_id"]
    accidents, repeated = _first_rows(files, "caracteristiques", read_accidents, key)
    places, repeated_places = _first_rows(files, "lieux", read_places, key)
    vehicles, repeated_vehicles = _first_rows(files, "vehicules", read_vehicles, _VEHICLE_KEY)
    people = _read_all(files, "usagers", read_people)
    rows_in, again, alike = len(people), repeated_people(people), alike_people(people)
    people = numbered(people[~again])
    people["true_probability"] = _true_probability(people, truth)
    table, dropped, counts, lacking = join(accidents, places, vehicles, people)
    repeats = {
        "repeated_caracteristiques": int(repeated.sum()),
        "repeated_lieux": int(repeated_places.sum()),
        "repeated_vehicules": int(repeated_vehicles.sum()),
        "multiplied_rows_avoided": int(people["accident_id"].map(repeated_places).fillna(0).sum()),
    }
    if again.any():
        dropped["repeated_usagers"] = repeats["repeated_usagers"] = int(again.sum())
    if counted := sum(share.bad for share in alike.values()):
        repeats["alike_usagers"] = counted
    return RawTable(table, dropped, rows_in, repeats | counts, shares=alike | lacking)


def _read_all(
    files: dict[str, list[Path]], kind: str, read: Callable[[Path], pd.DataFrame]
) -> pd.DataFrame:
    """Return the rows of all files of a table; two that hold the same accidents are a DataError."""
    tables = {path: read(path) for path in files[kind]}
    if len(tables) > 1:
        refuse_same_accidents(kind, {p: np.unique(t["accident_id"]) for p, t in tables.items()})
    return pd.concat(tables.values(), ignore_index=True)


def _first_rows(
    files: dict[str, list[Path]],
    kind: str,
    read: Callable[[Path], pd.DataFrame],
    key: list[str],
) -> tuple[pd.DataFrame, pd.Series]:
    """Return the first row of each key, and how many rows too many each accident has."""
    table = _read_all(files, kind, read)
    again = table.duplicated(key)
    return table[~again], table.loc[again, "accident_id"].value_counts()


def repeated_people(people: pd.DataFrame) -> pd.Series:
    """Return which rows are a person again: the same id_usager (from 2021) in one accident.

    Without that id two rows alike may be two people, as on two seats of one bench.
    """
    known = people["person_id"] >= 0
    return known & people.duplicated(["accident_id", "person_id"])


def alike_people(people: pd.DataFrame) -> dict[str, Share]:
    """Return by year how many rows without an id_usager repeat one of their accident wholly.

    A few may be two people: they count. More than ``MAX_ALIKE`` of a year's are refused.
    """
    unknown = people[people["person_id"] < 0]
    alike = unknown.duplicated()
    found = {}
    for year, rows in alike.groupby(unknown["accident_id"] // 10**8):
        examples = tuple(str(unknown.loc[place, "accident_id"]) for place in rows.index[rows][:1])
        fault = (
            f"{{bad:,}} of {{rows:,}} rows in usagers of {year} repeat a row of their accident in "
            "every column that is read (e.g. accident {examples}): people are there twice; fetch "
            "the file again"
        )
        share = Share(int(rows.sum()), len(rows), MAX_ALIKE, fault, examples)
        found[f"alike_usagers_{year}"] = share
    return found


def _open(path: Path, kind: str) -> tuple[TextTable, np.ndarray]:
    """Return a table's text and its accident ids, after checking its columns against its year's."""
    text = read_text(path)
    if "Accident_Id" in text.columns:  # the publisher's name for it in 2022
        text.columns["Num_Acc"] = text.columns.pop("Accident_Id")
    text.require(required_columns(kind, None))
    if not text.rows:
        raise DataError(f"{path.name} has a header and no rows; fetch or copy it again")
    ids = whole_numbers(text, "Num_Acc")
    text.require(required_columns(kind, int(str(ids[0])[:4])))
    return text, ids


def _optional(text: TextTable, name: str) -> np.ndarray:
    if name not in text.columns:
        return np.full(text.rows, np.nan)
    return numbers(text, name, missing=_MISSING)


def read_accidents(path: Path) -> pd.DataFrame:
    """Read one caracteristiques file: a row an accident, codes and positions as in schema.yaml."""
    text, ids = _open(path, "caracteristiques")
    number = partial(numbers, text, missing=_MISSING)
    year = recode.full_year(number("an"))
    dep = recode.department(number("dep", prepare=recode.corsica_as_digits), year)
    lat, long = recode.position(number("lat"), number("long"), dep, year)
    columns = {"year_acc": year, "dep": dep, "lat": lat, "long": long}
    columns |= {name: number(name) for name in ("jour", "mois", "lum", "int", "col")}
    columns["com"] = recode.municipality(number("com", prepare=recode.corsica_as_digits), dep, year)
    columns["agg_"], columns["atm"] = number("agg"), recode.lookup(number("atm"), recode.WEATHER)
    columns["hour"] = number("hrmn", prepare=recode.clock_as_digits) // 100
    parts = {"year": year, "month": columns["mois"], "day": columns["jour"]}
    dates = pd.to_datetime(pd.DataFrame(parts), errors="coerce").astype("datetime64[ms]")
    return pd.DataFrame({"accident_id": ids, "date": dates, **columns})


def read_places(path: Path) -> pd.DataFrame:
    """Read one lieux file: one or more rows an accident; vma is missing up to 2018."""
    text, ids = _open(path, "lieux")
    number = partial(numbers, text, missing=_MISSING)
    # up to 2018 the files hold 0 where traffic regime and surface are unknown
    columns = {name: recode.lookup(number(name), {0: None}) for name in ("catr", "circ", "surf")}
    columns |= {"situ": number("situ"), "vma": _optional(text, "vma")}
    return pd.DataFrame({"accident_id": ids, **columns})


def read_vehicles(path: Path) -> pd.DataFrame:
    """Read one vehicules file: a row a vehicle, by accident, id_vehicule (-1 to 2018), num_veh."""
    text, ids = _open(path, "vehicules")
    number = partial(numbers, text, missing=_MISSING)
    columns = {"catv": recode.lookup(number("catv"), recode.VEHICLE_GROUPS), "obsm": number("obsm")}
    columns["motor"] = recode.lookup(_optional(text, "motor"), {0: None})
    return pd.DataFrame({"accident_id": ids, **_vehicle_key(text), **columns})


def read_people(path: Path) -> pd.DataFrame:
    """Read one usagers file: a row a person, with the key of its vehicle or the one that hit it."""
    text, ids = _open(path, "usagers")
    number = partial(numbers, text, missing=_MISSING)
    catu = recode.pedestrian(number("catu"))
    is_new = "secu1" in text.columns
    columns = {name: number(name) for name in ("sexe", "an_nais", "grav")}
    columns |= {"place": recode.place_of(number("place"), catu), "catu": catu}
    columns["secu1"] = number("secu1") if is_new else recode.safety_device(number("secu"))
    person = _ids(text, "id_usager")
    return pd.DataFrame({"accident_id": ids, **_vehicle_key(text), "person_id": person, **columns})


def _ids(text: TextTable, name: str) -> np.ndarray:
    return whole_numbers(text, name) if name in text.columns else np.full(text.rows, -1)


def _vehicle_key(text: TextTable) -> dict[str, np.ndarray | pd.Series]:
    """Return id_vehicule as int64 and num_veh without junk such as "[": letters and digits."""
    coded = text.columns["num_veh"].dictionary_encode()
    bare = pc.replace_substring_regex(coded.dictionary, pattern="[^A-Za-z0-9]", replacement="")
    names = pc.utf8_upper(bare).take(coded.indices).to_pandas()
    return {"id_vehicule": _ids(text, "id_vehicule"), "num_veh": pd.Series(names, dtype="str")}


def join(
    accidents: pd.DataFrame, places: pd.DataFrame, vehicles: pd.DataFrame, people: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, int], dict[str, int], dict[str, Share]]:
    """Join four tables with unique keys on the person.

    Return the table, rows dropped by reason, counts, and the shares of rows that lack theirs in
    another table. Vehicle columns are of the vehicle a person was in, or that hit the pedestrian.
    """
    alone = ~accidents["accident_id"].isin(people["accident_id"])
    fault = "accidents in caracteristiques have nobody in usagers (e.g. "
    shares = {"usagers": _lacking(accidents["accident_id"], alone, fault, "usagers")}
    for name, rows in (("nb_victim", people), ("nb_vehicules", vehicles)):
        in_accident = rows["accident_id"].value_counts().astype("float64")
        people = people.assign(**{name: people["accident_id"].map(in_accident)})
    parts = {"vehicules": vehicles, "lieux": places, "caracteristiques": accidents}
    table, counts = people, {}
    for kind, part in parts.items():
        key = _VEHICLE_KEY if part is vehicles else ["accident_id"]
        table = table.merge(part.assign(**{kind: True}), how="left", on=key, validate="m:1")
    for kind in ("caracteristiques", "lieux", "vehicules"):
        lacking = table[kind].isna()
        counts[f"persons_without_{kind}"] = int(lacking.sum())
        fault = f"persons in usagers have no row in {kind} (e.g. accident "
        shares[kind] = _lacking(table["accident_id"], lacking, fault, kind)
    table["grav"] = recode.severe(table["grav"].to_numpy())
    table["victim_age"] = table["year_acc"] - table["an_nais"]
    return *_drop(table), counts, shares


def numbered(people: pd.DataFrame) -> pd.DataFrame:
    """Give each person an id: the publisher's (from 2021), else the number in the accident, from 1.

    The order is by vehicle and the known columns, missing last, so the order in the file is free.
    """
    people = people.sort_values(_PERSON_ORDER, kind="stable", ignore_index=True)
    number = people.groupby("accident_id").cumcount() + 1
    return people.assign(person_id=people["person_id"].where(people["person_id"] >= 0, number))


def _lacking(ids: pd.Series, lacking: pd.Series, fault: str, kind: str) -> Share:
    """Return the share of rows that lack theirs in the file of ``kind``."""
    words = (
        f"{{share:.0%}} of the {fault}{{examples}}): the {kind} file is truncated or of another "
        "year; fetch or copy it again"
    )
    examples = tuple(map(str, ids[lacking].head(1)))
    return Share(int(lacking.sum()), len(lacking), MAX_UNMATCHED, words, examples)


def _drop(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop rows without accident, date or severity; the first reason counts."""
    reasons = {
        "accident_not_in_caracteristiques": "caracteristiques",
        "impossible_date": "date",
        "severity_unknown": "grav",
    }
    dropped = {}
    for reason, name in reasons.items():
        lacks = table[name].isna()
        dropped[reason] = int(lacks.sum())
        table = table[~lacks]
    return table, dropped


def _true_probability(people: pd.DataFrame, path: Path) -> pd.Series:
    """Return each person's true probability by the generator's file; missing without one."""
    if not path.is_file():
        return pd.Series(float("nan"), index=people.index)
    text = read_text(path)
    text.require(["Num_Acc", "id_usager", "probability"])
    ids = {"accident_id": "Num_Acc", "person_id": "id_usager"}
    known = pd.DataFrame({key: whole_numbers(text, name) for key, name in ids.items()})
    known["probability"] = numbers(text, "probability")
    known = known.drop_duplicates(["accident_id", "person_id"])
    keys = people[["accident_id", "person_id"]]
    return keys.merge(known, how="left", validate="m:1")["probability"].set_axis(people.index)
