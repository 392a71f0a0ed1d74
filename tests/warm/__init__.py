"""Commands in tests through the preloaded process: a start costs 30 ms, not seconds of imports.

Within the tests ``sys.executable`` is a client of that process, and the clones that journeys work
in have an environment whose `python`, `dvc` and `mlflow` are. The client becomes the real
interpreter for `-c` and all other options, and where variables differ that a process reads once,
when it starts. It does so for all that is started with the variables ``COLD``: for tests of process
groups. Set TESTS_WARM_ENVIRONMENT to the empty string to run every command in a process of its own.
"""

import os
import sys
from pathlib import Path

from lockstep.preload.process import FOR_PUBLISHING, FOR_STAGES, SWITCH, Preloaded

PREFIX = Path(sys.prefix)
CONSOLE = ("dvc", "mlflow")
PACKAGES = ("lockstep", "dvc", "mlflow", "uvicorn", "pipelines", "models", ".py")
VARIABLE = "TESTS_WARM_ENVIRONMENT"
"""Names the folder of the run's preloaded process; empty where there is none."""
COLD = {SWITCH: "0"}
"""The variables under which every command is a process of its own."""
UNSEEN = ("COVERAGE_", "DAGSHUB", "DVC_", "LOCKSTEP_", "MLFLOW_", "PYTEST_", VARIABLE)
MORE = (
    "xgboost",
    "lightgbm",
    "mlflow.xgboost",
    "mlflow.lightgbm",
    "orjson",
    "dotenv",
    "filelock",
    "sklearn.neighbors",
    "shap",
    "optuna",
    "requests",
    "tqdm",
    "fastapi",
    "uvicorn",
    "uvloop",
    "httptools",
    "prometheus_client",
    "sqlalchemy",
    "alembic",
    "mlflow.server",
    "mlflow.cli",
    "dvc.cli",
    "dvc.cli.parser",
    "dvc.repo",
    "dvc.repo.reproduce",
    "dvc.repo.status",
    "dvc.repo.experiments",
    "dvc.stage.run",
    "dvc.ignore",
    "dvc.output",
    "dvc.dependency",
    "dvc.render",
    "dvc.commands.repro",
    "dvc.scm",
    "scmrepo.git",
    "dvc_data.index",
)
"""What else commands import."""


class Warm:
    """The preloaded process of a test run, in a folder that looks like `.venv`."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(UNSEEN)}
        self.process = Preloaded(
            [*FOR_STAGES, *FOR_PUBLISHING, *MORE],
            PACKAGES,
            environment,
            CONSOLE,
            lends=True,
            at_once=False,
            kills=True,
        )
        self._lend(self.process.folder)
        os.environ[VARIABLE] = str(self.process.folder)

    def _lend(self, folder: Path) -> None:
        """Fill the folder like a virtual environment whose interpreter is the client."""
        for path in PREFIX.iterdir():
            if path.name not in ("bin", ".ready"):
                (folder / path.name).symlink_to(path)
        (folder / ".ready").write_text(f"{folder.resolve()}\n")
        for path in (PREFIX / "bin").iterdir():
            if not (folder / "bin" / path.name).exists():
                (folder / "bin" / path.name).symlink_to(path)

    def stop(self) -> None:
        """End the process and whatever it still runs; it removes the folder."""
        self.process.stop()
        del os.environ[VARIABLE]


def environment() -> Path:
    """Return the folder that looks like `.venv`; the real one where no process was preloaded."""
    return Path(os.environ.get(VARIABLE) or PREFIX)


def adopt() -> None:
    """Let this process start its commands in the preloaded one."""
    sys.executable = str(environment() / "bin" / "python")
