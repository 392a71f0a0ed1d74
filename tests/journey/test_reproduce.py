"""Any version is made again in a clean copy of its commit, and compared.

Nothing of the project is touched by it.
"""

import json
import signal
import sqlite3
from contextlib import closing

import pytest
from tests.journey.faults import MANAGE, bare, fault, stopped

pytestmark = pytest.mark.timeout(600)
NAME = "Accident_Prediction_LightGBM"
LINEAR = "Accident_Prediction_Logistic_Regression"
REPRODUCE = f"{MANAGE} reproduce --model-name {NAME}"
LIGHTGBM = "train_multi_model@accidents-lightgbm"
NOTE = "src/lockstep/models/naming.py"


def state(project):
    """Return what reproduce must not touch: git's view, the lock, the cache, the registry."""
    kept = [project.folder / name for name in ("dvc.lock", "mlflow.db", "params.yaml")]
    cached = sorted(str(path) for path in (project.folder / ".dvc" / "cache").rglob("*"))
    git = project.run("git status --porcelain; git worktree list; git branch -a; cat .git/config")
    return [path.read_bytes() for path in kept if path.exists()], cached, git


def reproduced(project, version, temporary, code=0, name=NAME, **env):
    """Reproduce a version; return the answer, and check that nothing is left of the copy."""
    temporary.mkdir(exist_ok=True)
    command = f"{MANAGE} reproduce --model-name {name} --version {version} --json 2>/dev/null"
    told = json.loads(project.run(command, code=code, TMPDIR=str(temporary), **env))
    assert list(temporary.iterdir()) == []
    return told


def tag(project, key, value):
    """Write a tag of version 2 into the store itself: importing MLflow for it takes seconds."""
    where = (value, NAME, 2, f"lockstep.{key}")
    with closing(sqlite3.connect(project.folder / "mlflow.db")) as store, store:
        update = (
            "UPDATE model_version_tags SET value = ? WHERE name = ? AND version = ? AND key = ?"
        )
        assert store.execute(update, where).rowcount == 1


@pytest.mark.long
def test_a_fresh_clone_with_an_empty_cache_makes_the_same_bits_on_another_machine(
    trained, tmp_path
):
    """Of the type whose arithmetic is the BLAS kernel's.

    LightGBM's is below; `make check-reproduce-types` has all four.
    """
    colleague = bare(trained, tmp_path / "colleague")
    registry = f"sqlite:///{trained.folder}/mlflow.db"
    before = state(trained), state(colleague)
    machine = {
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "1",
        "TZ": "Asia/Tokyo",
        "LANG": "C",
    }
    told = reproduced(
        colleague, 1, tmp_path / "tmp", name=LINEAR, MLFLOW_TRACKING_URI=registry, **machine
    )
    assert told["verdict"] == "bit-identical"
    assert told["model_digest"]["rebuilt"] == told["model_digest"]["recorded"]
    assert told["differences"] == told["inputs_that_differ"] == told["changed_files"] == []
    assert (state(trained), state(colleague)) == before
    assert not (colleague.folder / ".dvc" / "cache").exists()


@pytest.mark.long
def test_uncommitted_changes_are_kept_or_missed(own, tmp_path):
    own.edit(
        "params.yaml",
        r"num_leaves: 15, min_child_samples: 30",
        "num_leaves: 7, min_child_samples: 30",
    )
    with (own.folder / NOTE).open("a") as file:
        file.write("CHANGED = 'and not committed'\n")
    own.run(f"dvc repro -q {LIGHTGBM}")
    told = reproduced(own, 2, tmp_path / "tmp")
    assert told["verdict"] == "bit-identical"
    assert {"params.yaml", NOTE} <= set(told["changed_files"])
    assert told["inputs_that_differ"] == []

    # What the run kept is code that would be run: nothing but what the version vouches for is.
    kept = next((own.folder / "mlruns").rglob(f"lineage/inputs/{NOTE}"))
    kept.write_text("raise SystemExit('run from the registry')\n")
    refused = own.run(f"{REPRODUCE} --version 2", code=1, TMPDIR=str(tmp_path / "tmp"))
    assert f"{NOTE}, and its run's copy of it is missing or altered" in fault(refused)

    # From the commit alone it is another model, and the answer says in what.
    tag(own, "dirty", "false")
    told = reproduced(own, 2, tmp_path / "tmp", code=1)
    assert told["verdict"] == "different"
    assert told["inputs_that_differ"] == [NOTE, "params.yaml:train.accidents-lightgbm"]
    assert (
        told["first_difference"]
        == "train_multi_model: its parameter train.accidents-lightgbm is another"
    )
    assert [d["kind"] for d in told["differences"]] == ["parameter", "code"]
    rows = told["predictions"]
    assert set(rows) == {"golden rows", "test rows"}
    assert all(found["largest"] > 1e-3 and not found["equal"] for found in rows.values())

    tag(own, "dirty", "true")
    own.run("git commit -qam 'now it is committed'")
    head = own.run("git rev-parse HEAD").strip()
    register = "python -m lockstep.registry.register_models --problem accidents --models lightgbm"
    assert f"{NAME} version 2 is committed as {head}" in own.run(register)


@pytest.mark.long
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way_it_leaves_nothing(trained, tmp_path, sign):
    temporary, log = tmp_path / "tmp", tmp_path / "log"
    temporary.mkdir()
    before = state(trained)

    def begun():
        return any(temporary.glob("lockstep-reproduce-*/tree/data/accidents/.raw.*"))

    code, output = stopped(
        trained, f"{REPRODUCE} --version 1", log, begun, sign, TMPDIR=str(temporary)
    )
    assert code == 1
    assert fault(output)
    assert list(temporary.iterdir()) == []
    assert state(trained) == before


def test_a_commit_that_is_not_here_is_one_line(trained, tmp_path):
    shallow = tmp_path / "shallow"
    trained.run(f"git clone -q --depth 1 'file://{trained.folder}' '{shallow}'")
    (shallow / ".venv").symlink_to(trained.folder / ".venv")
    registry = f"sqlite:///{trained.folder}/mlflow.db"
    other = type(trained)(shallow, trained.home)
    output = other.run(
        f"{REPRODUCE} --version 1", code=1, MLFLOW_TRACKING_URI=registry, TMPDIR=str(tmp_path)
    )
    assert "`git fetch --unshallow` may bring it" in fault(output)
    assert list(tmp_path.glob("lockstep-*")) == []
