"""Publish the workspace's models through MLflow.

What is missing is published from the outputs alone, and the runs of a problem are tied to one
parent run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from lockstep.config.settings import Settings, load_settings
from lockstep.console import warn
from lockstep.dvc.lineage import is_settled, lock_time
from lockstep.errors import ConfigError, RegistryError
from lockstep.registry.publishing.destinations import registers
from lockstep.registry.publishing.experiments import experiment_of
from lockstep.registry.publishing.known import (
    PARENT_KEY,
    Published,
    Trained,
    known_versions,
    own_models,
    parent_key,
)
from lockstep.registry.publishing.outputs import Outputs, read_outputs
from lockstep.registry.publishing.publish import publish
from lockstep.registry.publishing.registration import Decide
from lockstep.registry.store.connection import Client, one_line, raise_interrupt, store_errors
from lockstep.registry.store.names import PARENT_TAG, PROBLEM_TAG
from lockstep.registry.store.opening import connect, source_of
from lockstep.registry.store.queries import active_run, find_run

_LOOK_SECONDS = 0.1
_WRITTEN_NS = 300_000_000
"""How long dvc.lock must have stayed as it is to be read while DVC runs, in ns."""


def register_trained(settings: Settings, root: Path, trained: Trained) -> list[Published]:
    """Publish what the registry lacks of a problem's models; print a line a model."""
    try:
        return _register_problem(connect(settings, root), settings, trained)
    except store_errors() as error:
        raise_interrupt(error)
        fix = "then run the command again, which goes on from here"
        raise RegistryError(f"the tracking store failed: {one_line(error)}; {fix}") from error


def publish_settled(
    root: Path, problem: str, model_types: Iterable[str], ended: Callable[[float], bool]
) -> None:
    """Publish each training once DVC has committed its outputs, until DVC has ended.

    Those that are committed already are left to ``register_models``. ``ended`` waits for DVC's end,
    for so many seconds at most. A store that fails costs a warning.
    """
    settings, seen = load_settings(root), 0
    waiting = [name for name in model_types if not is_settled(root, problem, name)]
    while waiting and settings.publish and not ended(_LOOK_SECONDS):
        # DVC writes dvc.lock when a stage has ended, and not in one piece.
        written = lock_time(root)
        if written == seen or time.time_ns() - written < _WRITTEN_NS:
            continue
        seen = written
        for name in tuple(waiting):
            if (outputs := _settled_outputs(root, problem, name, written)) is not None:
                publish_or_warn(settings, outputs)
                waiting.remove(name)


def _settled_outputs(root: Path, problem: str, model_type: str, written: int) -> Outputs | None:
    """Return a training's outputs with their lineage; None while DVC makes or records them."""
    try:
        if not is_settled(root, problem, model_type):
            return None
        outputs = read_outputs(root, problem, model_type)
        _ = outputs.changed_inputs  # all that is read of dvc.lock
    except ConfigError:  # dvc.lock is being written
        return None
    return outputs if lock_time(root) == written else None


def publish_or_warn(settings: Settings, outputs: Outputs) -> Published | None:
    """Publish one training; if the store fails, warn and return None."""
    try:
        client = connect(settings, outputs.root)
        known = known_versions(source_of(client), settings, [outputs])
        published = publish(client, settings, outputs, known, _decide(settings))
    except store_errors(RegistryError, OSError) as error:
        raise_interrupt(error)
        kept = f"{outputs.problem} {outputs.type} is trained and kept, but not in the registry"
        warn(f"WARNING {kept}: {one_line(error)}; the next `dvc repro` registers it")
        return None
    print(published.line, file=sys.stderr)
    return published


def _decide(settings: Settings) -> Decide | None:
    if settings.registration_policy == "always":
        return None
    # Promotion is a room above this one: only the two stages that register may open it.
    from lockstep.promotion.if_better import judged

    return partial(judged, configured=settings.registration_metric)


def _register_problem(client: Client, settings: Settings, trained: Trained) -> list[Published]:
    """Publish a problem's models, and give those that were trained together a parent run."""
    outputs = trained.outputs
    known = known_versions(source_of(client), settings, outputs)
    done = []
    for one in outputs:
        done.append(publish(client, settings, one, known, _decide(settings)))
        print(done[-1].line, flush=True)
    own = own_models(done, known)
    if registers(settings) and own and (trained.whole or _lacks_parent(client, trained, own)):
        children = [one.run_id for one in own]
        metric = trained.section.compare.metric if trained.whole else ""
        tie_to_parent(client, settings, outputs, children, metric)
    return done


def _lacks_parent(client: Client, trained: Trained, own: Sequence[Published]) -> bool:
    """Return whether a run has no parent: some types that were trained together get one."""
    return trained.asked_for and any(_without_parent(client, [one.run_id for one in own]))


def _without_parent(client: Client, run_ids: Iterable[str]) -> Iterator[str]:
    """Yield the runs that have no parent and are not deleted."""
    for run_id in run_ids:
        run = active_run(client, run_id)
        if run and PARENT_TAG not in run.data.tags:
            yield run_id


def tie_to_parent(
    client: Client,
    settings: Settings,
    outputs: Sequence[Outputs],
    children: Sequence[str],
    metric: str,
) -> None:
    """Put the runs of just these models below a parent run, which is made if it is missing.

    Its key is the set of model digests. It holds the comparison by ``metric``; empty for some of a
    problem's types, which the compare stage does not compare alone.
    """
    root, problem = outputs[0].root, outputs[0].problem
    experiment = experiment_of(client, settings, root, problem)
    key = parent_key(outputs)
    parent = find_run(client, experiment, {PARENT_KEY: key})
    from lockstep.registry.publishing.parent_runs import log_parent, tie

    if parent is not None:  # a model that was registered anew has a new run
        tie(client, _without_parent(client, children), parent.run_id)
        return
    tags = {PARENT_KEY: key, PROBLEM_TAG: problem, "mlflow.source.name": "register"}
    log_parent(client, settings, experiment, outputs, tags, children, metric)
