"""Everything that speaks MLflow.

Here: the store, the catalog of models and versions, and the commands. Below: ``publishing`` (from a training to its
version), ``artifact`` (a version's files), ``record`` (moves, one at a time, on record), ``judging`` (gates and
comparisons), ``checks`` (verify, doctor) and ``rebuilding`` (reproduce).
"""

from __future__ import annotations

import logging
import os


def _quiet_mlflow() -> None:
    """Turn telemetry and chatter off and bound MLflow's own patience: it reads these when it is imported."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
    # Its tracebacks of database errors; the errors themselves come as exceptions.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # The same of a cursor that a Ctrl-C found open.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    chatty = ("mlflow.store.model_registry.abstract_store", "mlflow.store.artifact.artifact_repo")
    for name in ("alembic", *chatty):
        logging.getLogger(name).setLevel(logging.WARNING)


_quiet_mlflow()
