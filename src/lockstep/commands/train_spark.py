"""Train model types of a problem on Spark through DVC: the work of src/models/train_spark.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from lockstep.commands.train_models import check_registration, check_trainings
from lockstep.config.layout import SPARK, ProblemLayout, engine_of
from lockstep.config.params import Params, load_params, read_params_text, training_key
from lockstep.config.params_file import KeyPath, parsed, with_values
from lockstep.dvc import repro as dvc
from lockstep.dvc.graph import SPARK_FOLDER
from lockstep.dvc.lineage import stage_target
from lockstep.errors import ConfigError, UsageError, unknown
from lockstep.io import write_text
from lockstep.models import compare_models
from lockstep.models.type_metrics import type_metrics_file
from lockstep.models.types import model_type, type_names
from lockstep.models.types._spark import OnSpark
from lockstep.problems.schema import load_schema

PARTITIONS = 2
"""The parts of the training rows where params.yaml does not say."""


def train_on_spark(root: Path, problem: str, wanted: Sequence[str]) -> str:
    """Update a problem's models of Spark and their versions; return the comparison as a text."""
    resolve_name("lockstep.engines.session:check_start")()  # refuses before anything is written
    check_registration(root)
    types, values = declared(root, problem, wanted)
    text = with_values(read_params_text(root), values)
    params = parsed(text)
    check_trainings(params, problem, types)
    _check_room(params, problem, types)
    if values:
        write_text(root / "params.yaml", text)
        print(f"params.yaml: wrote {', '.join('.'.join(path) for path in values)}")
    dvc.repro(root, *(stage_target(problem, name) for name in types))
    dvc.module(root, "lockstep.registry.register_models", "--problem", problem, "--models", *types)
    return _compared(root, params, problem, types)


def _check_room(params: Params, problem: str, types: Sequence[str]) -> None:
    """Raise ConfigError if a training needs more tasks at once than the master runs.

    Otherwise it is said when the rows are prepared already.
    """
    slots_of = resolve_name("lockstep.engines.slots:slots_of")
    partitions = params.prepare_spark[problem].partitions
    slots = max(slots_of(name, partitions) for name in types)
    resolve_name("lockstep.engines.session:check_room")(slots)


def spark_name(name: str) -> str:
    """Return a model type's name on Spark; UsageError for a type that Spark does not train."""
    full = f"{SPARK}_{engine_of(name)[1]}"
    if full not in type_names():
        raise UsageError(unknown("model type on Spark", engine_of(name)[1], _on_spark()))
    return full


def _on_spark() -> list[str]:
    return [engine_of(name)[1] for name in type_names() if engine_of(name)[0]]


def declared(
    root: Path, problem: str, wanted: Sequence[str]
) -> tuple[list[str], dict[KeyPath, Any]]:
    """Return the types to train, and what params.yaml lacks of their trainings on Spark.

    They begin as the trainings of one machine: the same hyperparameters, where Spark has them.
    """
    params = load_params(root)
    types = _types(params, problem, wanted)
    values: dict[KeyPath, Any] = {
        ("train_spark", training_key(problem, name)): _first_training(params, problem, name)
        for name in types
        if training_key(problem, name) not in params.train_spark
    }
    if problem not in params.prepare_spark:
        values["prepare_spark", problem] = {"partitions": PARTITIONS}
    return types, values


def _types(params: Params, problem: str, wanted: Sequence[str]) -> list[str]:
    """Return the types to train: the wanted, the declared, or all that Spark knows."""
    names = list(dict.fromkeys(map(spark_name, wanted))) or params.spark_types(problem)
    local = params.problem(problem).model_types
    names = names or [spark_name(name) for name in local if name in _on_spark()]
    if types := _without_monotone_forest(problem, names, bool(wanted)):
        return types
    raise ConfigError(f"no model type of {problem} is trained on Spark; known: {_on_spark()}")


def _without_monotone_forest(problem: str, names: list[str], asked: bool) -> list[str]:
    """Leave out a forest where a column is monotone; UsageError for one that was asked for."""
    monotone = [column.name for column in load_schema(problem).features if column.monotone]
    forest = f"{SPARK}_random_forest"
    if not monotone or forest not in names:
        return names
    fault = f"on Spark it knows no monotone columns ({monotone[0]})"
    if asked:
        fix = "train it by `python src/models/train_sklearn.py`"
        raise UsageError(f"random_forest can't be trained: {fault}; {fix}")
    print(f"random_forest is left out: {fault}")
    return [name for name in names if name != forest]


def _first_training(params: Params, problem: str, name: str) -> dict[str, Any]:
    own = engine_of(name)[1]
    kind, local = model_type(name), params.train.get(training_key(problem, own))
    if local is None or not isinstance(kind, OnSpark):
        raise ConfigError(
            f"params.yaml has no train.{training_key(problem, own)} to begin with; write "
            f"train_spark.{training_key(problem, own)} yourself"
        )
    content = local.model_dump(exclude_defaults=True, exclude={"cv_folds", "params"})
    return {**content, "problem": problem, "type": own, "params": kind.first_params(local.params)}


def _compared(root: Path, params: Params, problem: str, types: Sequence[str]) -> str:
    """Compare the models of both engines where both are trained, else those of Spark."""
    layout = ProblemLayout(root, problem)
    here, there = params.problem(problem).model_types, params.spark_types(problem)
    # A fresh clone has metrics of models that nobody trained there.
    trained = [t for t in [*here, *there] if _is_trained(layout, t)]
    if trained == [*here, *there]:
        stage = f"{SPARK_FOLDER}/dvc.yaml:compare_engines@{problem}"
        dvc.repro(root, "--single-item", stage)
        table = ProblemLayout(root, problem, SPARK).comparison
        return f"Both engines on the same rows: {table.relative_to(root)}"
    return compare_models.compare(root, problem, [t for t in trained if t in types])[2]


def _is_trained(layout: ProblemLayout, name: str) -> bool:
    return type_metrics_file(layout, name).is_file() and layout.scores(name).is_file()
