"""Register the trained models of a workspace.

A local registry that lacks nothing is only read, by its tables and files: MLflow, whose import
takes longer than that, is opened where something is to be published or the registry is elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lockstep.config.layout import ProblemLayout, engine_of
from lockstep.config.params import Params, Training, load_params
from lockstep.config.settings import Settings, load_settings
from lockstep.dvc.lineage import is_current, stage_target
from lockstep.registry.publishing.known import Published, Trained, all_registered
from lockstep.registry.publishing.outputs import Outputs, read_outputs
from lockstep.registry.store.opening import existing_tables, paused_collector


def register_models(
    root: Path, problem: str | None = None, models: Sequence[str] | None = None
) -> list[Published]:
    """Publish what the registry lacks of the declared or named trainings; print a line a model."""
    settings = load_settings(root)
    if not settings.publish:
        print(f"publishing is off ({settings.source_of('publish')}): nothing is registered")
        return []
    params = load_params(root)
    done: list[Published] = []
    for name, trainings in _by_problem(params, problem, models).items():
        outputs = [found for one in trainings if (found := _outputs(root, one))]
        if outputs:
            asked_for = 1 < len(outputs) == len(trainings)
            done += _register(settings, root, Trained(outputs, params.problem(name), asked_for))
    return done


def _register(settings: Settings, root: Path, trained: Trained) -> list[Published]:
    tables = existing_tables(settings, root)
    found = all_registered(tables, settings, trained) if tables else None
    if found is not None:
        print(*(one.line for one in found), sep="\n", flush=True)
        return found
    with paused_collector():
        from lockstep.registry.publish_models import register_trained
    return register_trained(settings, root, trained)


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


def _outputs(root: Path, training: Training) -> Outputs | None:
    if not ProblemLayout(root, training.problem).model_card(training.type).is_file():
        print(f"{training.problem} {training.type}: not trained yet")
        return None
    # `dvc repro`, which leaves Spark's stages alone, did not bring these up to date.
    if engine_of(training.type)[0] and not is_current(root, training.problem, training.type):
        print(
            f"{training.problem} {training.type} was trained with other parameters, data or code; "
            f"run `dvc repro {stage_target(training.problem, training.type)}`"
        )
        return None
    return read_outputs(root, training.problem, training.type)
