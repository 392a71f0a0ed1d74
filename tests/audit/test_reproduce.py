"""What a rebuilt model is said to be: by digest, by predictions, and where two closures part."""

import importlib.util
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

from lockstep.audit import reproduce
from lockstep.audit.closures import Difference
from lockstep.audit.rebuild import Tree, check_installed
from lockstep.audit.reproduce import (
    DIFFERENT,
    EQUAL,
    IDENTICAL,
    Compared,
    Origin,
    Rebuilt,
    apart,
    facts,
    readable,
    verdict_of,
)
from lockstep.errors import ConfigError
from lockstep.features.matrix_columns import ROW
from lockstep.io import write_parquet
from lockstep.registry.store.versions import Version

VERSION = Version("Cars", 3, 0, "r", "", "None", {"lockstep.model_digest": "a" * 64})
DONE = Rebuilt(
    version=VERSION,
    origin=Origin("c" * 40, {}),
    verdict=DIFFERENT,
    digest="b" * 64,
    data="source sample, made anew",
    environment="this one",
    inputs=[],
    differs=[],
    predictions={},
    why_not="",
    seconds=1.0,
    folder=None,
)
ENVIRONMENT = Difference("", "environment", "python", "3.11.2", "3.12.1")
CODE = Difference("features@cars", "code", "src/build.py", "1", "2")
TABLE = Difference("preprocess@cars", "output", "data/cars/tidy", "1", "2")
MATRIX = Difference("features@cars", "output", "data/cars/features", "1", "2")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(-0.9e-9, 0.9e-9))
def test_predictions_within_a_billionth_are_equal(values, gap):
    values = np.array(values)
    assert apart(values, values + gap * np.maximum(1, np.abs(values)) * 0.9).equal
    other = values.copy()
    other[-1] += 2.5e-9 * max(1, abs(values[-1]))
    assert not apart(values, other).equal


def test_predictions_of_another_shape_or_gone_are_not_equal():
    assert apart([[0.5, 0.5]], [[0.5, 0.5]]) == Compared(1, 0.0, equal=True)
    assert apart([0.5, 0.5], [[0.5, 0.5]]).equal is False
    assert apart([0.5, np.nan], [0.5, 0.5]).largest == np.inf
    assert apart([np.nan], [np.nan]).equal


@pytest.mark.parametrize(
    ("same", "equal", "verdict"),
    [
        (True, [], IDENTICAL),
        (False, [True, True], EQUAL),
        (False, [True, False], DIFFERENT),
        (False, [], DIFFERENT),
    ],
)
def test_the_verdict(same, equal, verdict):
    found = {str(n): Compared(1, 0.0, e) for n, e in enumerate(equal)}
    assert verdict_of(same, found) == verdict


@pytest.mark.parametrize(
    ("differs", "told"),
    [
        ([CODE, MATRIX], "features@cars: its code src/build.py is another"),
        (
            [TABLE, CODE, MATRIX],
            "preprocess@cars: it made another data/cars/tidy, though none of its inputs differs",
        ),
        (
            [ENVIRONMENT, MATRIX],
            "features@cars: it made another data/cars/features, though none of its inputs differs; "
            "the environment does",
        ),
        ([], "train_multi_model: it made another model, though none of its inputs differs"),
    ],
)
def test_where_two_part_ways_first(differs, told):
    done = replace(DONE, differs=differs)
    assert done.where == told
    assert told in readable(done)
    assert facts(done)["first_difference"] == told


def test_the_answer_shows_what_it_rests_on():
    rows = {
        "golden rows": Compared(256, 0.25, False),
        "test rows": Compared(3, float("inf"), False),
    }
    done = replace(DONE, predictions=rows, differs=[CODE] * 30)
    text = readable(done)
    assert text.startswith("✗ Cars version 3 is not reproduced")
    assert "256 golden rows apart by up to 0.25" in text
    assert "… and 10 more" in text
    assert facts(done)["predictions"]["test rows"]["largest"] is None
    same = replace(DONE, verdict=IDENTICAL, digest="a" * 64)
    assert readable(same).startswith("✓ Cars version 3 is reproduced: bit-identical")
    assert facts(same)["first_difference"] is None


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy in which Spark prepared five rows in two files; rows 1 and 4 are test rows."""
    golden, schema = pd.DataFrame({"speed": [0.5]}), SimpleNamespace(feature_names=["speed"])
    monkeypatch.setattr(reproduce, "golden_of", lambda located: (schema, golden, None))
    monkeypatch.setattr(reproduce, "locate", lambda *_: None)
    monkeypatch.setattr(reproduce, "open_version", lambda _: SimpleNamespace(pipeline=None))
    data = tmp_path / "data" / "cars" / "spark"
    for number, speeds in enumerate(([10.0, 11.0, 12.0], [13.0, 14.0])):
        table = pd.DataFrame({"speed": speeds})
        write_parquet(data / "tidy" / f"rows-{number:04d}.parquet", table)
    matrix = pd.DataFrame({"x": [0.0, 0.0], ROW: [1, 4]})
    write_parquet(data / "features" / "test" / "rows-00000.parquet", matrix)
    return Tree(tmp_path, tmp_path, Path(sys.executable))


TAGS = {"lockstep.problem": "cars", "lockstep.type": "spark_xgboost"}


def test_test_rows_are_those_that_the_engine_of_the_type_prepared(tree):
    tables = reproduce._tables(None, tree, replace(VERSION, tags=TAGS))
    assert tables["test rows"]["speed"].tolist() == [11.0, 14.0]


def test_what_cannot_be_compared_is_another_model(tree):
    one_machine = replace(VERSION, tags=TAGS | {"lockstep.type": "xgboost"})
    predictions, why_not = reproduce.compared(None, one_machine, tree)
    assert verdict_of(False, predictions) == DIFFERENT
    assert re.search(r"test\.parquet is missing", why_not)


def test_a_version_whose_run_was_removed_is_rebuilt_from_its_commit(tmp_path):
    class Client:
        def get_run(self, run_id):
            raise MlflowException("Run not found", error_code=RESOURCE_DOES_NOT_EXIST)

    place = Tree(tmp_path, tmp_path, Path(sys.executable))
    origin = reproduce.restore(Client(), VERSION, "c" * 40, False, place)
    assert origin == Origin("c" * 40, None)


def test_packages_that_are_not_the_locks_are_named(tmp_path):
    import numpy

    lock = tmp_path / "requirements.lock"
    pins = [f"numpy=={numpy.__version__}", "nowhere==1 ; sys_platform == 'win32'"]
    lock.write_text("".join(f"{pin}\n    # via pandas\n" for pin in pins))
    check_installed(tmp_path, [lock.name])
    lock.write_text("numpy==1.0\n    # via pandas\nnowhere==1\n    # via pandas\n")
    fault = f"numpy {numpy.__version__} in place of 1.0, nowhere 1 is missing"
    with pytest.raises(ConfigError, match=rf"not those of requirements.lock: {fault}; run `make"):
        check_installed(tmp_path, [lock.name])


def test_the_packages_of_the_project_are_those_of_its_lock():
    check_installed(Path(__file__).parents[2], ["requirements.lock"])


def test_the_check_of_all_types_takes_every_version_of_a_shared_name(tmp_path, monkeypatch):
    path = Path(__file__).parents[2] / "scripts" / "check_reproduce_types.py"
    spec = importlib.util.spec_from_file_location("check_reproduce_types", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    (tmp_path / "trained/.dvc/cache").mkdir(parents=True)
    versions = [{"name": "Loans", "version": number} for number in (4, 3, 2, 1)]
    answers = {"list-models": [{"name": "Loans"}], "list-versions": versions}
    cloned = []

    def asked(folder, *command, uri=""):
        answer = answers.get(command[1], {"verdict": IDENTICAL})
        return SimpleNamespace(returncode=0, stdout=json.dumps(answer), stderr="")

    monkeypatch.setattr(script, "asked", asked)
    monkeypatch.setattr(script, "clone", lambda _, folder: cloned.append(folder.name) or folder)
    monkeypatch.setattr(script, "MANAGE", ("python",))
    found = script.trained(tmp_path / "trained", "credit_risk")
    assert [script.reproduced(tmp_path, one)[0] for one in found] == [IDENTICAL] * 4
    assert cloned == ["Loans-4", "Loans-3", "Loans-2", "Loans-1"]
