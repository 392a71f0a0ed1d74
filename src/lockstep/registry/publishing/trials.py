"""The trials of a hyperparameter search as MLflow runs below one parent, each logged once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param

from lockstep.config.settings import load_settings
from lockstep.console import warn
from lockstep.errors import RegistryError
from lockstep.models.search import TrialResult
from lockstep.registry.publishing.experiments import experiment_of
from lockstep.registry.store.connection import Client, connect, one_line, store_errors
from lockstep.registry.store.names import PARENT_TAG

SEARCH = "lockstep.search"
TRIAL = "lockstep.trial"
METRIC = "lockstep.metric"


@dataclass
class SearchLog:
    """The log of one study's trials: a parent run in the problem's experiment.

    Values are those of ``metric``; ``sign`` is -1 where less of it is better, as a study maximizes.
    When the server fails, the search goes on without its log: it warns once and asks nothing more.
    """

    client: Client
    experiment_id: str
    parent_id: str
    study: str
    metric: str
    sign: int
    failed: bool = False

    def add(self, result: TrialResult) -> None:
        """Log one trial below the parent, unless it is there; replace one that a kill left open."""
        self._attempt(self._add, result)

    def close(self, winner: dict[str, Any], value: float) -> None:
        """Write the winner and its metric on the parent run and end it."""
        self._attempt(self._close, winner, value)

    def _attempt(self, log: Callable[..., None], *arguments: Any) -> None:
        try:
            if not self.failed:
                log(*arguments)
        except store_errors() as error:
            self.failed = True
            _warn(error)

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
        self.client.set_tag(self.parent_id, METRIC, self.metric)
        self.client.log_metric(self.parent_id, "best_value", value)
        self.client.set_terminated(self.parent_id, "FINISHED")

    def _log(self, result: TrialResult) -> None:
        now = int(time.time() * 1000)
        tags = {
            SEARCH: self.study,
            TRIAL: str(result.number),
            PARENT_TAG: self.parent_id,
            "lockstep.pruned": str(result.pruned).lower(),
            "mlflow.runName": f"trial {result.number}",
        }
        start = now - int(result.seconds * 1000)
        run_id = self.client.create_run(self.experiment_id, start_time=start, tags=tags).info.run_id
        reported = sorted(result.history.items())  # minus the loss on the early stopping rows
        steps = [Metric("stop_loss", -score, now, step) for step, score in reported]
        if result.value is not None and not result.pruned:  # else it is the last loss
            steps.append(Metric("value", self.sign * result.value, now, 0))
        params = [Param(name, str(value)) for name, value in result.params.items()]
        self.client.log_batch(run_id, metrics=steps, params=params)
        self.client.set_terminated(run_id, "FINISHED")


def open_search(
    root: Path, problem: str, model_type: str, study: str, metric: str, sign: int
) -> SearchLog | None:
    """Return the log of a study, with its parent run; None without publishing or server."""
    settings = load_settings(root)
    if not settings.publish:
        return None
    try:
        client = connect(settings, root)
        experiment = experiment_of(client, settings, root, problem)
        parent = _parent(client, experiment, model_type, study)
        return SearchLog(client, experiment, parent, study, metric, sign)
    except store_errors(RegistryError) as error:
        _warn(error)
        return None


def _parent(client: Client, experiment: str, model_type: str, study: str) -> str:
    tags = {SEARCH: study, TRIAL: "parent", "mlflow.runName": f"search {model_type}"}
    condition = f"tags.`{SEARCH}` = '{study}' and tags.`{TRIAL}` = 'parent'"
    found = client.search_runs([experiment], condition, max_results=1)
    run = found[0] if found else client.create_run(experiment, tags=tags)
    return str(run.info.run_id)


def _warn(error: Exception) -> None:
    warn(f"the trials are not logged to MLflow: {one_line(error)}; search again to log them")
