"""The settings of the API: the environment and .env before section serving of model_config.yaml."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from lockstep.config.layout import main_tree
from lockstep.config.settings import (
    CONFIG_FILE,
    DAGSHUB,
    MOST_WORKERS,
    OFF,
    ON,
    URI,
    DecisionSection,
    Found,
    LimitsSection,
    PredictionLogSection,
    ServingSection,
    ThresholdScale,
    environment,
    is_on,
    load_settings,
    read_model_config,
)
from lockstep.errors import ConfigError, unknown

SCALES = get_args(ThresholdScale)


@dataclass(frozen=True)
class DecisionSettings:
    """How to decide between two classes; without ``threshold`` by the model's own."""

    threshold: float | None
    scale: str | None
    band: float
    source: str


@dataclass(frozen=True)
class ServingSettings:
    """The values of all layers; ``sources`` names for each value where it was set."""

    problem: str
    host: str
    port: int
    workers: int
    model_path: str | None
    model_name: str | None
    model_uri: str | None
    api_keys_file: Path | None
    log_file: Path | None
    poll_seconds: float
    limits: LimitsSection
    prediction_log: PredictionLogSection
    prediction_folder: Path | None
    shadow: str
    monitoring_folder: Path
    threshold: float | None
    scale: str | None
    band: float | None
    decisions: Mapping[str, DecisionSection]
    tracking_uri: str | None
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)

    def source_of(self, name: str) -> str:
        """Return where a value was set: a variable, .env, model_config.yaml or the default."""
        return self.sources.get(name, "the default")

    def decision_for(self, problem: str) -> DecisionSettings:
        """Return how to decide for a problem: by the environment, else by its section."""
        section = self.decisions.get(problem, DecisionSection())
        given = self.threshold is not None
        place = f"{CONFIG_FILE} (serving.decisions.{problem})"
        return DecisionSettings(
            threshold=self.threshold if given else section.threshold,
            scale=self.scale or section.scale,
            band=section.approval_band if self.band is None else self.band,
            source=self.source_of("threshold") if given else place,
        )


def load_serving(root: Path, environ: Mapping[str, str] | None = None) -> ServingSettings:
    """Read the environment, .env and model_config.yaml below ``root``; empty values are unset."""
    config, keys = read_model_config(root)
    section, variables = config.serving, environment(root, environ)
    read = _Reader(root, variables, keys)
    tracking = variables.get(URI) or variables.get(DAGSHUB)
    if tracking:
        read.sources["tracking_uri"] = tracking.source
    return ServingSettings(
        problem=str(read.value("problem", "PROBLEM", section.problem)),
        host=str(read.value("host", "HOST", section.host)),
        port=read.whole("port", "PORT", section.port, 0, 65_535),
        workers=read.whole("workers", "WORKERS", section.workers, 1, MOST_WORKERS),
        model_path=read.value("model_path", "MODEL_PATH", section.model_path),
        model_name=read.value("model_name", "MLFLOW_MODEL_NAME", section.model_name),
        model_uri=read.value("model_uri", "MODEL_URI", None),
        api_keys_file=read.path("api_keys_file", "API_KEYS_FILE", section.api_keys_file),
        log_file=read.path("log_file", "SERVING_LOG", section.log_file),
        poll_seconds=section.poll_seconds,
        limits=read.limits(section),
        prediction_log=section.prediction_log,
        prediction_folder=read.prediction_folder(section.prediction_log),
        shadow=read.shadow(section.shadow),
        monitoring_folder=main_tree(root) / config.monitoring.folder,
        threshold=read.number("threshold", "DECISION_THRESHOLD", 0, 1),
        scale=read.scale(),
        band=read.number("band", "APPROVAL_BAND", 0, 0.5, open_low=False),
        decisions=section.decisions,
        tracking_uri=load_settings(root, environ=environ).tracking_uri,
        sources=read.sources,
    )


class _Reader:
    """Takes values from variables before the configuration's, and notes each one's source."""

    def __init__(self, root: Path, variables: Mapping[str, Found], configured: set[str]) -> None:
        self.root, self.variables, self.configured = root, variables, configured
        self.sources: dict[str, str] = {}

    def value(self, name: str, variable: str, configured: Any) -> Any:
        found = self.variables.get(variable)
        if found is not None and found.value.strip():
            self.sources[name] = found.source
            return found.value.strip()
        if name in self.configured:
            self.sources[name] = f"{CONFIG_FILE} (serving.{name})"
        return configured

    def path(self, name: str, variable: str, configured: str | None) -> Path | None:
        text = self.value(name, variable, configured)
        return None if text is None else self.root / Path(text).expanduser()

    def whole(self, name: str, variable: str, configured: int, low: int, high: int) -> int:
        value = self._parsed(name, variable, configured, int)
        if not low <= value <= high:
            source = self.sources[name]
            raise ConfigError(f"{variable}={value} (from {source}): give {low} to {high}")
        return int(value)

    def number(
        self, name: str, variable: str, low: float, high: float, open_low: bool = True
    ) -> float | None:
        value = self._parsed(name, variable, None, float)
        if value is None:
            return None
        if not (low < value if open_low else low <= value) or not value < high:
            least = f"more than {low:g}" if open_low else f"at least {low:g}"
            given = f"{variable}={value:g} (from {self.sources[name]})"
            raise ConfigError(f"{given}: give {least} and less than {high:g}")
        return float(value)

    def _parsed(self, name: str, variable: str, configured: Any, kind: Callable[[Any], Any]) -> Any:
        value = self.value(name, variable, configured)
        try:
            return value if value is None else kind(value)
        except ValueError:
            what = "whole number" if kind is int else "number"
            source = self.sources[name]
            raise ConfigError(f"{variable}={value!r} (from {source}) is no {what}") from None

    def scale(self) -> str | None:
        value = self.value("scale", "DECISION_SCALE", None)
        if value is not None and value not in SCALES:
            raise ConfigError(f"DECISION_SCALE: {unknown('scale', value, SCALES)}")
        return value if value is None else str(value)

    def shadow(self, configured: str) -> str:
        """Return the stage whose newest version scores answered requests again; empty: none."""
        value = str(self.value("shadow", "SHADOW", configured) or "")
        if value.lower() in ("", *OFF):
            return ""
        if value != "Staging":
            raise ConfigError(
                f"SHADOW={value!r} (from {self.sources['shadow']}): give Staging, or 0 for none"
            )
        return value

    def limits(self, section: ServingSection) -> LimitsSection:
        most, limits = 2**31, section.limits
        changed: dict[str, float] = {
            "body_bytes": self.whole("body_bytes", "MAX_BODY_BYTES", limits.body_bytes, 1024, most),
            "rows": self.whole("rows", "MAX_ROWS", limits.rows, 1, most),
            "table_bytes": self.whole(
                "table_bytes", "MAX_TABLE_BYTES", limits.table_bytes, 1024, most
            ),
            "table_rows": self.whole("table_rows", "MAX_TABLE_ROWS", limits.table_rows, 1, most),
        }
        seconds = self.number("request_seconds", "REQUEST_SECONDS", 0, 3600)
        if seconds is not None:
            changed["request_seconds"] = changed["body_seconds"] = seconds
        return limits.model_copy(update=changed)

    def prediction_folder(self, section: PredictionLogSection) -> Path | None:
        """Return the folder of the prediction log: PREDICTION_LOG names one, or 0 for none."""
        value = self.value("prediction_log", "PREDICTION_LOG", None)
        if value is None:
            folder = section.folder if section.keep else None
        elif value.lower() in (*ON, *OFF):
            folder = section.folder if is_on(value, "PREDICTION_LOG") else None
        else:
            folder = value
        return None if folder is None else self.root / Path(folder).expanduser()
