"""Bringing data in: real DVC and git repositories in temporary folders whose path has a space."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from lockstep.commands.add_data import Found, given_path, look_at, main
from lockstep.config.params import load_params
from lockstep.dvc.command import run_dvc
from lockstep.errors import ConfigError, DataError, UsageError
from lockstep.problems.schema import PROBLEMS

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "accidents"
PARTED = ["X_train.csv", "X_test.csv", "y_train.csv", "y_test.csv"]
RAW = ["carcteristiques-2021.csv", "lieux-2021.csv", "usagers-2021.csv", "vehicules-2021.csv"]
STAGES = {
    "stages": {
        "import_raw": {
            "foreach": "${problems}",
            "do": {
                "cmd": f"{shlex.quote(sys.executable)} -m lockstep.data.import_raw "
                "--problem ${key}",
                "deps": ["${item.source.external}"],
                "params": ["problems.${key}.source"],
                "outs": ["data/${key}/raw"],
            },
        }
    }
}
PARAMS = """\
# Everything that changes a result.
problems:
  accidents:
    source:
      kind: sample                    # sample | download | files | table
      external: data/external/NONE    # where files and table lie
      sample: {units: 20000, seed: 2021, years: [2021], drift: 0.0}
    preprocess: {max_unknown_codes: 0.02, max_dropped: 0.2}
    split: {kind: time, test: 0.2, validation: 0.2, seed: 0}
    model_types: [xgboost]

# One row a training.
train:
  accidents-xgboost:
    problem: accidents
    type: xgboost
    params: {n_estimators: 1000, learning_rate: 0.05}
"""
Add = Callable[..., str]


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the project's params.yaml and first stage: made once, copied by tests."""
    root = tmp_path_factory.mktemp("template")
    git(root, "init", "-q")
    git(root, "config", "user.name", "somebody")
    git(root, "config", "user.email", "somebody@example.org")
    run_dvc(root, "init", "-q")
    (root / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
    (root / "params.yaml").write_text(PARAMS)
    (root / "data" / "external").mkdir(parents=True)
    (root / "data" / "external" / "NONE").write_text("nothing\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    return root


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Add:
    def call(problem: str, source: Path | str, *more: str) -> str:
        monkeypatch.setattr(
            sys, "argv", ["add_data", "--problem", problem, "--from", str(source), *more]
        )
        main()
        return capsys.readouterr().out

    return call


def folder(path: Path, names: list[str], text: str = "a,b\n1,2\n") -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(f"{text}{name}\n")
    return path


def snapshot(root: Path) -> dict[str, bytes]:
    files = [
        f
        for f in root.rglob("*")
        if f.is_file() and not {".git", "tmp"} & set(f.relative_to(root).parts)
    ]
    return {str(f.relative_to(root)): f.read_bytes() for f in files}


def test_a_prepared_table_is_copied_tracked_and_named(
    project: Path, add: Add, tmp_path: Path
) -> None:
    told = add("accidents", folder(tmp_path / "their data", [*PARTED, "test_features.json"]))
    assert sorted(p.name for p in (project / "data/external/accidents").iterdir()) == sorted(PARTED)
    source = load_params(project).problem("accidents").source
    assert (source.kind, source.external) == ("table", "data/external/accidents")
    assert load_params(project).problem("accidents").split.kind == "given"
    assert git(project, "check-ignore", "data/external/accidents").strip()
    assert "make run-train PROBLEM=accidents" in told
    assert "git add params.yaml data/external/accidents.dvc" in told
    assert "left out: test_features.json" in told
    assert "dvc push" not in told
    now = (project / "params.yaml").read_text().splitlines()
    differ = [
        new.split()[0] for old, new in zip(PARAMS.splitlines(), now, strict=True) if old != new
    ]
    assert differ == ["kind:", "external:", "split:"]


def test_the_publishers_table_of_registrations_is_left_out(tmp_path: Path) -> None:
    files = folder(tmp_path / "their data", [*RAW, "vehicules-immatricules-baac-2021.csv"])
    found = look_at("accidents", files, None)
    assert (found.kind, sorted(f.name for f in found.files)) == ("files", RAW)
    assert [f.name for f in found.skipped] == ["vehicules-immatricules-baac-2021.csv"]


def test_a_clone_with_only_the_remote_reproduces_it_and_no_outer_path_is_kept(
    project: Path, add: Add, tmp_path: Path
) -> None:
    run_dvc(project, "remote", "add", "-d", "storage", str(tmp_path / "store"))
    theirs = folder(tmp_path / "their data", RAW)
    assert "  dvc push" in add("accidents", theirs).splitlines()
    run_dvc(project, "repro", "import_raw@accidents")
    run_dvc(project, "push")
    git(project, "add", ".")
    git(project, "commit", "-qm", "data")
    for name in (
        "data/external/accidents.dvc",
        "params.yaml",
        "dvc.lock",
        "data/external/.gitignore",
    ):
        assert str(tmp_path) not in (project / name).read_text()
        assert ".." not in (project / name).read_text()
    shutil.rmtree(theirs)
    copy = tmp_path / "a clone"
    git(tmp_path, "clone", "-q", str(project), str(copy))
    run_dvc(copy, "pull", "data/external/accidents.dvc")
    run_dvc(copy, "repro", "import_raw@accidents")
    assert git(copy, "status", "--short") == ""
    assert sorted(p.name for p in (copy / "data/accidents/raw").iterdir()) == RAW


def test_raw_files_are_read_as_files_and_split_by_time_again(
    project: Path, add: Add, tmp_path: Path
) -> None:
    add("accidents", folder(tmp_path / "table", PARTED))
    add("accidents", folder(tmp_path / "raw", [f"2021/{name}" for name in RAW]))
    params = load_params(project).problem("accidents")
    assert (params.source.kind, params.split.kind) == ("files", "time")
    assert sorted(p.name for p in (project / "data/external/accidents/2021").iterdir()) == RAW
    assert not (project / "data/external/accidents/X_train.csv").exists()


def test_the_same_data_twice_change_nothing(project: Path, add: Add, tmp_path: Path) -> None:
    theirs = folder(tmp_path / "their data", PARTED)
    add("accidents", theirs)
    before = snapshot(project)
    assert add("accidents", theirs).startswith("nothing to do")
    assert snapshot(project) == before


def test_a_problem_without_a_section_gets_the_one_its_folder_suggests(
    project: Path, add: Add, tmp_path: Path
) -> None:
    pair = folder(tmp_path / "persons", ["df-dev-train.csv", "df-dev-test.csv"])
    assert "accidents_2005_2021" not in load_params(project).problems
    add("accidents_2005_2021", pair)
    params = load_params(project)
    assert params.problem("accidents_2005_2021").split.kind == "given"
    assert params.problem("accidents").source.kind == "sample"
    suggested = yaml.safe_load((PROBLEMS / "accidents_2005_2021" / "params.yaml").read_text())
    assert set(suggested["train"]) <= set(params.train)
    assert set(suggested["search"]) == set(params.search)


def test_links_are_followed_as_copies(project: Path, add: Add, tmp_path: Path) -> None:
    real = folder(tmp_path / "real", ["table.csv"])
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "inner").symlink_to(real)
    add("accidents", linked)
    copy = project / "data/external/accidents/inner/table.csv"
    assert copy.read_text() == (real / "table.csv").read_text()
    assert not copy.is_symlink()
    assert not copy.parent.is_symlink()


def test_files_that_dvc_does_not_track_are_not_overwritten(
    project: Path, add: Add, tmp_path: Path
) -> None:
    folder(project / "data/external/accidents", ["by_hand.csv"])
    before = snapshot(project)
    with pytest.raises(UsageError, match="would be lost; move the folder away"):
        add("accidents", folder(tmp_path / "their data", PARTED))
    assert snapshot(project) == before


def test_a_fault_in_params_is_told_before_anything_is_copied(
    project: Path, add: Add, tmp_path: Path
) -> None:
    (project / "params.yaml").write_text(
        (project / "params.yaml").read_text().replace("preprocess:", "prep:")
    )
    before = snapshot(project)
    with pytest.raises(ConfigError, match=r"unknown key .*prep"):
        add("accidents", folder(tmp_path / "their data", PARTED))
    assert snapshot(project) == before


def test_outside_a_dvc_repository_the_error_is_one_line(
    tmp_path: Path, project: Path, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(project / ".dvc")
    with pytest.raises(ConfigError, match="not inside of a DVC repository") as caught:
        add("accidents", folder(tmp_path / "their data", PARTED))
    assert "\n" not in str(caught.value)
    assert load_params(project).problem("accidents").source.kind == "sample"


def test_an_unknown_problem_names_the_nearest(project: Path, add: Add) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'accidents'"):
        add("acidents", ".")


@pytest.mark.parametrize("source", ["", "not there", "data/external/accidents/2021", ".", "data"])
def test_places_to_copy_from_that_make_no_sense(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "data/external/accidents/2021", RAW)
    with pytest.raises(
        UsageError, match=r"no data were named|is not there|where the data would go"
    ):
        given_path(tmp_path, source, tmp_path / "data/external/accidents")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_folder_is_named(tmp_path: Path) -> None:
    closed = folder(tmp_path / "closed", PARTED)
    closed.chmod(0)
    with pytest.raises(UsageError, match="cannot be read"):
        given_path(tmp_path, str(closed), tmp_path / "data/external/accidents")


@pytest.mark.parametrize(
    ("names", "kind", "own_split"),
    [
        (PARTED, "table", True),
        ([n.upper() for n in PARTED], "table", True),
        (["df-dev-train.csv", "df-dev-test.csv"], "table", True),
        (["people.parquet"], "table", False),
        (["people.csv", "read me.md", "licence.txt"], "table", False),
        (["people.txt"], "table", False),
        (RAW, "files", False),
        (["caract-2023.csv", "lieux_2005.csv", "ech_usagers.csv"], "files", False),
    ],
)
def test_file_names_tell_how_they_are_read(
    tmp_path: Path, names: list[str], kind: str, own_split: bool
) -> None:
    found = look_at("accidents", folder(tmp_path / "d", names), None)
    assert (found.kind, found.own_split) == (kind, own_split)


def test_one_file_stands_for_itself_alone(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", ["people.csv", "others.csv"])
    found = look_at("accidents", place / "people.csv", None)
    assert [found.target_name(f) for f in found.files] == [Path("people.csv")]


def test_a_given_kind_wins_over_the_names(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", ["usagers-2021.csv"])
    assert look_at("accidents", place, "table") == Found(
        place, (place / "usagers-2021.csv",), (), "table", False
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "it is empty"),
        ([".hidden.csv"], "it is empty"),
        (["a.zip"], r"found a\.zip; unpack archives first"),
        (PARTED[:3], "lacks y_test; a prepared table is"),
        (["a.csv", "b.csv", "c.csv"], "not clear which is the table"),
        (["train_test.csv", "x.csv"], "not clear which is the table"),
        ([*RAW, "X_train.csv"], "raw files of the publisher .* and others .*KIND="),
    ],
)
def test_sets_of_files_that_make_no_sense(tmp_path: Path, names: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        look_at("accidents", folder(tmp_path / "d", names), None)
    assert "\n" not in str(caught.value)


def test_an_empty_file_and_a_broken_link_are_named(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", PARTED)
    (place / "X_train.csv").write_text("")
    with pytest.raises(DataError, match=r"X_train\.csv is empty"):
        look_at("accidents", place, None)
    (place / "X_train.csv").unlink()
    (place / "X_train.csv").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="is a link to nothing"):
        look_at("accidents", place, None)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="the real files are not beside the project")
@pytest.mark.parametrize(
    ("name", "kind", "own_split", "files"),
    [
        ("onisr_2021_prepared", "table", True, 4),
        ("user_sample_2005_2021", "table", True, 2),
        ("raw_2013", "files", False, 3),
        ("raw_2019_2022_sample100", "files", False, 4),
        ("raw_2023_native_30", "files", False, 4),
        ("raw_2021_resaved", "files", False, 2),
    ],
)
def test_real_folders_are_told_apart(name: str, kind: str, own_split: bool, files: int) -> None:
    found = look_at("accidents", REAL / name, None)
    assert (found.kind, found.own_split, len(found.files)) == (kind, own_split, files)


def measured(rows: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.Generator(np.random.PCG64(seed))
    size, sort = rng.normal(size=rows).round(3), rng.integers(0, 9, rows)
    return pd.DataFrame({"size": size, "sort": sort, "y": rng.integers(0, 2, rows)})


def written(table: pd.DataFrame, path: Path, form: str = "") -> None:
    if form == "parquet":
        table.to_parquet(path.with_suffix(".parquet"))
        return
    options: dict[str, Any] = {
        "semicolons": {"sep": ";", "decimal": ","},
        "CRLF": {"lineterminator": "\r\n"},
        "columns": {"columns": list(table)[::-1]},
    }.get(form, {})
    table.to_csv(path, index=False, **options)


@pytest.mark.parametrize("form", ["", "semicolons", "CRLF", "columns", "parquet"])
def test_test_rows_that_are_training_rows_are_refused_in_any_form(tmp_path: Path, form: str):
    table = measured(200)
    written(table, tmp_path / "train.csv")
    written(table.sample(60, random_state=1), tmp_path / "test.csv", form)
    says = r"60 of 60 rows of test\.\w+ are rows of train\.csv too, equal in every column"
    with pytest.raises(DataError, match=says):
        look_at("california_housing", tmp_path, None)


def test_features_and_targets_of_the_same_rows_are_refused(tmp_path: Path):
    for part, table in (("train", measured(80)), ("test", measured(80).iloc[::-1])):
        written(table[["size", "sort"]], tmp_path / f"X_{part}.csv")
        written(table[["y"]], tmp_path / f"y_{part}.csv")
    with pytest.raises(DataError, match=r"80 of 80 rows of X_test\.csv are rows of X_train\.csv"):
        look_at("california_housing", tmp_path, None)


def test_some_test_rows_that_are_training_rows_are_counted(tmp_path: Path):
    table = measured(200)
    written(table[:150], tmp_path / "train.csv")
    written(table[120:], tmp_path / "test.csv")
    found = look_at("california_housing", tmp_path, None)
    assert found.note.startswith("30 of 80 rows of test.csv are rows of train.csv too")


def test_a_few_coarse_columns_agree_by_chance(tmp_path: Path):
    for part, seed in (("train", 1), ("test", 2)):
        written(measured(300, seed)[["sort", "y"]], tmp_path / f"{part}.csv")
    assert look_at("california_housing", tmp_path, None).note == ""
    few = measured(300, 2)[["sort", "y"]].drop_duplicates().head(3)
    written(few, tmp_path / "test.csv")  # each row differs, and training has all of them by chance
    assert look_at("california_housing", tmp_path, None).note == ""
    written(measured(300, 1)[["y", "sort"]], tmp_path / "test.csv")
    with pytest.raises(DataError, match="300 of 300 rows"):
        look_at("california_housing", tmp_path, None)
