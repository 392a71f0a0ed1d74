"""What is lost amid `train_spark`: no half of a model, nothing registered, and no scratch stays."""

import shutil
import signal

import pytest
from tests.engines.conftest import CONF
from tests.engines.workspace import FOREST, KILLED, PROBLEM, Workspace, workspace
from tests.journey.faults import mounted

from lockstep.engines import prepare_spark
from lockstep.engines.faults import EngineError, one_line_faults
from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.partitions import TrainingRows
from lockstep.engines.session import spark_session
from lockstep.engines.train_spark import read_job

pytestmark = pytest.mark.long

TYPE = "spark_random_forest"
FULL = "the disk is full where Spark works; free some space there, or name another folder by spark"


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Workspace:
    """Return a workspace that is prepared."""
    made = workspace(tmp_path_factory.mktemp("my workspace"))
    prepare_spark.run(made.root, PROBLEM)
    return made


def train(own, **settings):
    """Start the training of a forest, which writes scratch beside its rows."""
    return own.start("train_spark", "--type", "random_forest", **settings)


def stopped_amid_its_fit(own, number, *, java):
    """Start the training and send it or its Java a signal amid the fit."""
    before = set(own.files())
    grows = lambda: [*own.layout.data.glob(".forest.*.part")]  # noqa: E731
    ended = own.stopped(train(own), grows, number, java)
    written = {name for name in set(own.files()) - before if not name.startswith(".forest.")}
    assert written == set()
    assert {path.name for path in own.root.iterdir()} == {"data", "dvc.yaml", "params.yaml"} | (
        {"spark"} if (own.root / "spark").exists() else set()
    )
    return ended


def test_java_is_killed(own):
    code, said = stopped_amid_its_fit(own, signal.SIGKILL, java=True)
    assert (code, said.count("\n")) == (1, 1), said
    assert said.startswith("✗ Spark's Java ended: it printed no error; it may have been killed for")
    assert own.hidden() == []


@pytest.mark.soak
def test_what_a_kill_leaves_is_removed_by_the_next_training(own):
    assert stopped_amid_its_fit(own, signal.SIGKILL, java=False) == (KILLED, "")
    assert own.hidden()
    running = train(own, LOCKSTEP_PUBLISH="0")
    said = running.communicate(timeout=120)[0]
    assert running.returncode == 0, said
    assert own.layout.model(TYPE).is_file()
    assert own.layout.scores(TYPE).is_file()
    assert own.hidden() == []


@pytest.mark.soak
def test_the_disk_is_full_where_trees_are_written_or_shuffled(own, tmp_path, monkeypatch):
    rows = TrainingRows.of(own.layout)
    recipe = read_job(own.layout, TYPE, rows).recipe
    assert recipe.params["n_estimators"] == FOREST["n_estimators"]
    narrow, local = tmp_path / "narrow", tmp_path / "local"
    monkeypatch.setenv("LOCKSTEP_SPARK_CONF", f"{CONF} spark.local.dir={local}")
    with (
        mounted(narrow, "size=304k"),
        mounted(local, "size=8m"),
        spark_session("local[2]") as spark,
    ):

        def refused(place):
            with pytest.raises(EngineError, match=f"^{FULL}"), one_line_faults():
                fit_on_spark(spark, TYPE, recipe, place)

        shutil.copytree(own.layout.features, narrow / "features")
        refused(TrainingRows(narrow / "features" / "train", narrow / "features" / "stop"))
        assert {path.name for path in narrow.iterdir()} == {"features"}
        with pytest.raises(OSError, match="No space left"):
            (local / "filler").write_bytes(bytes(9 * 2**20))
        refused(rows)
    assert own.hidden() == []
