from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lockstep.data.tables import read_table
from lockstep.errors import DataError
from lockstep.problems.accidents import raw
from lockstep.problems.schema import load_schema

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "accidents"
real_data = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.exists(), reason="the real files are not beside the project"),
]

NEW = {
    "carcteristiques-2021.csv": [
        "Num_Acc;jour;mois;an;hrmn;lum;dep;com;agg;int;atm;col;adr;lat;long",
        "202100000001;30;11;2021;07:32;2;2A;2A004;2;1;1;3;RUE;41,9200000;8,7300000",
        "202100000002;25;9;2021;15:40; -1;93;93066;2;3;7;6;; -1,2048040;2,3",
    ],
    "lieux-2021.csv": [
        "Num_Acc;catr;voie;circ;surf;situ;vma",
        "202100000001;3;A;2;1;1;80",
        "202100000001;4;B;1;1;1;30",
        "202100000002;4;N/A; -1;2;1; -1",
    ],
    "vehicules-2021.csv": [
        "Num_Acc;id_vehicule;num_veh;catv;obsm;motor",
        "202100000001;201\u00a0765;[01;7;2;1",
        "202100000001;201\u00a0764;B01;33;2;0",
        "202100000002;201\u00a0763;A01;10;1;1",
    ],
    "usagers-2021.csv": [
        "Num_Acc;id_usager;id_vehicule;num_veh;place;catu;grav;sexe;an_nais;secu1",
        "202100000001;267\u00a0638;201\u00a0764;B01;1;1;3;1;2000;2",
        "202100000001;267\u00a0637;201\u00a0765;01;1;1;1;2;;1",
        "202100000002;267\u00a0636;201\u00a0763;A01;10;3;2;1;1951; -1",
        "202100000002;267\u00a0635;201\u00a0763;A01;1;1; -1; -1;1980;1",
    ],
}
OLD = {
    "caracteristiques_2009.csv": [
        "Num_Acc\tan\tmois\tjour\thrmn\tlum\tagg\tint\tatm\tcol\tcom\tadr\tgps\tlat\tlong\tdep",
        "200900000001\t9\t2\t19\t5\t1\t2\t1\t1\t3\t052\tEspérance\tM\t5051199\t0290046\t590",
    ],
    "lieux_2009.csv": ["Num_Acc,catr,circ,surf,situ", "200900000001,3,0,1,1"],
    "vehicules_2009.csv": ["Num_Acc,catv,obsm,num_veh", "200900000001,07,1,A01"],
    "usagers_2009.csv": [
        "Num_Acc,place,catu,grav,sexe,secu,an_nais,num_veh",
        "200900000001,,3,4,1,01,1990,A01",
        "200900000001,1,1,1,2,11,1960,A01",
    ],
}


def folder_of(path, files, encoding="utf-8"):
    path.mkdir(exist_ok=True)
    for name, lines in files.items():
        (path / name).write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return path


def changed(files, name, old, new):
    return files | {name: [line.replace(old, new) for line in files[name]]}


@pytest.fixture
def new_era(tmp_path):
    return folder_of(tmp_path / "raw", NEW)


def test_a_row_is_a_person_with_its_own_vehicle_and_the_first_place(new_era):
    read = raw.read_raw(new_era)
    assert read.rows_in == 4
    assert read.dropped == {
        "accident_not_in_caracteristiques": 0,
        "impossible_date": 0,
        "severity_unknown": 1,
    }
    assert read.counts["multiplied_rows_avoided"] == 2
    table = read.table.set_index("person_id").sort_index()
    assert table.index.tolist() == [267636, 267637, 267638]
    assert table["grav"].tolist() == [1, 0, 1]
    assert table["catv"].tolist() == [5, 2, 1]
    assert table["vma"].fillna(-9).tolist() == [-9, 80, 80]
    assert table["victim_age"].fillna(-9).tolist() == [70, -9, 21]
    assert table["nb_victim"].tolist() == [2, 2, 2]
    assert table["nb_vehicules"].tolist() == [1, 2, 2]
    assert table["com"].tolist() == [93066, 201004, 201004]
    assert table["hour"].tolist() == [15, 7, 7]
    assert table["atm"].tolist() == [1, 0, 0]
    assert table["lat"].tolist() == [-1.204804, 41.92, 41.92]
    assert table["lum"].isna().tolist() == [True, False, False]


def test_the_old_era_reads_into_the_same_columns(tmp_path):
    read = raw.read_raw(folder_of(tmp_path / "raw", OLD, "latin-1"))
    table = read.table.set_index("catu")
    assert table["person_id"].tolist() == [1, 2]
    assert table["place"].to_dict() == {3.0: 10.0, 1.0: 1.0}
    assert table["secu1"].fillna(-9).to_dict() == {3.0: -9.0, 1.0: 1.0}
    assert table[["year_acc", "hour", "dep", "com", "lat", "long"]].iloc[0].tolist() == [
        2009,
        0,
        59,
        59052,
        50.51199,
        2.90046,
    ]
    assert table[["circ", "vma", "motor"]].isna().all(axis=None)
    assert table["date"].unique() == [pd.Timestamp("2009-02-19")]


def test_years_of_both_eras_in_one_folder_are_concatenated(tmp_path):
    folder_of(tmp_path / "raw", OLD, "latin-1")
    read = raw.read_raw(folder_of(tmp_path / "raw", NEW))
    assert read.table["year_acc"].value_counts().to_dict() == {2021.0: 3, 2009.0: 2}


def test_rows_in_another_order_give_the_same_people(tmp_path):
    turned = {name: [lines[0], *reversed(lines[1:])] for name, lines in OLD.items()}
    straight = raw.read_raw(folder_of(tmp_path / "a", OLD, "latin-1")).table
    pd.testing.assert_frame_equal(
        raw.read_raw(folder_of(tmp_path / "b", turned, "latin-1")).table, straight
    )


def test_the_key_column_of_2022_has_another_name(tmp_path):
    files = changed(NEW, "carcteristiques-2021.csv", "Num_Acc", "Accident_Id")
    assert len(raw.read_raw(folder_of(tmp_path / "raw", files)).table) == 3


def test_ids_decoded_twice_still_join(tmp_path):
    files = changed(NEW, "usagers-2021.csv", "\u00a0", "\u00c2\u00a0")
    assert raw.read_raw(folder_of(tmp_path / "raw", files)).counts["persons_without_vehicules"] == 0


def test_the_true_probability_comes_with_its_person(new_era):
    lines = [
        "Num_Acc,id_usager,probability",
        "202100000001,267638,0.25",
        "202100000002,267\u00a0636,0.75",
    ]
    table = raw.read_raw(folder_of(new_era, {raw.TRUTH: lines})).table.set_index("person_id")
    assert table["true_probability"].fillna(-9).to_dict() == {
        267638: 0.25,
        267637: -9,
        267636: 0.75,
    }


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        (
            "lieux-2021.csv",
            "vma",
            "vmax",
            r"lieux-2021\.csv lacks the column 'vma' \(did you mean 'vmax'\?\)",
        ),
        ("usagers-2021.csv", "secu1", "secu", r"'secu1' \(did you mean 'secu'\?\)"),
        (
            "vehicules-2021.csv",
            ";33;",
            ";moto;",
            r"vehicules-2021\.csv: column catv, row 2: 'moto' is no number",
        ),
        ("carcteristiques-2021.csv", ";30;11;", ";31;11;", None),
        (
            "usagers-2021.csv",
            "202100000001",
            "201900000001",
            "50% of the accidents .* have nobody in usagers",
        ),
        (
            "lieux-2021.csv",
            "202100000002",
            "202100000009",
            r"50% of the persons .* no row in lieux .*truncated",
        ),
        ("carcteristiques-2021.csv", ";", "^", "no known separator"),
        (
            "carcteristiques-2021.csv",
            "202100000002;25",
            "2,02E+11;25",
            "row 2: .* is no whole number",
        ),
    ],
)
def test_faulty_files_are_refused_or_counted(tmp_path, name, old, new, says):
    folder = folder_of(tmp_path / "raw", changed(NEW, name, old, new))
    if says is None:
        assert raw.read_raw(folder).dropped["impossible_date"] == 2
    else:
        with pytest.raises(DataError, match=says):
            raw.read_raw(folder)


def test_a_header_without_rows_is_refused(tmp_path):
    files = NEW | {"usagers-2021.csv": NEW["usagers-2021.csv"][:1]}
    with pytest.raises(DataError, match=r"usagers-2021\.csv has a header and no rows"):
        raw.read_raw(folder_of(tmp_path / "raw", files))


class TestRealFiles:
    pytestmark = real_data

    def test_the_native_2023_files_keep_their_76_users(self):
        read = raw.read_raw(DATA / "raw_2023_native_30")
        assert (read.rows_in, len(read.table), sum(read.dropped.values())) == (76, 76, 0)
        assert read.table["accident_id"].nunique() == 30
        assert read.counts["repeated_lieux"] == 8
        assert read.counts["multiplied_rows_avoided"] == 98 - 76
        assert read.table.drop_duplicates("accident_id")["nb_vehicules"].sum() == 54
        assert read.counts["persons_without_vehicules"] == 0

    def test_the_resaved_sample_of_four_years_joins_every_user(self):
        read = raw.read_raw(DATA / "raw_2019_2022_sample100")
        assert (read.rows_in, len(read.table)) == (220, 220)
        assert read.counts["persons_without_vehicules"] == 0
        assert read.table.drop_duplicates("accident_id")["nb_vehicules"].sum() == 167
        assert set(read.table["year_acc"]) == {2019, 2020, 2021, 2022}
        assert read.table.duplicated(["accident_id", "person_id"]).sum() == 0
        assert read.table["grav"].sum() == 32

    def test_2013_without_users_is_refused_as_a_whole(self):
        with pytest.raises(DataError, match=r"no usagers file beside caracteristiques_2013\.csv"):
            raw.read_raw(DATA / "raw_2013")

    def test_each_2013_table_reads(self):
        schema = load_schema("accidents")
        accidents = raw.read_accidents(DATA / "raw_2013/caracteristiques_2013.csv")
        places = raw.read_places(DATA / "raw_2013/lieux_2013.csv")
        vehicles = raw.read_vehicles(DATA / "raw_2013/vehicules_2013.csv")
        assert (len(accidents), len(places), len(vehicles)) == (58397, 58397, 98925)
        assert accidents["date"].dt.year.unique().tolist() == [2013]
        assert accidents["dep"].nunique() == 101
        assert {201, 202, 971, 976, 1, 95} <= set(accidents["dep"])
        assert set(accidents.loc[accidents["dep"] == 75, "com"].unique()) == set(
            range(75101, 75121)
        )
        assert 0.65 < accidents["lat"].isna().mean() < 0.67
        france = accidents.dropna(subset="lat").query("dep < 900")
        assert (france["lat"].between(41, 52) & france["long"].between(-5.5, 10)).mean() > 0.999
        for table in (accidents, places, vehicles):
            for name in table.columns.intersection([c.name for c in schema.features if c.codes]):
                assert set(table[name].dropna()) <= set(schema.columns[name].codes), name

    def test_2021_has_the_prepared_tables_codes(self, real_2021):
        prepared, places, vehicles = real_2021
        assert (len(places), len(vehicles)) == (56518, 97315)
        for table, names in (
            (places, ["catr", "circ", "surf", "situ"]),
            (vehicles, ["catv", "obsm", "motor"]),
        ):
            for name in names:
                assert set(table[name].dropna()) == set(prepared[name]), name

    def test_2021_places_are_distributed_as_in_the_prepared_table(self, real_2021):
        """Both have a row an accident; the 1,820 dropped there may move 1 % of the mass."""
        prepared, places, _ = real_2021
        for name, filled in (
            ("catr", False),
            ("circ", True),
            ("surf", True),
            ("situ", False),
            ("vma", False),
        ):
            assert distance(found(places[name], filled), prepared[name]) < 0.01, name

    def test_2021_vehicles_are_distributed_as_in_the_prepared_table(self, real_2021):
        """Where an accident has one vehicle, the prepared row shows it, whoever was chosen: 1 %.

        Over all accidents the prepared table shows the vehicle of the worst-hurt person, so
        two-wheelers weigh more there than among all vehicles: up to 20 % of the mass.
        """
        prepared, _, vehicles = real_2021
        alone = vehicles[vehicles.groupby("accident_id")["catv"].transform("size") == 1]
        for name, filled in (("catv", False), ("obsm", False), ("motor", True)):
            one = prepared.loc[prepared["nb_vehicules"] == 1, name]
            assert distance(found(alone[name], filled), one) < 0.01, name
            assert distance(found(vehicles[name], filled), prepared[name]) < 0.2, name
        sizes = vehicles.groupby("accident_id").size()
        assert distance(sizes, prepared["nb_vehicules"]) < 0.01


@pytest.fixture(scope="module")
def real_2021():
    folder = DATA / "raw_2021_resaved"
    return (
        read_table(DATA / "onisr_2021_prepared", load_schema("accidents")).table,
        raw.read_places(folder / "lieux-2021.csv"),
        raw.read_vehicles(folder / "vehicules-2021.csv"),
    )


def found(values, filled):
    """Return the values there are, or all, missing ones ``filled`` with the mode.

    The prepared table fills surf, circ, col and motor so.
    """
    return values.fillna(values.mode()[0]) if filled else values.dropna()


def distance(left, right):
    """Return the total variation distance: the share of the mass that lies elsewhere."""
    shares = [side.value_counts(normalize=True) for side in (left, right)]
    return float(np.abs(shares[0].sub(shares[1], fill_value=0)).sum() / 2)
