import hashlib
import subprocess
import sys
from copy import deepcopy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lockstep.audit.closures import differences, differing_inputs, graph_order
from lockstep.code.closure import code_text
from lockstep.dvc.graph import dvc_sum
from lockstep.dvc.lineage import differing_code

CLOSURE = {
    "training": {
        "cmd": "train",
        "deps": {"data/cars/features": "f1", "src/train.py": "t1"},
        "params": {"train.cars-a": {"depth": 3}},
    },
    "stages": {
        "features@cars": {
            "cmd": "build",
            "deps": {"data/cars/tidy": "y1", "src/build.py": "b1"},
            "params": {"split": 0.2},
            "outs": {"data/cars/features": "f1"},
        },
        "preprocess@cars": {
            "cmd": "prepare",
            "deps": {"data/external/cars": "x1", "src/prepare.py": "p1"},
            "params": {},
            "outs": {"data/cars/tidy": "y1"},
        },
    },
    "environment": {"python": "3.11.2", "requirements.lock": "r1"},
}


def changed(*path, to="other"):
    closure = deepcopy(CLOSURE)
    place = closure
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return closure


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (("training", "deps", "src/train.py"), "code"),
        (("training", "params", "train.cars-a"), "parameter"),
        (("training", "cmd"), "command"),
        (("stages", "preprocess@cars", "deps", "src/prepare.py"), "code"),
        (("stages", "preprocess@cars", "deps", "data/external/cars"), "data"),
        (("stages", "preprocess@cars", "outs", "data/cars/tidy"), "output"),
        (("stages", "features@cars", "params", "split"), "parameter"),
        (("environment", "python"), "environment"),
    ],
)
def test_one_change_is_one_difference_with_its_kind_and_place(path, kind):
    (found,) = differences(CLOSURE, changed(*path))
    assert (found.kind, found.name, found.rebuilt) == (kind, path[-1], "other")
    stage = {"stages": path[1], "training": "train_multi_model", "environment": ""}[path[0]]
    assert found.stage == stage
    assert differences(CLOSURE, CLOSURE) == []


def with_code(**parts):
    """The closure above as versions record it since stages depend on what their code means."""
    closure = deepcopy(CLOSURE)
    del closure["training"]["deps"]["src/train.py"]
    closure["training"]["code"] = {"src/train.py": "t1", "requirements.lock:numpy": "1.0", **parts}
    return closure


def test_code_differs_part_by_part():
    found = differences(with_code(), with_code(**{"requirements.lock:numpy": "2.0"}))
    assert [(d.kind, d.name, d.recorded, d.rebuilt) for d in found] == [
        ("code", "requirements.lock:numpy", "1.0", "2.0")
    ]
    assert [d.name for d in differences(with_code(), with_code(new="n1"))] == ["new"]


@pytest.mark.parametrize(
    ("written", "differing"),
    [
        ({"src/train.py": "t1", "requirements.lock:numpy": "1.0"}, []),
        ({"src/train.py": "t2", "requirements.lock:numpy": "1.0"}, ["src/train.py"]),
        ({"src/train.py": "t1"}, ["requirements.lock:numpy"]),
        (None, ["requirements.lock:numpy", "src/train.py"]),
    ],
)
def test_a_folder_is_compared_by_what_its_own_code_stage_wrote(tmp_path, written, differing):
    deps = '["code/train_multi_model@cars-a.json", data/cars/features]'
    (tmp_path / "dvc.yaml").write_text(
        "stages: {train_multi_model: {foreach: '${train}', do: {cmd: train, deps: DEPS}}}".replace(
            "DEPS", deps
        )
    )
    (tmp_path / "params.yaml").write_text("train: {cars-a: {depth: 3}}\n")
    (tmp_path / "code").mkdir()
    if written is not None:
        (tmp_path / "code/train_multi_model@cars-a.json").write_text(code_text(written))
    closure = with_code() | {"stages": {}}
    closure["training"]["deps"] = {}
    closure["training"]["params"] = {}
    found = [name for name in differing_inputs(tmp_path, closure) if name != "requirements.lock"]
    assert found == differing


def test_code_that_is_known_by_its_sum_alone_is_compared_by_it():
    text = code_text({"src/train.py": "t1"})
    path = "code/train_multi_model@cars-a.json"
    recorded = {path: hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}
    assert differing_code(recorded, text) == set()
    assert differing_code(recorded, code_text({"src/train.py": "t2"})) == {path}


def test_what_comes_first_in_the_graph_is_told_first():
    other = changed("stages", "features@cars", "outs", "data/cars/features")
    other["stages"]["preprocess@cars"]["outs"]["data/cars/tidy"] = "other"
    other["stages"]["features@cars"]["deps"]["data/cars/tidy"] = "other"
    assert [d.stage for d in differences(CLOSURE, other)] == ["preprocess@cars", "features@cars"]


@given(st.permutations(range(6)), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_every_stage_stands_after_those_it_reads(numbers, edges):
    # Edges from lower to higher places only: no circle.
    stages = {
        f"s{number}": {
            "deps": [f"o{numbers[b]}" for b, a in edges if b < a and numbers[a] == number],
            "outs": [f"o{number}"],
        }
        for number in numbers
    }
    order = graph_order(stages)
    assert sorted(order) == sorted(stages)
    for name, stage in stages.items():
        for dep in stage["deps"]:
            assert order.index(f"s{dep[1:]}") < order.index(name)


def test_sums_are_dvc_s(tmp_path):
    folder = tmp_path / "raw"
    for name in ("b.csv", "a b.csv", "a/x.csv", "a.csv", "Ä.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name}\n")
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "raw"], ["add", "-q", "raw.dvc.txt"]):
        (tmp_path / "raw.dvc.txt").write_text("alone\n")
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    for name in ("raw", "raw.dvc.txt"):
        told = yaml.safe_load((tmp_path / f"{name}.dvc").read_text())["outs"][0]["md5"]
        assert dvc_sum(tmp_path / name) == told
    (folder / ".gitignore").write_text("/x\n")
    assert dvc_sum(folder) == yaml.safe_load((tmp_path / "raw.dvc").read_text())["outs"][0]["md5"]
    assert dvc_sum(tmp_path / "absent") == ""
