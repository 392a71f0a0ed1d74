"""What the configuration of gates and of ``if_better`` names, checked without importing MLflow."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.config.gates import DEFAULT, Gates
from lockstep.config.settings import CONFIG_FILE
from lockstep.errors import ConfigError, unknown
from lockstep.problems.schema import problem_names

IF_BETTER = "if_better"
COMPARED_BY = {"binary": "f1", "multiclass": "macro_f1", "regression": "rmse"}
"""The metric of each task that versions are compared by, unless another one is configured."""


def metrics_of_tasks() -> list[str]:
    """Return the metrics of all tasks, each once."""
    # It imports scikit-learn, which commands do without if nothing is compared.
    from lockstep.evaluation.metrics import metric_names

    return list(dict.fromkeys(name for task in COMPARED_BY for name in metric_names(task)))


def check_registration_metric(configured: str | None) -> None:
    """Raise a ConfigError for a metric of no task."""
    if configured and configured not in (known := metrics_of_tasks()):
        where = f"{CONFIG_FILE}: mlflow.model_registry.registration_metric"
        raise ConfigError(f"{where}: {unknown('metric', configured, known)}")


def check_sections(sections: Mapping[str, Gates]) -> None:
    """Raise a ConfigError where gates name an unknown problem or metric."""
    known = [DEFAULT, *problem_names()]
    where = f"{CONFIG_FILE}: mlflow.model_registry.gates"
    for section, gates in sections.items():
        if section not in known:
            raise ConfigError(f"{where}: {unknown('problem', section, known)}")
        for metric in gates.floors:
            if metric not in (metrics := sorted(metrics_of_tasks())):
                raise ConfigError(f"{where}.{section}.floors: {unknown('metric', metric, metrics)}")
