"""The embedded sample: published format and figures, a known truth, the same bytes everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import kernels

from lockstep.config.params import Sample
from lockstep.errors import UsageError
from lockstep.io import sha256_file
from lockstep.problems.accidents.sample import write_sample
from lockstep.problems.accidents.sample.accidents import draw_accidents
from lockstep.problems.accidents.sample.draws import MILLION, Choice, Draws, effects, sigmoid
from lockstep.problems.accidents.sample.tables import decimal_comma, file_names, grouped
from lockstep.problems.accidents.sample.world import build_world

REAL = Path(__file__).parents[2].parent / "shared" / "data"
real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="the real files are not beside the project"
)

PLACES = "catr;voie;v1;v2;circ;nbv;vosp;prof;pr;pr1;plan;lartpc;larrout;surf;infra;situ;vma"
WHEN_AND_WHERE = "jour;mois;an;hrmn;lum;dep;com;agg;int;atm;col;adr;lat;long"
VEHICLES = "id_vehicule;num_veh;senc;catv;obs;obsm;choc;manv;motor;occutc"
PEOPLE = "num_veh;place;catu;grav;sexe;an_nais;trajet;secu1;secu2;secu3;locp;actp;etatp"

# Shares of 2021 as published, by code.
PUBLISHED = {
    "grav": {"1": 0.4267, "4": 0.4002, "3": 0.1478, "2": 0.0249},
    "agg": {"1": 0.3577, "2": 0.6423},
    "lum": {"1": 0.6937, "2": 0.0667, "3": 0.0882, "4": 0.0080, "5": 0.1434},
    "col": {"1": 0.1026, "2": 0.1353, "3": 0.3137, "4": 0.0377,
            "5": 0.0288, "6": 0.2826, "7": 0.0994},
    "catr": {"1": 0.0959, "2": 0.0624, "3": 0.3595, "4": 0.4186,
             "5": 0.0011, "6": 0.0070, "7": 0.0492, "9": 0.0063},
    "obsm": {"-1": 0.0004, "0": 0.1806, "1": 0.0882, "2": 0.7095,
             "4": 0.0012, "5": 0.0009, "6": 0.0014, "9": 0.0179},
    "surf": {"1": 0.8047, "2": 0.1786, "7": 0.0051},
}  # fmt: skip


def read(folder: Path, year: int = 2021) -> list[pd.DataFrame]:
    """Read a year's caracteristiques, lieux, vehicules and usagers as stripped text."""
    read_one = pd.read_csv
    tables = [
        read_one(folder / name, sep=";", dtype=str, keep_default_na=False)
        for name in file_names(year)
    ]
    return [table.apply(lambda column: column.str.strip()) for table in tables]


def distance(values: pd.Series, shares: dict[str, float]) -> float:
    """Return the total variation distance between values and published shares."""
    seen = values.value_counts(normalize=True).to_dict()
    return sum(abs(seen.get(code, 0) - shares.get(code, 0)) for code in {*seen, *shares}) / 2


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "raw"
    write_sample(Sample(), folder)
    return folder


@pytest.fixture(scope="module")
def tables(default: Path) -> dict[str, pd.DataFrame]:
    names = ("accidents", "places", "vehicles", "people")
    found = dict(zip(names, read(default), strict=True))
    people = found["people"]
    truth = pd.read_csv(default / "true_probability.csv")
    assert (truth["Num_Acc"].astype(str) == people["Num_Acc"]).all()
    assert (truth["id_usager"].astype(str) == people["id_usager"].str.replace("\u00a0", "")).all()
    people["probability"] = truth["probability"]
    people["positive"] = people["grav"].isin(["2", "3"])
    return found


@pytest.fixture(scope="module")
def every_year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("years") / "raw"
    write_sample(Sample(units=3000, years=[2019, 2020, 2021, 2022, 2023, 2024], seed=5), folder)
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}


def test_same_bytes_in_other_processes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lockstep.config.params import Sample;"
        "from lockstep.problems.accidents.sample import write_sample;"
        "write_sample(Sample(units=1500, years=[2020, 2023], drift=0.5), Path(sys.argv[1]))"
    )
    worlds = [
        {"PYTHONHASHSEED": "1", "OPENBLAS_CORETYPE": kernels.ONE,
         "OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo"},
        {"PYTHONHASHSEED": "77", "OPENBLAS_CORETYPE": kernels.OTHER,
         "OMP_NUM_THREADS": "2", "LANG": "tr_TR.UTF-8"},
        {"NPY_DISABLE_CPU_FEATURES": _vector_units(), "ARROW_USER_SIMD_LEVEL": "NONE"},
    ]  # fmt: skip
    found = []
    for number, world in enumerate(worlds):
        folder = tmp_path / str(number)
        subprocess.run(
            [sys.executable, "-c", code, str(folder)], env={**os.environ, **world}, check=True
        )
        found.append(digests(folder))
    assert len(found[0]) == 9
    assert found[0] == found[1] == found[2]


def _vector_units() -> str:
    """Return the vector units numpy may leave unused here, so that it takes its slower loops."""
    from numpy._core import _multiarray_umath as core

    return " ".join(name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name))


def test_another_seed_is_another_sample_of_the_same_country(tmp_path: Path) -> None:
    frames = []
    for seed in (1, 2):
        write_sample(Sample(units=20_000, seed=seed), tmp_path / str(seed))
        frames.append(read(tmp_path / str(seed))[0])
    one, two = (frame.assign(lat=_degrees(frame["lat"])).groupby("com")["lat"] for frame in frames)
    assert not frames[0]["com"].equals(frames[1]["com"])
    large = one.size()[lambda n: n > 60].index.intersection(two.size()[lambda n: n > 60].index)
    assert len(large) > 20
    assert (one.median()[large] - two.median()[large]).abs().max() < 0.01


def _degrees(text: pd.Series) -> pd.Series:
    return text.str.replace(",", ".").str.strip().astype(float)


@pytest.mark.parametrize("year", range(2019, 2025))
def test_columns_of_every_year(every_year: Path, year: int) -> None:
    key = "Accident_Id" if year == 2022 else "Num_Acc"
    person = "Num_Acc;id_vehicule" if year < 2021 else "Num_Acc;id_usager;id_vehicule"
    expected = [
        f"{key};{WHEN_AND_WHERE}",
        f"Num_Acc;{PLACES}",
        f"Num_Acc;{VEHICLES}",
        f"{person};{PEOPLE}",
    ]
    for name, columns in zip(file_names(year), expected, strict=True):
        first = (every_year / name).read_text(encoding="utf-8").splitlines()[0]
        assert first == ";".join(f'"{column}"' for column in columns.split(";"))


def test_file_names_are_the_publishers(every_year: Path) -> None:
    firsts = [file_names(year)[0] for year in range(2019, 2025)]
    assert firsts == [
        "caracteristiques-2019.csv", "caracteristiques-2020.csv", "carcteristiques-2021.csv",
        "carcteristiques-2022.csv", "caract-2023.csv", "caract-2024.csv",
    ]  # fmt: skip
    assert len(list(every_year.iterdir())) == 6 * 4 + 1


@pytest.mark.parametrize("year", range(2019, 2025))
def test_quirks_of_every_year(every_year: Path, year: int) -> None:
    texts = [(every_year / name).read_text(encoding="utf-8") for name in file_names(year)]
    characteristics, places, vehicles, people = texts
    digits = {2019: 7, 2020: 7, 2021: 10, 2022: 10}.get(year, 8)
    assert re.search(rf'"\d\d?,\d{{{digits}}}";" -\d+,\d{{{digits}}}"$', characteristics, re.M)
    assert re.search(r'"([01]\d|2[0-3]):[0-5]\d"', characteristics)
    assert ('"N/A"' in places) == ('"N/A"' in characteristics) == (year >= 2023)
    assert ('"(1)"' in places) == (year < 2023)
    assert '" -1"' in places
    assert '" -1"' in people
    assert re.search(r'^"\d{12}";"\d{1,3}(\u00a0\d{3})+";"A01"', vehicles, re.M)
    assert '"-1"' not in "".join(texts)
    rows = pd.read_csv(every_year / file_names(year)[1], sep=";", dtype=str)["Num_Acc"]
    assert rows.duplicated().any() == (year >= 2023)


@pytest.mark.parametrize("year", range(2019, 2025))
def test_keys_join(every_year: Path, year: int) -> None:
    accidents, places, vehicles, people = read(every_year, year)
    numbers = set(accidents.iloc[:, 0])
    assert len(numbers) == len(accidents)
    assert numbers == set(places["Num_Acc"]) == set(vehicles["Num_Acc"]) == set(people["Num_Acc"])
    key = ["Num_Acc", "id_vehicule", "num_veh"]
    assert not vehicles.duplicated(key).any()
    assert len(people.merge(vehicles, on=key)) == len(people)


def test_truth_has_one_row_a_person(every_year: Path) -> None:
    truth = pd.read_csv(every_year / "true_probability.csv")
    people = sum(len(read(every_year, year)[3]) for year in range(2019, 2025))
    assert list(truth.columns) == ["Num_Acc", "id_usager", "probability"]
    assert len(truth) == people
    assert not truth.duplicated(["Num_Acc", "id_usager"]).any()
    unnumbered = truth[truth["Num_Acc"] < 202_100_000_000].groupby("Num_Acc")["id_usager"]
    assert (unnumbered.min() == 1).all()
    assert (unnumbered.max() == unnumbered.size()).all()


def test_the_loader_reads_every_year_and_finds_everybodys_truth(every_year: Path) -> None:
    from lockstep.problems.accidents.raw import read_raw

    table = read_raw(every_year).table
    truth = pd.read_csv(every_year / "true_probability.csv")
    known = truth.set_index(["Num_Acc", "id_usager"])["probability"]
    keys = pd.MultiIndex.from_frame(table[["accident_id", "person_id"]])
    assert len(table) > 0.99 * len(truth)
    assert table["year_acc"].nunique() == 6
    assert table["true_probability"].to_numpy() == pytest.approx(known[keys].to_numpy(), abs=1e-12)
    by_year = table.groupby("year_acc")[["grav", "true_probability"]].corr().unstack().iloc[:, 1]
    assert by_year.min() > 0.35


def test_people_and_vehicles_fit_together(tables: dict[str, pd.DataFrame]) -> None:
    people, vehicles = tables["people"], tables["vehicles"]
    assert ((people["place"] == "10") == (people["catu"] == "3")).all()
    assert ((people["place"] == "1") == (people["catu"] == "1")).all()
    assert people[people["catu"] == "1"].groupby("id_vehicule").size().max() == 1
    struck = people.merge(vehicles, on="id_vehicule").query("catu == '3'")
    assert (struck["obsm"] == "1").all()
    seated = people.query("catu == '2'")
    cars = seated[seated["id_vehicule"].isin(vehicles.query("catv == '7'")["id_vehicule"])]
    assert not cars.duplicated(["id_vehicule", "place"]).any()


def test_every_accident_hurts_somebody(tables: dict[str, pd.DataFrame]) -> None:
    hurt = tables["people"]["grav"].isin(["2", "3", "4"])
    assert hurt.groupby(tables["people"]["Num_Acc"]).any().all()


def test_structure_is_believable(tables: dict[str, pd.DataFrame]) -> None:
    people, vehicles, places, accidents = (
        tables[k] for k in ("people", "vehicles", "places", "accidents")
    )
    joined = people.merge(vehicles, on=["Num_Acc", "id_vehicule"])
    riders = joined[joined["catv"].isin(["31", "33"]) & (joined["catu"] == "1")]
    assert (riders["secu1"] == "2").mean() > 0.75
    assert places.loc[places["vma"] == "130", "catr"].eq("1").mean() > 0.9
    count = vehicles.groupby("Num_Acc").size()
    on_foot = people.query("catu == '3'")["Num_Acc"].unique()
    alone = accidents["Num_Acc"].isin(count[count == 1].index) & ~accidents["Num_Acc"].isin(on_foot)
    assert accidents.loc[alone, "col"].isin(["6", "7"]).mean() > 0.9
    noon = accidents["hrmn"].between("11:00", "13:59")
    assert (accidents.loc[noon, "lum"] == "1").mean() > 0.97
    assert (accidents["dep"].str.lstrip("0") == accidents["com"].str[:3].str.lstrip("0")).sum() > 0
    assert all(
        com.startswith(dep) for dep, com in zip(accidents["dep"], accidents["com"], strict=True)
    )
    assert (accidents["com"].str.len() == 5).all()


@pytest.mark.parametrize("name", PUBLISHED)
def test_shares_are_the_published_ones(tables: dict[str, pd.DataFrame], name: str) -> None:
    column = next(table[name] for table in tables.values() if name in table)
    assert distance(column, PUBLISHED[name]) < 0.015


def test_counts_are_the_published_ones(tables: dict[str, pd.DataFrame]) -> None:
    people, vehicles = tables["people"], tables["vehicles"]
    assert len(tables["accidents"]) == 20_000
    assert len(people) / 20_000 == pytest.approx(2.287, abs=0.03)
    assert len(vehicles) / 20_000 == pytest.approx(97_315 / 56_518, abs=0.02)
    assert (people["an_nais"] == "").mean() == pytest.approx(0.0237, abs=0.003)
    assert (people["grav"] == "-1").mean() == pytest.approx(0.0005, abs=0.0004)


def test_junk_is_as_rare_as_published(tables: dict[str, pd.DataFrame]) -> None:
    vma = tables["places"]["vma"].astype(int)
    assert 0 < (vma > 130).sum() < 30
    assert (vma == -1).mean() == pytest.approx(0.0155, abs=0.004)
    assert (~tables["vehicles"]["num_veh"].str.match(r"[A-N]01")).mean() == pytest.approx(
        0.0168, abs=0.006
    )


def test_truth_is_calibrated(tables: dict[str, pd.DataFrame]) -> None:
    people = tables["people"]
    tenth = pd.qcut(people["probability"], 10, labels=False)
    for _, rows in people.groupby(tenth):
        p = rows["probability"]
        error = np.sqrt((p * (1 - p)).sum()) / len(rows)
        assert abs(rows["positive"].mean() - p.mean()) < 4.5 * error


def test_best_reachable_score(tables: dict[str, pd.DataFrame]) -> None:
    from sklearn.metrics import roc_auc_score

    people = tables["people"]
    assert 0.86 < roc_auc_score(people["positive"], people["probability"]) < 0.89


def test_geography_matters(tables: dict[str, pd.DataFrame]) -> None:
    merged = tables["people"].merge(tables["accidents"], on="Num_Acc")
    paris = merged.loc[merged["dep"] == "75", "probability"].mean()
    accidents = merged["com"].map(merged.groupby("com")["Num_Acc"].nunique())
    rural = merged.loc[accidents <= 2, "probability"].mean()
    assert paris < 0.09
    assert rural > 0.25
    assert merged["dep"].nunique() > 95
    assert {"2A", "2B", "971", "974"} <= set(merged["dep"])


def test_severity_by_year_follows_the_published_course(tmp_path: Path) -> None:
    # hospitalised and killed of all with known severity: 2019 .183, 2020 .186, 2021 .173, 2022 .180
    write_sample(Sample(units=60_000, years=[2019, 2020, 2021, 2022]), tmp_path / "raw")
    truth = pd.read_csv(tmp_path / "raw" / "true_probability.csv")
    by_year = truth.groupby(truth["Num_Acc"] // 100_000_000)["probability"].mean()
    published = {2019: 0.1832, 2020: 0.1858, 2021: 0.1727, 2022: 0.1804}
    for year, share in published.items():
        assert by_year[year] == pytest.approx(share, abs=0.008)
    assert by_year[2021] == by_year.min()


def test_drift_changes_later_months_only(tmp_path: Path) -> None:
    people, months = {}, {}
    for drift in (0.0, 1.0):
        folder = tmp_path / str(drift)
        write_sample(Sample(units=5000, drift=drift), folder)
        accidents, _, vehicles, users = read(folder)
        users = users.merge(vehicles.drop(columns=["Num_Acc", "num_veh"]), on="id_vehicule")
        users["probability"] = pd.read_csv(folder / "true_probability.csv")["probability"]
        months[drift] = users["Num_Acc"].map(accidents.set_index("Num_Acc")["mois"]).astype(int)
        people[drift] = users
    assert months[0.0].equals(months[1.0])
    early, late = months[0.0] <= 6, months[0.0] >= 11
    pd.testing.assert_frame_equal(people[0.0][early], people[1.0][early])
    severity = {drift: users.loc[late, "probability"].mean() for drift, users in people.items()}
    assert severity[1.0] < 0.9 * severity[0.0]
    devices = {
        drift: users.loc[late, "catv"].isin(["50", "60"]).mean() for drift, users in people.items()
    }
    assert devices[1.0] > 1.5 * devices[0.0]


@settings(max_examples=8, deadline=None)
@given(
    size=st.integers(100, 400),
    seed=st.integers(0, 2**31),
    years=st.lists(st.integers(2019, 2024), min_size=1, max_size=2, unique=True),
    drift=st.floats(0, 5),
)
def test_any_settings_give_whole_tables(
    tmp_path_factory: pytest.TempPathFactory, size: int, seed: int, years: list[int], drift: float
) -> None:
    folder = tmp_path_factory.mktemp("any") / "raw"
    write_sample(Sample(units=size, seed=seed, years=years, drift=drift), folder)
    parts = [read(folder, year) for year in years]
    assert sum(len(part[0]) for part in parts) == size
    truth = pd.read_csv(folder / "true_probability.csv")
    assert truth["probability"].between(0, 1, inclusive="neither").all()
    assert len(truth) == sum(len(part[3]) for part in parts)


@pytest.mark.parametrize("years", [[2018], [2021, 2025], [2005, 2021]])
def test_other_years_are_refused(tmp_path: Path, years: list[int]) -> None:
    with pytest.raises(UsageError, match="may name 2019 to 2024"):
        write_sample(Sample(units=100, years=years), tmp_path / "raw")
    assert list(tmp_path.iterdir()) == []


def test_an_older_sample_is_replaced_whole(tmp_path: Path) -> None:
    write_sample(Sample(units=100, years=[2019]), tmp_path / "raw")
    write_sample(Sample(units=100, years=[2023]), tmp_path / "raw")
    assert {path.name[-8:-4] for path in (tmp_path / "raw").glob("usagers*")} == {"2023"}


@given(
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda s: sum(s) > 0.01),
    uniform=st.integers(0, MILLION - 1),
    level=st.integers(0, 2),
)
def test_a_choice_never_picks_what_has_no_share(
    shares: list[float], uniform: int, level: int
) -> None:
    choice = Choice.of(list(range(len(shares))), [shares] * 3)
    picked = int(choice.pick(np.array([level]), np.array([uniform]))[0])
    assert 0 <= picked < len(shares)
    assert shares[picked] > 0


def test_draws_are_even_and_their_streams_apart() -> None:
    draws = Draws(3)
    one, again, other = (
        draws.uniform("a", 50_000),
        draws.uniform("a", 70_000),
        draws.uniform("b", 50_000),
    )
    assert (one == again[:50_000]).all()
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert one.min() >= 0
    assert one.max() < MILLION
    assert draws.normal("c", 50_000).std() == pytest.approx(1, abs=0.02)


@given(st.floats(-11.9, 11.9))
def test_sigmoid_is_looked_up_right(logit: float) -> None:
    assert float(sigmoid(np.array([logit]))[0]) == pytest.approx(1 / (1 + np.exp(-logit)), abs=2e-4)


@given(st.lists(st.integers(0, 10**9 - 1), min_size=1))
def test_grouped_numbers_read_back(numbers: list[int]) -> None:
    texts = grouped(np.array(numbers)).to_pylist()
    assert texts == [f"{number:,}".replace(",", "\u00a0") for number in numbers]


@given(st.lists(st.integers(-179_999_999, 179_999_999), min_size=1), st.integers(6, 10))
def test_decimal_commas_read_back(millionths: list[int], digits: int) -> None:
    texts = decimal_comma(np.array(millionths) / MILLION, digits).to_pylist()
    assert all(
        text.startswith(" -") == (value < 0) for text, value in zip(texts, millionths, strict=True)
    )
    assert all(len(text.split(",")[1]) == digits for text in texts)
    assert [round(float(text.replace(",", ".")) * MILLION) for text in texts] == millionths


def test_the_country_has_real_departments() -> None:
    world = build_world()
    corsica = world.departments.codes.index("2A")
    ends = np.r_[world.first[1:], len(world.code)]
    assert world.code[world.first[corsica]].startswith("2A")
    assert len(set(world.code)) == len(world.code)
    assert {len(code) for code in world.code} == {5}
    assert (np.diff(world.bounds) >= 0).all()
    assert world.bounds[ends - 1].tolist() == [(k + 1) * MILLION for k in range(len(ends))]
    paris = world.code[world.first[world.departments.codes.index("75")] :][:20]
    assert paris.tolist() == [str(code) for code in range(75101, 75121)]


def test_effects_name_known_factors_only() -> None:
    accidents = draw_accidents(200, [2021], 0.0, build_world(), Draws(0))
    assert set(effects()) == {"spread", "positive", "killed", "slight"}
    assert set(effects()["killed"]) | set(effects()["slight"]) <= set(effects()["positive"])
    assert len(effects()["positive"]["dep"]) == len(build_world().departments.codes)
    assert accidents["drift"].max() == 0


@pytest.mark.real_data
@real_data
def test_columns_are_those_of_the_native_files(every_year: Path) -> None:
    heads = ("caracteristiques", "lieux", "vehicules", "usagers")
    native = REAL / "accidents" / "raw_2023_native_30"
    for name, head in zip(file_names(2023), heads, strict=True):
        ours = (every_year / name).read_bytes().split(b"\n", 1)[0]
        assert ours == (native / f"{head}-2023.head30.csv").read_bytes().split(b"\n", 1)[0]


# Total variation distance to the full year's figures;
# sampling alone makes up to .01 of it for 20,000 accidents.
# Columns with hundreds of values, most of them left out of the generator, have more.
FAR = {
    "pr": 0.06,
    "pr1": 0.09,
    "v2": 0.02,
    "larrout": 0.02,
    "num_veh": 0.02,
    "occutc": 0.02,
    "manv": 0.02,
    "catv": 0.02,
}


@pytest.mark.real_data
@real_data
@pytest.mark.parametrize("name", ["baac_2021_vehicules_raw", "baac_2021_lieux_raw"])
def test_marginals_of_the_full_year(tables: dict[str, pd.DataFrame], name: str) -> None:
    figures = json.loads((REAL / "calibration.json").read_text(encoding="utf-8"))[name]["marginals"]
    table = tables["vehicles" if "vehicules" in name else "places"]
    for column, shares in figures.items():
        total = sum(shares.values())  # long lists are cut off
        stripped = {code.strip(): share / total for code, share in shares.items()}
        assert distance(table[column], stripped) < FAR.get(column, 0.015), column


@pytest.mark.real_data
@real_data
def test_rates_follow_the_real_ones(tables: dict[str, pd.DataFrame]) -> None:
    """Rates of accidents that kill or hospitalise: the prepared table's, a bit nearer the mean."""
    figures = json.loads((REAL / "calibration.json").read_text(encoding="utf-8"))
    rates = figures["baac_2021_template_accident_level"]["positive_rate_by_level"]
    accidents = tables["accidents"].merge(tables["places"].drop_duplicates("Num_Acc"), on="Num_Acc")
    accidents["agg_"] = accidents["agg"]
    accidents["dep"] = accidents["dep"].replace({"2A": "201", "2B": "202"}).str.lstrip("0")
    worst = tables["people"].groupby("Num_Acc")["positive"].any()
    positive = accidents["Num_Acc"].map(worst)
    for name in ("agg_", "catr", "lum", "col", "int", "situ", "dep"):
        real = {
            str(int(float(code))): values
            for code, values in rates[name].items()
            if values[1] >= 400
        }
        ours = positive.groupby(accidents[name]).mean()
        weights = np.array([values[1] for values in real.values()])
        gaps = np.array([abs(ours[code] - values[0]) for code, values in real.items()])
        assert (gaps * weights).sum() / weights.sum() < 0.045, name
        if name == "dep":
            assert (
                np.corrcoef([ours[c] for c in real], [values[0] for values in real.values()])[0, 1]
                > 0.85
            )
