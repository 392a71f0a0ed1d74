"""Where to log and register: typed settings that never change a result, each with its source."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from lockstep.config.gates import Gates
from lockstep.config.layout import main_tree
from lockstep.config.monitoring import MonitoringSection
from lockstep.config.params import Strict, validated
from lockstep.errors import ConfigError
from lockstep.io import parse_yaml, read_utf8

CONFIG_FILE = Path("src/config/model_config.yaml")
URI, DAGSHUB = "MLFLOW_TRACKING_URI", "DAGSHUB_REPO"
EXPERIMENT, PUBLISH = "MLFLOW_EXPERIMENT_NAME", "LOCKSTEP_PUBLISH"
SPARK_MASTER = "LOCKSTEP_SPARK_MASTER"
"""Where Spark runs its tasks, unless a command's --master says."""
DEFAULT_MODEL_TYPE = "xgboost"
"""The type that ``--use-mlflow-production`` loads, and that is served before any comparison."""
LATER = "later"
"""PUBLISH while a command runs the stages that registers their models itself."""
ThresholdScale = Literal["probability", "balanced"]
"""The score scales that a threshold may be on."""
OFF = ("0", "false", "no", "off")
ON = ("1", "true", "yes", "on")


class ModelRegistrySection(Strict):
    """The section mlflow.model_registry of model_config.yaml."""

    registered_model_name: str | None = None
    registration_policy: Literal["always", "if_better"] = "always"
    registration_metric: str | None = None
    default_stage: Literal["None", "Staging", "Archived", "Production"] = "None"
    auto_transition_to_staging: bool = False
    production_stage: Literal["Production"] = "Production"
    gates: dict[str, Gates] = Field(default_factory=dict)


class MlflowSection(Strict):
    """The section mlflow of model_config.yaml."""

    enabled: bool = True
    tracking_uri: str | None = None
    experiment_name: str | None = None
    log_model: bool = True
    log_artifacts: bool = True
    autolog: bool = False
    timeout_seconds: Annotated[float, Field(gt=0, le=5)] = 5
    publish_experiments: bool = False
    model_registry: ModelRegistrySection = ModelRegistrySection()


class DecisionSection(Strict):
    """How the API decides for one problem: serving.decisions.PROBLEM of model_config.yaml."""

    threshold: Annotated[float, Field(gt=0, lt=1)] | None = None
    scale: ThresholdScale | None = None
    approval_band: Annotated[float, Field(ge=0, lt=0.5)] = 0


MOST_WORKERS = 64
"""How many processes may share the API's port."""


class LimitsSection(Strict):
    """What a request may cost: serving.limits of model_config.yaml."""

    body_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    rows: Annotated[int, Field(ge=1)] = 10_000
    explain_rows: Annotated[int, Field(ge=1)] = 1_000
    table_bytes: Annotated[int, Field(ge=1024)] = 64 * 1024 * 1024
    table_rows: Annotated[int, Field(ge=1)] = 100_000
    body_seconds: Annotated[float, Field(gt=0)] = 10
    request_seconds: Annotated[float, Field(gt=0)] = 30
    connections: Annotated[int, Field(ge=1)] = 1_000


class PredictionLogSection(Strict):
    """The log of predictions for monitoring: serving.prediction_log of model_config.yaml."""

    keep: bool = True
    folder: str = ".lockstep/predictions"
    file_bytes: Annotated[int, Field(ge=65_536)] = 64 * 1024 * 1024
    file_hours: Annotated[float, Field(gt=0)] = 24
    total_bytes: Annotated[int, Field(ge=65_536)] = 1024 * 1024 * 1024
    waiting_bytes: Annotated[int, Field(ge=65_536)] = 64 * 1024 * 1024


class ServingSection(Strict):
    """The section serving of model_config.yaml."""

    problem: str = "credit_risk"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    workers: Annotated[int, Field(ge=1, le=MOST_WORKERS)] = 1
    model_path: str | None = None
    model_name: str | None = None
    api_keys_file: str | None = None
    log_file: str | None = None
    poll_seconds: Annotated[float, Field(gt=0, le=5)] = 1
    limits: LimitsSection = LimitsSection()
    prediction_log: PredictionLogSection = PredictionLogSection()
    shadow: Literal["", "Staging"] = ""
    decisions: dict[str, DecisionSection] = Field(default_factory=dict)


class ModelConfig(Strict):
    """The whole of model_config.yaml."""

    mlflow: MlflowSection = MlflowSection()
    serving: ServingSection = ServingSection()
    monitoring: MonitoringSection = MonitoringSection()


@dataclass(frozen=True)
class Settings:
    """The values of all layers together; ``sources`` names the place where each was set."""

    tracking_uri: str | None
    experiment_name: str | None
    publish: bool
    log_model: bool
    log_artifacts: bool
    autolog: bool
    timeout_seconds: float
    publish_experiments: bool
    registered_model_name: str | None
    registration_policy: str
    registration_metric: str | None
    default_stage: str
    auto_transition_to_staging: bool
    production_stage: str
    gates: Mapping[str, Gates] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)

    def source_of(self, name: str) -> str:
        """Return where a value was set: option, variable, .env, model_config.yaml or default."""
        return self.sources.get(name, "the default")

    @property
    def publish_later(self) -> bool:
        """Whether the command that runs the stages registers their models itself."""
        return self.environment.get(PUBLISH) == LATER

    @property
    def initial_stage(self) -> str:
        """The stage a new version starts in."""
        return "Staging" if self.auto_transition_to_staging else self.default_stage


@dataclass(frozen=True)
class Found:
    """A value of some layer and the layer's name."""

    value: str
    source: str


def load_settings(
    root: Path,
    options: Mapping[str, str | None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read all layers below ``root``: option, environment, .env, model_config.yaml, default.

    ``options`` may hold ``tracking_uri`` and ``experiment_name``; an empty value counts as not set.
    """
    config, config_keys = read_model_config(root)
    variables, given, mlflow = environment(root, environ), options or {}, config.mlflow
    experiment = _first(
        _option(given, "experiment_name", "--experiment-name"),
        variables.get(EXPERIMENT),
        _from_config(mlflow.experiment_name, "mlflow.experiment_name"),
    )
    found = {
        "tracking_uri": _uri(given, variables, mlflow),
        "experiment_name": experiment,
        "publish": _publish(variables.get(PUBLISH), mlflow.enabled, "enabled" in config_keys),
    }
    values = {name: item.value if item else None for name, item in found.items()}
    sources = dict.fromkeys(config_keys, str(CONFIG_FILE))
    sources |= {name: item.source for name, item in found.items() if item}
    return Settings(
        tracking_uri=values["tracking_uri"],
        experiment_name=values["experiment_name"],
        publish=values["publish"] == "1",
        log_model=mlflow.log_model,
        log_artifacts=mlflow.log_artifacts,
        autolog=mlflow.autolog,
        timeout_seconds=mlflow.timeout_seconds,
        publish_experiments=mlflow.publish_experiments,
        environment={name: item.value for name, item in variables.items()},
        sources=sources,
        **dict(mlflow.model_registry),
    )


def read_model_config(root: Path) -> tuple[ModelConfig, set[str]]:
    """Read model_config.yaml below ``root`` (absent: defaults); return it and the keys it sets."""
    path = root / CONFIG_FILE
    text = read_utf8(path) if path.is_file() else ""
    content = _without_empty(parse_yaml(text, str(CONFIG_FILE))) or {}
    _no_production(content)
    return validated(ModelConfig, content, str(CONFIG_FILE)), set(_leaves(content))


def environment(root: Path, environ: Mapping[str, str] | None = None) -> dict[str, Found]:
    """Return the non-empty variables of .env and the environment, which wins; .env stays here."""
    from dotenv import dotenv_values

    path = main_tree(root) / ".env"
    text = read_utf8(path).removeprefix("\ufeff") if path.is_file() else ""
    from_file = dotenv_values(stream=io.StringIO(text), interpolate=False)
    from_process = os.environ if environ is None else environ
    found = {name: Found(value, ".env") for name, value in from_file.items() if value}
    for name, value in from_process.items():
        if value:
            found[name] = Found(value, f"the variable {name}")
    return found


def is_on(value: str, name: str) -> bool:
    """Read a switch of the environment; anything but a yes or a no is a ConfigError."""
    lowered = value.strip().lower()
    if lowered not in (*ON, *OFF):
        raise ConfigError(f"{name}={value!r} is neither on nor off; use 1 or 0")
    return lowered in ON


def dagshub_uri(repository: str) -> str:
    """Return the tracking URI of a DagsHub repository USER/REPO."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", repository):
        fix = f"set it so, e.g. {DAGSHUB}=jane/accidents"
        raise ConfigError(f"{DAGSHUB}='{repository}' is not of the form USER/REPO; {fix}")
    return f"https://dagshub.com/{repository}.mlflow"


def _uri(
    options: Mapping[str, str | None], variables: Mapping[str, Found], section: MlflowSection
) -> Found | None:
    """Find the tracking URI; within one layer a URI goes before a DagsHub repository."""
    return _first(
        _option(options, "tracking_uri", "--tracking-uri"),
        *(_of_layer(variables, env_file) for env_file in (False, True)),
        _from_config(section.tracking_uri, "mlflow.tracking_uri"),
    )


def _of_layer(variables: Mapping[str, Found], env_file: bool) -> Found | None:
    uri, repository = (
        item if item and (item.source == ".env") == env_file else None
        for item in (variables.get(URI), variables.get(DAGSHUB))
    )
    if uri:
        return uri
    return Found(dagshub_uri(repository.value.strip()), repository.source) if repository else None


def _publish(switch: Found | None, enabled: bool, configured: bool) -> Found:
    if switch and (switch.value == LATER or not is_on(switch.value, PUBLISH)):
        return Found("0", switch.source)
    return Found("1" if enabled else "0", str(CONFIG_FILE) if configured else "the default")


def _option(options: Mapping[str, str | None], name: str, shown: str) -> Found | None:
    value = options.get(name)
    return Found(value, f"the option {shown}") if value else None


def _from_config(value: str | None, key: str) -> Found | None:
    return Found(value, f"{CONFIG_FILE} ({key})") if value else None


def _first(*found: Found | None) -> Found | None:
    return next(filter(None, found), None)


def _without_empty(content: Any) -> Any:
    """Drop empty values; YAML's bare None for a stage means the stage None."""
    if not isinstance(content, dict):
        return content
    inner = {key: _without_empty(value) for key, value in content.items()}
    return {key: value for key, value in inner.items() if value is not None and value != ""}


def _leaves(content: dict[str, Any]) -> list[str]:
    values = content.items()
    nested = (_leaves(value) if isinstance(value, dict) else [key] for key, value in values)
    return [name for names in nested for name in names]


def _no_production(content: Any) -> None:
    for section in ("mlflow", "model_registry"):
        content = content.get(section) if isinstance(content, dict) else None
    if isinstance(content, dict) and content.get("default_stage") == "Production":
        raise ConfigError(
            f"{CONFIG_FILE}: default_stage Production is refused, nothing goes to Production "
            "unseen; use None or Staging and promote with scripts/manage_model_registry.py"
        )
