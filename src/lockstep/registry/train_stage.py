"""The train stage's use of the registry: import MLflow beside the training, then publish."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from lockstep.config.settings import load_settings
from lockstep.console import warn
from lockstep.registry.publishing.outputs import read_outputs
from lockstep.registry.publishing.spans import note_span

if TYPE_CHECKING:
    from lockstep.registry.publishing.known import Published

_SLOW_IMPORTS = (
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mlflow.sklearn",
    "mlflow.store.tracking.sqlalchemy_store",
)


@contextmanager
def importing_ahead(root: Path) -> Iterator[None]:
    """Import beside the block what publishing needs: it takes as long as a small model's fit.

    The block's end waits for it: two threads in MLflow's circular imports would see half of its
    modules.
    """
    thread = Thread(target=lambda: [import_module(name) for name in _SLOW_IMPORTS], daemon=True)
    publishes = load_settings(root).publish
    if publishes:
        thread.start()
    yield
    if publishes:
        thread.join()


def publish_training(
    root: Path, problem: str, model_type: str, timings: dict[str, float] | None = None
) -> Published | None:
    """Log a training's run and register its model, unless the registry has it; None if neither.

    A server that is down, or a full disk of the store, costs a warning only: the next `dvc repro`
    registers the model. Raises ArtifactError or DataError for outputs that are damaged or missing.
    """
    settings = load_settings(root)
    outputs = read_outputs(root, problem, model_type)
    if timings:
        note_span(outputs, timings)
    model = f"{problem} {model_type}"
    if settings.publish_later:
        print(f"{model} is trained; it is registered later", file=sys.stderr)
        return None
    if not settings.publish:
        warn(f"publishing is off ({settings.source_of('publish')}): {model} is not logged")
        return None
    # MLflow would cost a training that publishes nothing a second.
    from lockstep.registry.publish_models import publish_or_warn

    return publish_or_warn(settings, outputs)
