"""A year that is there twice is refused with both names; a person's repeated row is counted."""

import numpy as np
import pytest

from lockstep.commands.add_data import look_at
from lockstep.errors import DataError
from lockstep.problems.accidents import raw
from lockstep.problems.accidents.twice import years_of

HEADERS = {
    "caracteristiques": "Num_Acc;jour;mois;an;hrmn;lum;dep;com;agg;int;atm;col;adr;lat;long",
    "lieux": "Num_Acc;catr;voie;circ;surf;situ;vma",
    "vehicules": "Num_Acc;id_vehicule;num_veh;catv;obsm;motor",
    "usagers": "Num_Acc;id_usager;id_vehicule;num_veh;place;catu;grav;sexe;an_nais;secu1",
}
ROWS = {
    "caracteristiques": "{id};3;{month};{year};07:32;2;75;75004;2;1;1;3;RUE;48,92;2,73",
    "lieux": "{id};3;A;2;1;1;80",
    "vehicules": "{id};{n}5;A01;7;2;1",
    "usagers": "{id};{n}7;{n}5;A01;1;1;{grav};1;1980;1",
}


def lines_of(kind, year, start=1, accidents=40):
    numbers = np.arange(start, start + accidents)
    rows = [
        ROWS[kind].format(id=f"{year}{n:08d}", n=n, year=year, month=n % 12 + 1, grav=n % 4 + 1)
        for n in numbers
    ]
    return [HEADERS[kind], *rows]


def write(path, lines, encoding="utf-8", end="\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode(encoding))


@pytest.fixture
def folder(tmp_path):
    for year in (2021, 2022):
        for kind in HEADERS:
            write(tmp_path / f"{kind}-{year}.csv", lines_of(kind, year))
    return tmp_path


@pytest.mark.parametrize("kind", list(HEADERS))
@pytest.mark.parametrize(
    "again",
    ["{kind}-2021 (1).csv", "{kind}_2021.csv", "old/{kind}-2021.csv", "copy of {kind}.csv",
     "{kind}-2023.csv", "{kind}-2021 - Copie.CSV"],
)  # fmt: skip
def test_a_year_under_another_name_is_refused_with_both_names(folder, kind, again):
    name = again.format(kind=kind)
    write(folder / name, lines_of(kind, 2021))
    if "2023" in name:  # the other three tables of that year are new ones
        for other in HEADERS.keys() - {kind}:
            write(folder / f"{other}-2023.csv", lines_of(other, 2023))
    says = rf"two {kind} files of 2021: .* hold the same 40 accidents \(of 40 and 40\)"
    for read in (raw.read_raw, lambda path: look_at("accidents", path, None)):
        with pytest.raises(DataError, match=says) as caught:
            read(folder)
        assert f"{kind}-2021.csv" in str(caught.value)
        assert name in str(caught.value)


def test_a_year_saved_again_in_another_form_is_refused(folder):
    lines = [line.replace(";", "\t") for line in lines_of("usagers", 2021)]
    again = [lines[0], *lines[:0:-1], lines[3]]  # other order, one row more
    write(folder / "usagers bis.csv", again, "utf-8-sig", "\r\n")
    with pytest.raises(DataError, match="two usagers files of 2021"):
        raw.read_raw(folder)


@pytest.mark.parametrize("separator", ["|", ",", "\t", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_year_whose_file_does_not_show_it_is_refused(folder, separator, encoding):
    lines = [line.replace(";", separator) for line in lines_of("lieux", 2021)]
    write(folder / "lieux-2023.csv", lines, encoding)
    for kind in HEADERS.keys() - {"lieux"}:
        write(folder / f"{kind}-2023.csv", lines_of(kind, 2023))
    for read in (raw.read_raw, lambda path: look_at("accidents", path, None)):
        with pytest.raises(DataError, match=r"two lieux files of 2021: .*lieux-2023\.csv"):
            read(folder)


def test_a_year_between_others_in_one_file_is_refused(folder):
    for kind in HEADERS:
        (folder / f"{kind}-2022.csv").unlink()
        first, *rows = lines_of(kind, 2022)
        write(
            folder / f"{kind}-2022.csv", [first, *rows[:20], *lines_of(kind, 2021)[1:9], *rows[20:]]
        )
    with pytest.raises(DataError, match=r"two caracteristiques files of 2021: .* the same 8 acc"):
        raw.read_raw(folder)


def test_one_accident_that_is_there_twice_is_named_in_the_singular(folder):
    first, *rows = lines_of("lieux", 2021)
    write(folder / "lieux bis.csv", [first, rows[3]])
    with pytest.raises(DataError, match="hold the same 1 accident "):
        raw.read_raw(folder)


def test_parts_of_one_year_are_no_copies(folder):
    for kind in HEADERS:
        write(folder / f"{kind}-2021-part2.csv", lines_of(kind, 2021, start=41))
    assert raw.read_raw(folder).rows_in == 120
    assert look_at("accidents", folder, None).kind == "files"


def test_the_years_of_a_file_are_those_of_its_accidents(tmp_path):
    write(tmp_path / "usagers.csv", lines_of("usagers", 2019) + lines_of("usagers", 2021)[1:])
    assert years_of(tmp_path / "usagers.csv") == {2019, 2020, 2021}
    write(tmp_path / "usagers-2020.csv", ["a;b"])
    assert years_of(tmp_path / "usagers-2020.csv") == {2020}


def test_a_persons_row_repeated_in_its_file_counts_once_and_is_reported(folder):
    whole = raw.read_raw(folder)
    assert "repeated_usagers" not in whole.dropped
    lines = lines_of("usagers", 2021)
    write(folder / "usagers-2021.csv", [*lines, *lines[5:12]])
    again = raw.read_raw(folder)
    assert again.rows_in == whole.rows_in + 7
    assert again.dropped["repeated_usagers"] == again.counts["repeated_usagers"] == 7
    assert len(again.table) == len(whole.table)
    assert again.table["nb_victim"].mean() == whole.table["nb_victim"].mean()


def without_ids(lines):
    """Return rows of people without id_usager, as up to 2020."""
    rows = [line.split(";") for line in lines]
    return [";".join(row[:1] + row[2:]) for row in rows]


def test_without_ids_people_alike_are_counted_and_too_many_are_refused(folder):
    for kind in HEADERS:
        write(folder / f"{kind}-2019.csv", lines_of(kind, 2019))
    lines = without_ids(lines_of("usagers", 2019))
    write(folder / "usagers-2019.csv", lines)
    assert "alike_usagers" not in raw.read_raw(folder).counts
    write(folder / "usagers-2019.csv", [*lines, lines[7]])
    found = raw.read_raw(folder)
    assert (found.rows_in, len(found.table), found.counts["alike_usagers"]) == (121, 121, 1)
    write(folder / "usagers-2019.csv", [*lines, *lines[1:]])
    with pytest.raises(DataError, match="40 of 80 rows in usagers of 2019 repeat a row of their"):
        raw.read_raw(folder)


@pytest.mark.parametrize("again", ["people (1).csv", "people_test.csv", "old/people.csv"])
def test_a_table_twice_is_refused_with_both_names(tmp_path, again):
    name = "people_train.csv" if "test" in again else "people.csv"
    for path in (tmp_path / name, tmp_path / again):
        write(path, ["a,b", "1,2"])
    with pytest.raises(DataError, match="are the same file") as caught:
        look_at("california_housing", tmp_path, None)
    assert str(tmp_path / name) in str(caught.value)
    assert str(tmp_path / again) in str(caught.value)
