"""Stage train_multi_model: fit, calibrate, evaluate, write and log one model type of a problem."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import PARTS, ProblemLayout, engine_of, stage_root
from lockstep.config.params import load_params, training_key
from lockstep.console import number_text, warn
from lockstep.errors import ArtifactError, DataError, UsageError, run_command
from lockstep.io import sha256_file, whole_folder, write_csv, write_json, write_parquet
from lockstep.models import types
from lockstep.models.matrices import read_matrix
from lockstep.models.progress import ProgressLine
from lockstep.models.type_metrics import write_type_metrics
from lockstep.problems.schema import load_schema

if TYPE_CHECKING:
    from lockstep.models.training_run import Trained, TrainingInput

CODE_MODULES = ("lockstep.features.columns_v1", "lz4")
"""What joblib imports by name: of the encoder it reads, and for the model it writes."""
CODE_LEFT_OUT = ("lockstep.registry",)
"""Where and how a run is logged changes no result."""


def run(root: Path, problem: str, model_type: str) -> dict[str, float]:
    """Train one type from a workspace's files into its outputs; return each step's seconds."""
    from lockstep.models.training_run import metrics_of, train

    started = time.monotonic()
    layout = ProblemLayout(root, problem)
    job = read_job(layout, model_type)
    progress = ProgressLine(f"{problem} {model_type}")
    read = time.monotonic()
    trained = train(job, progress)
    fitted = time.monotonic()
    metrics = metrics_of(job, trained)
    write_outputs(layout, job, trained, metrics)
    progress.end(summary(metrics))
    if said := unstopped(job, trained):
        warn(f"{problem} {model_type}: {said}")
    written = time.monotonic()
    return {
        "read_seconds": read - started,
        "train_seconds": fitted - read,
        "write_seconds": written - fitted,
    }


def read_job(layout: ProblemLayout, model_type: str) -> TrainingInput:
    """Read everything one training is made from."""
    from lockstep.models.training_run import TrainingInput

    params = load_params(layout.root)
    types.model_type(model_type)  # before any matrix is read
    return TrainingInput(
        training=params.training(layout.problem, model_type),
        decision=params.problem(layout.problem).decision,
        schema=load_schema(layout.problem),
        encoder=read_encoder(layout.encoder),
        parts={part: read_matrix(layout, part) for part in PARTS},
    )


def unstopped(job: TrainingInput, trained: Trained) -> str:
    """Return what to say where early stopping never stopped; empty elsewhere."""
    name = job.kind.rounds_key
    if not name or trained.best_iteration is None:
        return ""
    most = job.kind.most_rounds(job.recipe)
    if trained.best_iteration < most:
        return ""
    section = "train_spark" if engine_of(job.training.type)[0] else "train"
    key = training_key(job.training.problem, job.training.type)
    return (
        f"the loss on the early stopping rows still fell in round {most:,}, the last; a larger "
        f"{section}.{key}.params.{name} may be better"
    )


def read_encoder(path: Path) -> Any:
    """Read the fitted encoder that the features stage wrote."""
    import joblib

    try:
        return joblib.load(path)
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing; run `dvc repro` (or `dvc checkout`) to make it"
        ) from None
    except (EOFError, ValueError, KeyError, IndexError, ImportError, AttributeError) as error:
        raise ArtifactError(
            f"{path} can't be read ({error}); make it again with `dvc repro -f features`"
        ) from error


def write_outputs(
    layout: ProblemLayout, job: TrainingInput, trained: Trained, metrics: dict[str, Any]
) -> None:
    """Write model, card, scores, metrics and plots of one type."""
    from lockstep.models.model_file import write_pipeline
    from lockstep.models.training_run import card_of, plot_tables, scores_table

    kind = job.training.type
    write_pipeline(layout.model(kind), trained.pipeline)
    card = card_of(job, trained, sha256_file(layout.model(kind)))
    write_json(layout.model_card(kind), card, digits=None)
    write_parquet(layout.scores(kind), scores_table(job, trained))
    write_type_metrics(layout, kind, metrics, job.schema.task)
    with whole_folder(layout.type_folder(kind) / "plots") as folder:
        for name, table in plot_tables(job, trained).items():
            write_csv(folder / f"{name}.csv", table)


def summary(metrics: dict[str, Any]) -> str:
    """Return the two or three figures a person wants to see first."""
    known = ("roc_auc", "average_precision", "f1", "macro_f1", "macro_roc_auc", "rmse", "r2")
    shown = [name for name in known if name in metrics["validation"]]
    return "validation  " + "  ".join(
        f"{name} {number_text(metrics['validation'][name])}" for name in shown
    )


def stage_arguments(module: str, about: str | None, instead: str) -> argparse.Namespace:
    """Return the command line that DVC gives a train stage; UsageError if a person calls it."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--problem", required=True, help="a problem of params.yaml")
    parser.add_argument("--type", required=True, help="a model type the problem declares")
    arguments = parser.parse_args()
    if "DVC_STAGE" not in os.environ:
        known = {"problem": arguments.problem, "type": arguments.type}
        raise UsageError(f"only DVC trains: run {instead.format(**known)}")
    return arguments


def main() -> None:
    """Parse the command line that DVC gives, train, and let the registry know."""
    script = "`python src/models/train_multi_model.py --problem {problem} --models {type}`"
    module = "lockstep.models.train_multi_model"
    arguments = stage_arguments(module, __doc__, f"{script} or `dvc repro`")
    # On a busy machine, threads that spin while they wait slow down the threads they wait for.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    root = stage_root()
    from lockstep.models.artifact import import_skops
    from lockstep.registry.train_stage import importing_ahead, publish_training

    import_skops()
    with importing_ahead(root):
        timings = run(root, arguments.problem, arguments.type)
    publish_training(root, arguments.problem, arguments.type, timings=timings)


if __name__ == "__main__":
    run_command(main)
