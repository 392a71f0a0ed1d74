import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from lockstep.config.params import Preprocess, Sample, parse_params
from lockstep.data.checks import Checked
from lockstep.data.preprocess import main, quality_of, read_source, tidy
from lockstep.errors import ConfigError, DataError, run_command
from lockstep.problems.accidents.sample import write_sample
from lockstep.problems.schema import PROBLEMS, load_schema

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "accidents"
real_data = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA.exists(), reason="the real files are not beside the project"),
]


def project(folder, raw, problem="accidents", kind="files"):
    """Make a project folder whose raw files of one problem are those of ``raw``."""
    section = {"source": {"kind": kind}, "model_types": ["xgboost"]}
    training = {"problem": problem, "type": "xgboost"}
    folder.mkdir(exist_ok=True)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    params = {"problems": {problem: section}, "train": {f"{problem}-xgboost": training}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    (folder / "data" / problem).mkdir(parents=True)
    (folder / "data" / problem / "raw").symlink_to(raw)
    return folder


def run(folder, problem="accidents", **env):
    command = [sys.executable, "-m", "lockstep.data.preprocess", "--problem", problem]
    kept = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    return subprocess.run(
        command, cwd=folder, env=kept | env, capture_output=True, text=True, check=False
    )


def raw_folder(folder, people=40, grav=("1", "3")):
    """Write four raw tables of ``people`` accidents of one person each, in the format of 2023."""
    import csv

    ids = [f"2023{n:08d}" for n in range(1, people + 1)]
    tables = {
        "caract-2023.csv": [
            {
                "Num_Acc": i,
                "jour": "7",
                "mois": "05",
                "an": "2023",
                "hrmn": "06:00",
                "lum": "1",
                "dep": "75",
            }
            | {
                "com": "75101",
                "agg": "2",
                "int": "1",
                "atm": "1",
                "col": "7",
                "lat": "48,8",
                "long": "2,3",
            }
            for i in ids
        ],
        "lieux-2023.csv": [
            {"Num_Acc": i, "catr": "4", "circ": "1", "surf": "1", "situ": "1", "vma": "30"}
            for i in ids
        ],
        "vehicules-2023.csv": [
            {
                "Num_Acc": i,
                "id_vehicule": i,
                "num_veh": "A01",
                "catv": "7",
                "obsm": "0",
                "motor": "1",
            }
            for i in ids
        ],
        "usagers-2023.csv": [
            {
                "Num_Acc": i,
                "id_usager": i,
                "id_vehicule": i,
                "num_veh": "A01",
                "place": "1",
                "catu": "1",
            }
            | {"grav": grav[n % len(grav)], "sexe": "1", "an_nais": "1990", "secu1": "1"}
            for n, i in enumerate(ids)
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0], delimiter=";", quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)
    return folder


def test_the_stage_writes_the_tidy_table_and_its_quality(tmp_path):
    folder = project(
        tmp_path / "p", raw_folder(tmp_path / "raw", grav=("1", "3", "1", "4", "-1", "2", "1", "1"))
    )
    done = run(folder)
    assert (done.returncode, done.stderr) == (0, "")
    table = pd.read_parquet(folder / "data/accidents/tidy.parquet")
    assert table.columns.tolist() == list(load_schema("accidents").columns)
    quality = json.loads((folder / "metrics/accidents/data_quality.json").read_text())
    assert quality["rows"] == {"in": 40, "out": 35, "dropped": 5}
    assert quality["dropped"] == {"severity_unknown": 5}
    assert quality["groups"] == 35
    assert quality["years"] == {"2023": 35}
    assert quality["positive_rate"] == pytest.approx(10 / 35, abs=1e-5)
    assert quality["missing"] == {"part": 35, "true_probability": 35}


def test_the_bytes_do_not_depend_on_process_locale_or_row_order(tmp_path):
    raw = raw_folder(tmp_path / "raw")
    turned = raw_folder(tmp_path / "turned")
    for path in turned.iterdir():
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([header, *reversed(rows)]) + "\n")
    made = []
    environments = [
        {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"},
        {"PYTHONHASHSEED": "2", "LC_ALL": "C", "OMP_NUM_THREADS": "1"},
    ]
    for n, (source, env) in enumerate(zip((raw, turned), environments, strict=True)):
        folder = project(tmp_path / f"p{n}", source)
        assert run(folder, **env).returncode == 0
        made.append(
            [
                (folder / name).read_bytes()
                for name in ("data/accidents/tidy.parquet", "metrics/accidents/data_quality.json")
            ]
        )
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda raw: (raw / "usagers-2023.csv").unlink(), "no usagers file beside caract-2023.csv"),
        (
            lambda raw: rewrite(raw / "lieux-2023.csv", lambda t: t.rsplit(";", 2)[0]),
            "has 4 values, the header 6: the file is truncated; fetch or copy it again",
        ),
        (
            lambda raw: rewrite(raw / "lieux-2023.csv", lambda t: t[:-4]),
            "lieux-2023.csv ends inside a quoted value",
        ),
        (
            lambda raw: rewrite(raw / "lieux-2023.csv", lambda t: t.replace(";", "^")),
            "no known separator",
        ),
        (lambda raw: (raw / "lieux-2023.csv").write_bytes("é".encode("utf-16")[:-1]), "UTF-16"),
        (
            lambda raw: rewrite(raw / "lieux-2023.csv", lambda t: t.replace("surf", "surface")),
            "did you mean 'surface'?",
        ),
        (
            lambda raw: rewrite(raw / "lieux-2023.csv", lambda t: t.replace('"4"', '"77"')),
            "unknown codes (e.g. 77)",
        ),
        (
            lambda raw: rewrite(raw / "vehicules-2023.csv", lambda t: t.replace('"7"', '"car"')),
            "row 1: 'car' is no number",
        ),
        (
            lambda raw: rewrite(raw / "usagers-2023.csv", lambda t: t.splitlines()[0]),
            "has a header and no rows",
        ),
        (
            lambda raw: rewrite(
                raw / "usagers-2023.csv", lambda t: t.replace('"1";"3"', '"1";"1"')
            ),
            "one class only (0)",
        ),
        (
            lambda raw: rewrite(
                raw / "usagers-2023.csv", lambda t: t.replace('"1";"3"', '"1";"-1"')
            ),
            "would be dropped (severity_unknown 20)",
        ),
    ],
)
def test_bad_input_ends_in_one_line_and_no_output(tmp_path, monkeypatch, capsys, break_it, says):
    raw = raw_folder(tmp_path / "raw")
    break_it(raw)
    folder = project(tmp_path / "p", raw)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["preprocess", "--problem", "accidents"])
    with pytest.raises(SystemExit) as left:
        run_command(main)
    line = capsys.readouterr().err
    assert left.value.code == 1
    assert line.startswith("✗ ")
    assert says in line
    assert line.count("\n") == 1
    assert sorted(p.name for p in folder.rglob("*") if p.is_file() and "raw" not in p.parts) == [
        "dvc.yaml",
        "params.yaml",
    ]


def rewrite(path, change):
    path.write_text(change(path.read_text()))


def test_an_unknown_problem_is_a_usage_error(tmp_path):
    done = run(project(tmp_path / "p", raw_folder(tmp_path / "raw")), "acidents")
    assert done.returncode == 2
    assert "did you mean 'accidents'?" in done.stderr


def test_a_problem_without_a_loader_of_its_own_reads_tables_only(tmp_path):
    with pytest.raises(ConfigError, match=r"problems\.accidents_2005_2021\.source\.kind to table"):
        read_source(tmp_path, "files", load_schema("accidents_2005_2021"))


def test_a_missing_raw_folder_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="run `dvc repro`"):
        read_source(tmp_path / "raw", "sample", load_schema("accidents"))


def test_help_imports_nothing_heavy():
    code = (
        "import sys, lockstep.data.preprocess; "
        "print({'pandas', 'numpy', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_params_of_the_person_sample_are_complete():
    content = yaml.safe_load((PROBLEMS / "accidents_2005_2021" / "params.yaml").read_text())
    params = parse_params(content)
    assert len(params.train) == len(params.problem("accidents_2005_2021").model_types) == 4


def test_the_embedded_sample_of_every_year_reads_back_whole(tmp_path):
    from sklearn.metrics import roc_auc_score

    write_sample(Sample(units=3000, years=[2019, 2020, 2021, 2022, 2023, 2024]), tmp_path)
    table, quality = tidy(tmp_path, "sample", load_schema("accidents"), Preprocess())
    assert quality["groups"] == 3000
    assert quality["rows"]["dropped"] == quality["dropped"].get("severity_unknown", 0)
    assert (quality["unknown_codes"], quality["out_of_range"]) == ({}, {})
    assert quality["source"]["persons_without_vehicules"] == 0
    assert set(quality["years"]) == {"2019", "2020", "2021", "2022", "2023", "2024"}
    assert table["true_probability"].notna().all()
    # in files without id_usager too, each probability is its own person's
    early = table[table["year_acc"] < 2021]
    assert roc_auc_score(early["grav"], early["true_probability"]) > 0.82


class TestRealFiles:
    pytestmark = real_data

    def test_the_prepared_table_loses_nothing(self):
        table, quality = tidy(
            DATA / "onisr_2021_prepared", "table", load_schema("accidents"), Preprocess()
        )
        assert quality["rows"] == {"in": 54698, "out": 54698, "dropped": 0}
        assert (quality["unknown_codes"], quality["out_of_range"]) == ({}, {})
        assert quality["parts"] == {"test": 16410, "train": 38288}
        assert table["date"].is_monotonic_increasing

    def test_the_person_sample_runs_through_the_stage(self, tmp_path):
        problem = "accidents_2005_2021"
        folder = project(tmp_path / "p", DATA / "user_sample_2005_2021", problem, "table")
        assert run(folder, problem).stderr == ""
        quality = json.loads((folder / f"metrics/{problem}/data_quality.json").read_text())
        assert quality["rows"] == {"in": 9999, "out": 9999, "dropped": 0}
        assert (quality["unknown_codes"], quality["missing"]) == ({}, {})
        assert quality["positive_rate"] == pytest.approx(2319 / 9999, abs=1e-5)

    @pytest.mark.parametrize(
        ("folder", "rows"), [("raw_2023_native_30", 76), ("raw_2019_2022_sample100", 220)]
    )
    def test_real_raw_files_fit_the_schema(self, folder, rows):
        table, quality = tidy(DATA / folder, "files", load_schema("accidents"), Preprocess())
        assert len(table) == rows
        assert (quality["unknown_codes"], quality["out_of_range"]) == ({}, {})


def test_years_are_whole_numbers_also_where_a_date_is_missing():
    schema = load_schema("accidents")
    dates = pd.to_datetime(["2021-03-04", None, "2022-01-31", "2022-12-01"])
    table = pd.DataFrame({name: [0, 1, 0, 1] for name in schema.columns} | {schema.date: dates})
    found = quality_of(Checked(table, 4), {}, {}, schema)
    assert found["years"] == {"2021": 1, "2022": 2}
