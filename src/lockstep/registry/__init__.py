"""Everything that uses MLflow.

From low to high: ``store`` (the connection, names, versions, files), ``record`` (registered models
and their moves, on record), ``artifact`` (a version's files: packed, checked, loaded),
``publishing`` (from a training to its version), ``lifecycle`` (moves between stages, pruning).
Above them are what the two stages that register run: ``train_stage`` and ``register_models``.
"""

from __future__ import annotations

import logging
import os

# Turn telemetry and chatter off and limit MLflow's waiting, before it is imported.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
# Tracebacks of database errors, which are raised as well, and of cursors that a Ctrl-C found open.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.model_registry.abstract_store").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.artifact.artifact_repo").setLevel(logging.WARNING)
# A machine without git or without a home folder: what follows from it is said in one line.
logging.getLogger("mlflow.utils.git_utils").setLevel(logging.ERROR)
logging.getLogger("matplotlib").setLevel(logging.ERROR)
