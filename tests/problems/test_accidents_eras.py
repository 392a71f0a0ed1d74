import json
from pathlib import Path

import pytest

from lockstep.errors import DataError
from lockstep.problems.accidents.eras import KINDS, kind_of, raw_files, required_columns

BY_YEAR = (
    Path(__file__).parents[2].parent / "shared" / "data" / "accidents" / "raw_files_by_year.json"
)


@pytest.mark.real_data
@pytest.mark.skipif(not BY_YEAR.exists(), reason="the real files are not beside the project")
def test_every_published_name_is_known():
    published = json.loads(BY_YEAR.read_text())
    names = {f["nom"]: kind for kind in KINDS for f in published[kind]["fichiers"]}
    assert len(names) == 76
    assert {name: kind_of(name) for name in names} == names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("carcteristiques-2021.csv", "caracteristiques"),
        ("caract-2024.csv", "caracteristiques"),
        ("ech_usagers.csv", "usagers"),
        ("lieux-2023.head30.csv", "lieux"),
        ("Vehicules_2009.CSV", "vehicules"),
        ("vehicules-immatricules-baac-2021.csv", None),
        ("usagers.xlsx", None),
        ("true_probability.csv", None),
    ],
)
def test_a_file_belongs_to_a_table_by_its_name(name, kind):
    assert kind_of(name) == kind


def test_what_a_year_must_have_depends_on_the_era():
    assert "secu" in required_columns("usagers", 2018)
    assert {"secu1", "id_vehicule"} <= set(required_columns("usagers", 2019))
    assert "vma" not in required_columns("lieux", 2018)


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_a_missing_table_is_named_with_what_is_there(tmp_path):
    touch(tmp_path, "caract-2023.csv", "lieux-2023.csv", "vehicules-2023.csv")
    with pytest.raises(DataError, match=r"no usagers file beside caract-2023\.csv"):
        raw_files(tmp_path)


def test_a_missing_table_of_one_year_among_several_is_named(tmp_path):
    touch(tmp_path, *(f"{kind}-{year}.csv" for kind in KINDS for year in (2021, 2022)))
    (tmp_path / "lieux-2022.csv").unlink()
    with pytest.raises(DataError, match="no lieux file of 2022"):
        raw_files(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="none of caracteristiques, lieux, vehicules, usagers"):
        raw_files(tmp_path)


def test_leftovers_of_macos_and_office_are_no_tables(tmp_path):
    names = [f"{kind}-2023.csv" for kind in KINDS]
    for name in [*names, *(f"._{name}" for name in names), f"~${names[0]}"]:
        (tmp_path / name).write_text("x\n")
    assert raw_files(tmp_path) == {kind: [tmp_path / f"{kind}-2023.csv"] for kind in KINDS}
