"""The trials of a hyperparameter search as MLflow runs below one parent, each logged once."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from lockstep.config.settings import load_settings
from lockstep.errors import RegistryError
from lockstep.models.search import TrialResult
from lockstep.problems.schema import load_schema
from lockstep.registry.store import connection, uris

if TYPE_CHECKING:
    from lockstep.registry.store.connection import Client

SEARCH = "lockstep.search"
TRIAL = "lockstep.trial"
PARENT = "mlflow.parentRunId"


@dataclass
class SearchLog:
    """Where one study's trials go: a parent run in the problem's experiment.

    A server that fails on the way costs the log, not the search: it is told once, and nothing more is asked.
    """

    client: Client
    experiment_id: str
    parent_id: str
    study: str
    lost: bool = False

    def add(self, result: TrialResult) -> None:
        """Log one trial below the parent, unless it is there; one that a kill left open is made anew."""
        self._attempt(lambda: self._add(result))

    def close(self, winner: dict[str, Any], value: float) -> None:
        """Write the winner on the parent run and end it."""
        self._attempt(lambda: self._close(winner, value))

    def _attempt(self, log: Callable[[], None]) -> None:
        if self.lost:
            return
        try:
            log()
        except (MlflowException, requests.RequestException) as error:
            self.lost = True
            warn(connection.one_line(error))

    def _add(self, result: TrialResult) -> None:
        chosen = f"tags.`{SEARCH}` = '{self.study}' and tags.`{TRIAL}` = '{result.number}'"
        found = self.client.search_runs([self.experiment_id], chosen)
        for run in found:
            if run.info.status != "FINISHED":
                self.client.delete_run(run.info.run_id)
        if not any(run.info.status == "FINISHED" for run in found):
            self._log(result)

    def _close(self, winner: dict[str, Any], value: float) -> None:
        if self.client.get_run(self.parent_id).info.status == "FINISHED":
            return
        for name, chosen in winner.items():
            self.client.set_tag(self.parent_id, f"lockstep.winner.{name}", str(chosen))
        self.client.log_metric(self.parent_id, "best_value", value)
        self.client.set_terminated(self.parent_id, "FINISHED")

    def _log(self, result: TrialResult) -> None:
        now = int(time.time() * 1000)
        tags = {SEARCH: self.study, TRIAL: str(result.number), PARENT: self.parent_id}
        state = {
            "lockstep.pruned": str(result.pruned).lower(),
            "mlflow.runName": f"trial {result.number}",
        }
        run = self.client.create_run(
            self.experiment_id, start_time=now - int(result.seconds * 1000), tags={**tags, **state}
        )
        steps = [
            Metric("score", value, now, step) for step, value in sorted(result.history.items())
        ]
        if result.value is not None:
            steps.append(Metric("value", result.value, now, 0))
        params = [Param(name, str(value)) for name, value in result.params.items()]
        self.client.log_batch(run.info.run_id, metrics=steps, params=params)
        self.client.set_terminated(run.info.run_id, "FINISHED")


def warn(reason: str) -> None:
    """Say loudly that the search goes on without its log."""
    print(
        f"! the trials are not logged to MLflow: {reason}; search again to log them",
        file=sys.stderr,
    )


def open_search(root: Path, problem: str, model_type: str, study: str) -> SearchLog | None:
    """Return the log of a study, its parent run made or found; None where publishing is off or the server is down."""
    settings = load_settings(root)
    if not settings.publish:
        return None
    try:
        client = connection.connect(settings, root)
        name = settings.experiment_name or load_schema(problem).experiment
        experiment = connection.experiment_id(client, uris.resolve_uri(settings, root), root, name)
        return SearchLog(client, experiment, _parent(client, experiment, model_type, study), study)
    except (RegistryError, MlflowException, requests.RequestException) as error:
        warn(connection.one_line(error))
        return None


def _parent(client: Client, experiment: str, model_type: str, study: str) -> str:
    tags = {SEARCH: study, TRIAL: "parent", "mlflow.runName": f"search {model_type}"}
    found = client.search_runs(
        [experiment], f"tags.`{SEARCH}` = '{study}' and tags.`{TRIAL}` = 'parent'", max_results=1
    )
    return str(
        found[0].info.run_id if found else client.create_run(experiment, tags=tags).info.run_id
    )
