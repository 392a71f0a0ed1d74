"""All four types on a real cluster of two workers: the same models as on this machine's cores.

Executors, workers and the master are lost meanwhile.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.engines.cluster import wait_for
from tests.engines.prepared import Prepared, prepare

from lockstep.engines import boosters, forest, linear
from lockstep.engines.executors import executors
from lockstep.engines.fitting import fit_on_spark
from lockstep.engines.session import spark_session
from lockstep.errors import ConfigError
from lockstep.models.artifact import model_digest
from lockstep.models.training import pipeline_of

pytestmark = pytest.mark.long

SETTINGS: dict[str, dict[str, Any]] = {
    "logistic_regression": {},
    "random_forest": {"n_estimators": 4, "max_depth": 5},
    "xgboost": {"n_estimators": 8},
    "lightgbm": {"n_estimators": 8},
}

SOON = 60
"""Seconds within which a fit ends that can't go on; a busy machine's."""
TREES = {"xgboost": 400, "lightgbm": 8000}
"""Enough for a fit of a second or more, in which something can happen."""
QUICK, BOOSTER, *LONG = "logistic_regression", "xgboost", "random_forest", "lightgbm"
"""The types that the suite fits on a cluster, and those that `make soak-spark` adds."""
TYPES = [QUICK, BOOSTER, *(pytest.param(name, marks=pytest.mark.soak) for name in LONG)]


@dataclass(frozen=True)
class Here:
    """Prepared rows, and the digest of each type on two cores of this machine."""

    found: Prepared
    digests: dict[str, str]


def digest(spark: Any, found: Prepared, name: str, **params: Any) -> str:
    """Return the digest of a type that is fitted in this session."""
    settings = {**SETTINGS[name], **params}
    recipe = found.recipe(name, **settings)
    if name == "random_forest":
        recipe = type(recipe)(recipe.task, recipe.columns, settings, recipe.seed)
    fitted = fit_on_spark(spark, f"spark_{name}", recipe, found.rows, 3)
    return model_digest(pipeline_of(found.encoder, fitted.estimator))


@pytest.fixture(scope="module")
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Here:
    """Return prepared rows, and the digests of the types that the chosen tests fit."""
    own = [item for item in request.session.items if item.path == request.path]
    asked = {item.callspec.params["name"] for item in own if hasattr(item, "callspec")}
    with spark_session("local[2]", slots=2) as spark:
        found = prepare(spark, "accidents", tmp_path_factory.mktemp("prepared"))
        return Here(found, {n: digest(spark, found, n) for n in sorted({QUICK, BOOSTER} | asked)})


@pytest.fixture(scope="module")
def session(whole_cluster: Any, here: Here) -> Iterator[Any]:
    """Return one session for all tests, one after the other: what they lose is replaced."""
    with spark_session(whole_cluster.url, slots=2) as spark:
        yield spark


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_the_same_digest_on_a_cluster_and_on_two_cores(
    whole_cluster: Any, session: Any, here: Here, name: str
) -> None:
    assert session.sparkContext.master == whole_cluster.url
    assert digest(session, here.found, name) == here.digests[name]


# ---- an executor, a worker or the master is lost while the tasks of a fit run --------------------

TASKS = {
    "logistic_regression": (linear, "_answer"),
    "random_forest": (forest, "_read"),
    "xgboost": (boosters, "_fit"),
    "lightgbm": (boosters, "_fit"),
}
"""What runs in the tasks of a fit."""


def two_executors(spark: Any) -> None:
    wait_for(lambda: len(executors(spark)) == 2, "the registration of two executors")


def held(original: Callable[..., Any], notes: str) -> Callable[..., Any]:
    """Let tasks wait for their release, before they do their work."""

    def work(*words: Any) -> Any:
        Path(f"{notes}/started {os.getpid()}").touch()
        while not Path(f"{notes}/released").exists():
            time.sleep(0.05)
        return original(*words)

    return work


@contextmanager
def amid_a_fit(
    name: str, notes: Path, event: Callable[[], Any], hold: bool = True
) -> Iterator[None]:
    """Do something to the cluster as soon as both tasks of the fit in the block have begun.

    They wait for it before they do their work, unless ``hold`` is false.
    """
    if not hold:
        (notes / "released").touch()

    def act() -> None:
        wait_for(lambda: len(list(notes.glob("started *"))) >= 2, "the tasks")
        event()
        (notes / "released").touch()

    thread = threading.Thread(target=act)
    module, task = TASKS[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, task, held(getattr(module, task), str(notes)))
        thread.start()
        try:
            yield
        finally:
            thread.join()


@pytest.mark.parametrize("name", [BOOSTER, pytest.param("lightgbm", marks=pytest.mark.soak)])
def test_an_executor_killed_amid_a_fit_costs_a_second_fit_with_the_same_digest(
    whole_cluster: Any, session: Any, here: Here, tmp_path: Path, name: str
) -> None:
    """Both tasks are amid their work, and talk to each other."""
    two_executors(session)
    before = {one.place for one in executors(session)}
    undisturbed = digest(session, here.found, name, n_estimators=TREES[name])

    def kill() -> None:
        for process in psutil.Process(whole_cluster.workers[0].pid).children():
            process.kill()

    with amid_a_fit(name, tmp_path, kill, hold=False):
        disturbed = digest(session, here.found, name, n_estimators=TREES[name])
    assert before - {one.place for one in executors(session)}, "no executor was lost"
    assert disturbed == undisturbed


@pytest.mark.parametrize(
    "name", [QUICK, *(pytest.param(name, marks=pytest.mark.soak) for name in (BOOSTER, *LONG))]
)
def test_a_worker_is_lost_amid_a_fit_and_another_one_comes(
    cluster: Any, session: Any, here: Here, tmp_path: Path, name: str
) -> None:
    two_executors(session)
    before = {one.place for one in executors(session)}

    def replace() -> None:
        cluster.stop_worker()
        cluster.add_worker()

    with amid_a_fit(name, tmp_path, replace):
        assert digest(session, here.found, name) == here.digests[name]
    assert before - {one.place for one in executors(session)}, "no executor was lost"


def test_a_worker_is_lost_amid_the_fit_of_a_booster_and_there_is_no_other(
    cluster: Any, session: Any, here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_executors(session)
    monkeypatch.setenv("LOCKSTEP_SPARK_WAIT", "1")
    lost: list[float] = []

    def lose() -> None:
        cluster.stop_worker()
        lost.append(time.monotonic())

    fault = "^2 tasks must run at once, and spark://.* gave cores for 1: .* add workers, "
    with amid_a_fit("xgboost", tmp_path, lose), pytest.raises(ConfigError, match=fault):
        digest(session, here.found, "xgboost")
    assert time.monotonic() - lost[0] < SOON


@pytest.mark.soak
def test_the_master_is_lost_amid_a_fit_and_fits_go_on(
    cluster: Any, session: Any, here: Here, tmp_path: Path
) -> None:
    two_executors(session)
    with amid_a_fit("xgboost", tmp_path, cluster.stop_master):
        assert digest(session, here.found, "xgboost") == here.digests["xgboost"]
    assert cluster.master.poll() is not None
    assert digest(session, here.found, "logistic_regression") == here.digests["logistic_regression"]
