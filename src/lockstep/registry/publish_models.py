"""Publish the workspace's models: every one has its version, also one from DVC's cache.

What is missing is published from the outputs alone, and the runs of a problem are tied to one
parent run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from lockstep.config.layout import ProblemLayout, engine_of
from lockstep.config.params import Params, Problem, Training, load_params
from lockstep.config.settings import Settings, load_settings
from lockstep.console import warn
from lockstep.dvc.lineage import is_current, is_settled, lock_time, stage_target
from lockstep.errors import ConfigError, RegistryError
from lockstep.io import sha256_json
from lockstep.registry.publishing.destinations import registers
from lockstep.registry.publishing.experiments import experiment_of
from lockstep.registry.publishing.outputs import Outputs, read_outputs
from lockstep.registry.publishing.publish import known_versions, publish
from lockstep.registry.publishing.registration import Decide, Published
from lockstep.registry.store.connection import Client, StoreError, one_line, raise_interrupt
from lockstep.registry.store.names import PARENT_TAG, PROBLEM_TAG, RETRAIN_TAG
from lockstep.registry.store.opening import connect
from lockstep.registry.store.queries import find_run

PARENT_KEY = "lockstep.parent_of"
_LOOK_SECONDS = 0.1
_WRITTEN_NS = 300_000_000
"""How long dvc.lock must have stayed as it is to be read while DVC runs, in ns."""


def register_models(
    root: Path, problem: str | None = None, models: Sequence[str] | None = None
) -> list[Published]:
    """Publish what the registry lacks of the declared or named trainings; print a line a model."""
    settings = load_settings(root)
    if not settings.publish:
        print(f"publishing is off ({settings.source_of('publish')}): nothing is registered")
        return []
    params = load_params(root)
    client = connect(settings, root)
    done: list[Published] = []
    try:
        for name, trainings in _by_problem(params, problem, models).items():
            outputs = [found for t in trainings if (found := _outputs(root, t))]
            asked_for = 1 < len(outputs) == len(trainings)
            section = params.problem(name)
            done += _register_problem(client, settings, outputs, section, asked_for)
    except StoreError as error:
        raise_interrupt(error)
        fix = "then run the command again, which goes on from here"
        raise RegistryError(f"the tracking store failed: {one_line(error)}; {fix}") from error
    return done


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
        known = known_versions(client, settings, [outputs])
        published = publish(client, settings, outputs, known, _decide(settings))
    except (RegistryError, *StoreError, OSError) as error:
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


def _by_problem(
    params: Params, problem: str | None, models: Sequence[str] | None
) -> dict[str, list[Training]]:
    """Return the declared trainings by problem; UsageError for an unknown problem or type."""
    names = [problem] if problem else list(params.problems)
    chosen: dict[str, list[Training]] = {}
    for name in names:
        types = [*params.problem(name).model_types, *params.spark_types(name)]
        if models:
            types = list(models) if problem else [m for m in models if m in types]
        chosen[name] = [params.training(name, kind) for kind in types]
    if models and not any(chosen.values()):
        params.training(names[0], models[0])
    return chosen


def _register_problem(
    client: Client, settings: Settings, outputs: list[Outputs], section: Problem, asked_for: bool
) -> list[Published]:
    """Publish a problem's models, and give those that were trained together a parent run."""
    if not outputs:
        return []
    known = known_versions(client, settings, outputs)
    done = []
    for one in outputs:
        done.append(publish(client, settings, one, known, _decide(settings)))
        print(done[-1].line, flush=True)
    whole = {one.type for one in outputs} == set(section.model_types)
    # Runs of a retrain stay below the retrain's own.
    retrained = {key for key, version in known.items() if RETRAIN_TAG in version.tags}
    own = [one for one in done if one.new or (one.name, one.digest) not in retrained]
    if registers(settings) and own and (whole or (asked_for and _lacks_parent(client, own))):
        children = [one.run_id for one in own]
        tie_to_parent(client, settings, outputs, children, section.compare.metric if whole else "")
    return done


def _lacks_parent(client: Client, published: list[Published]) -> bool:
    """Return whether a model's run has no parent: some types trained together get one."""
    return any(PARENT_TAG not in client.get_run(one.run_id).data.tags for one in published)


def _outputs(root: Path, training: Training) -> Outputs | None:
    if not ProblemLayout(root, training.problem).model_card(training.type).is_file():
        print(f"{training.problem} {training.type}: not trained yet")
        return None
    # `dvc repro`, which leaves Spark's stages alone, did not bring these up to date.
    if engine_of(training.type)[0] and not is_current(root, training.problem, training.type):
        print(
            f"{training.problem} {training.type} was trained with other parameters or data; run "
            f"`dvc repro {stage_target(training.problem, training.type)}`"
        )
        return None
    return read_outputs(root, training.problem, training.type)


def tie_to_parent(
    client: Client, settings: Settings, outputs: list[Outputs], children: list[str], metric: str
) -> None:
    """Make a parent run of just these models, if it is missing.

    Its key is the set of model digests. It holds the comparison by ``metric``; empty for some of a
    problem's types, which the compare stage does not compare alone.
    """
    root, problem = outputs[0].root, outputs[0].problem
    experiment = experiment_of(client, settings, root, problem)
    key = sha256_json(sorted(one.digest for one in outputs))
    if find_run(client, experiment, {PARENT_KEY: key}) is not None:
        return
    from lockstep.registry.publishing.parent_runs import log_parent

    tags = {PARENT_KEY: key, PROBLEM_TAG: problem, "mlflow.source.name": "register"}
    log_parent(client, settings, experiment, outputs, tags, children, metric)
