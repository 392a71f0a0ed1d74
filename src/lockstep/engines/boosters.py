"""xgboost and lightgbm on Spark: the type's own fit in tasks that run together and share sums.

Each task fits on its partition of the training rows. The libraries add up histograms over the
network of tasks, so every task ends with the same trees. One task alone is the fit of one machine.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, cast

from pyspark.sql import SparkSession

from lockstep.config.layout import engine_of
from lockstep.console import warn
from lockstep.engines.capacity import check_slots
from lockstep.engines.executors import executors
from lockstep.engines.faults import EngineError
from lockstep.engines.partitions import TrainingRows, class_weights
from lockstep.engines.tasks import Member, run_together
from lockstep.models.model_type import Fitted, ModelType, Recipe
from lockstep.models.training import silent
from lockstep.models.types import model_type
from lockstep.models.types._spark import BoosterOnSpark

T = TypeVar("T")
MOST_LOSSES = 2
NOTICED_SECONDS = 5.0
"""How long a lost executor may still be listed after its task has failed."""
NETWORK_MINUTES = 1
"""How long lightgbm's tasks wait for each other."""


def fit_booster(
    spark: SparkSession, name: str, recipe: Recipe, rows: TrainingRows, rounds: int
) -> Fitted:
    """Fit a type in one task a partition; see ``ModelType.fit``."""
    one_thread, network = replace(recipe, n_jobs=1), model_type(name).network
    work = partial(_fit, _kind_of(name, recipe, rows), network, one_thread, rows, rounds)
    return next(filter(None, _together_again(spark, work, len(rows.partitions))))


def _kind_of(name: str, recipe: Recipe, rows: TrainingRows) -> ModelType:
    """Return the type that fits a partition, which may lack a class if there are several."""
    if recipe.task == "regression" or len(rows.partitions) == 1:
        return model_type(engine_of(name)[1])
    weights = class_weights(recipe.params.get("class_weight"), rows.target).tolist()
    return cast("BoosterOnSpark", model_type(name)).of_classes(weights)


def _together_again(spark: SparkSession, work: Callable[[Member], T], members: int) -> list[T]:
    """Run tasks together, anew if an executor is lost on the way: the same trees come out.

    Tasks that share sums can't go on without one of them. Two losses are borne.
    """
    for _ in range(MOST_LOSSES):
        before = {executor.place for executor in executors(spark)}
        try:
            return run_together(spark, work, members)
        except EngineError as error:
            if not _has_lost(spark, before):
                raise
            warn(f"WARNING an executor was lost; the fit begins anew ({error})")
        check_slots(spark, members)
    return run_together(spark, work, members)


def _has_lost(spark: SparkSession, before: set[str]) -> bool:
    """Tell whether executors are gone; Spark may notice it a little after its tasks failed."""
    deadline = time.monotonic() + NOTICED_SECONDS
    while before and time.monotonic() < deadline:
        if before - {executor.place for executor in executors(spark)}:
            return True
        time.sleep(0.1)
    return False


def _fit(
    kind: ModelType, network: str, recipe: Recipe, rows: TrainingRows, rounds: int, member: Member
) -> Fitted | None:
    """Fit on one partition, in touch with the other tasks; the first one returns the model."""
    train, stop = rows.read_partition(member.rank), rows.read_stop()
    connected = NETWORKS[network](member) if len(member.hosts) > 1 else nullcontext({})
    with connected as more:
        own = replace(recipe, params={**recipe.params, **more})
        fitted = kind.fit(own, train, stop, rounds, silent)
    if member.rank:
        return None
    if more:
        _forget(fitted.estimator, more)
    return fitted


@contextmanager
def _collective(member: Member) -> Iterator[dict[str, Any]]:
    """Connect xgboost's tasks while the block runs; the first one tells each its place."""
    from xgboost.collective import CommunicatorContext
    from xgboost.tracker import RabitTracker

    tracker = None
    if member.rank == 0:
        tracker = RabitTracker(len(member.hosts), host_ip=member.hosts[0], sortby="task")
        tracker.start()
    told = member.tell_all(json.dumps(tracker.worker_args() if tracker else {}))
    with CommunicatorContext(**json.loads(told[0]), dmlc_task_id=f"{member.rank:06d}"):
        yield {}
    if tracker:
        tracker.wait_for()


@contextmanager
def _sockets(member: Member) -> Iterator[dict[str, Any]]:
    """Yield the hyperparameters by which lightgbm's tasks find each other."""
    port = _free_port()
    ports = member.tell_all(str(port))
    places = [f"{host}:{place}" for host, place in zip(member.hosts, ports, strict=True)]
    yield {
        "machines": ",".join(places),
        "local_listen_port": port,
        "num_machines": len(places),
        "time_out": NETWORK_MINUTES,
        "tree_learner": "data",
        "pre_partition": True,
    }


NETWORKS: dict[str, Callable[[Member], AbstractContextManager[dict[str, Any]]]] = {
    "collective": _collective,
    "sockets": _sockets,
}
"""How tasks that fit together are connected, by ``ModelType.network``."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _forget(estimator: Any, network: dict[str, Any]) -> None:
    """Remove from an estimator and its trees' text where the tasks happened to run."""
    for name in network:
        estimator._other_params.pop(name, None)
        estimator.__dict__.pop(name, None)
    trees = estimator.booster_
    text = re.sub(r"\[(machines|local_listen_port): [^\]]*\]\n", "", trees.model_to_string())
    estimator._Booster = type(trees)(model_str=text)
