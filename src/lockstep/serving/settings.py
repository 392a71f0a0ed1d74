"""What the API is told: the environment and .env over the section serving of model_config.yaml, each with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lockstep.config.settings import (
    CONFIG_FILE,
    DAGSHUB,
    URI,
    DecisionSection,
    Found,
    LimitsSection,
    PredictionLogSection,
    ServingSection,
    environment,
    is_on,
    load_settings,
    read_model_config,
)
from lockstep.errors import ConfigError, unknown

Scale = Literal["probability", "balanced"]
SCALES: tuple[str, ...] = get_args(Scale)


@dataclass(frozen=True)
class Rule:
    """How two classes are decided between. ``threshold`` None: by the threshold the model records."""

    threshold: float | None
    scale: str | None
    band: float
    source: str


@dataclass(frozen=True)
class ServingSettings:
    """What all layers together say. ``sources`` tells for each value where it was set."""

    problem: str
    host: str
    port: int
    model_path: str | None
    model_name: str | None
    model_uri: str | None
    api_keys_file: Path | None
    log_file: Path | None
    poll_seconds: float
    limits: LimitsSection
    prediction_log: PredictionLogSection
    prediction_folder: Path | None
    threshold: float | None
    scale: str | None
    band: float | None
    decisions: Mapping[str, DecisionSection]
    tracking_uri: str | None
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)

    def source_of(self, name: str) -> str:
        """Return where a value came from: a variable, .env, model_config.yaml or the default."""
        return self.sources.get(name, "the default")

    def rule_for(self, problem: str) -> Rule:
        """Return how to decide for a problem: by the environment, else by its section, else by the model's own."""
        section = self.decisions.get(problem, DecisionSection())
        given = self.threshold is not None
        place = f"{CONFIG_FILE} (serving.decisions.{problem})"
        return Rule(
            threshold=self.threshold if given else section.threshold,
            scale=self.scale or section.scale,
            band=section.approval_band if self.band is None else self.band,
            source=self.source_of("threshold") if given else place,
        )


def load_serving(root: Path, environ: Mapping[str, str] | None = None) -> ServingSettings:
    """Read the environment, .env and model_config.yaml below ``root``; an empty value counts as not set."""
    config, keys = read_model_config(root)
    section, variables = config.serving, environment(root, environ)
    read = _Reader(variables, keys)
    log = section.prediction_log
    folder = read.prediction_folder(log)
    return ServingSettings(
        problem=read.text("problem", "PROBLEM", section.problem),
        host=read.text("host", "HOST", section.host),
        port=read.whole("port", "PORT", section.port, 0, 65_535),
        model_path=read.maybe("model_path", "MODEL_PATH", section.model_path),
        model_name=read.maybe("model_name", "MLFLOW_MODEL_NAME", section.model_name),
        model_uri=read.maybe("model_uri", "MODEL_URI", None),
        api_keys_file=_path(
            root, read.maybe("api_keys_file", "API_KEYS_FILE", section.api_keys_file)
        ),
        log_file=_path(root, read.maybe("log_file", "SERVING_LOG", section.log_file)),
        poll_seconds=section.poll_seconds,
        limits=read.limits(section),
        prediction_log=log,
        prediction_folder=_path(root, folder),
        threshold=read.number("threshold", "DECISION_THRESHOLD", 0, 1),
        scale=read.scale(),
        band=read.number("band", "APPROVAL_BAND", 0, 0.5, open_low=False),
        decisions=section.decisions,
        tracking_uri=load_settings(root, environ=environ).tracking_uri,
        sources=read.sources | _tracking_source(variables),
    )


class _Reader:
    """Takes values from variables before the configuration's, and notes where each came from."""

    def __init__(self, variables: Mapping[str, Found], configured: set[str]) -> None:
        self.variables, self.configured = variables, configured
        self.sources: dict[str, str] = {}

    def maybe(self, name: str, variable: str, configured: Any) -> Any:
        found = self.variables.get(variable)
        if found is not None and found.value.strip():
            self.sources[name] = found.source
            return found.value.strip()
        if name in self.configured:
            self.sources[name] = f"{CONFIG_FILE} (serving.{name})"
        return configured

    def text(self, name: str, variable: str, configured: str) -> str:
        return str(self.maybe(name, variable, configured))

    def whole(self, name: str, variable: str, configured: int, low: int, high: int) -> int:
        value = self._parsed(name, variable, configured, int)
        if not low <= value <= high:
            raise ConfigError(
                f"{variable}={value} (from {self.sources[name]}): give {low} to {high}"
            )
        return int(value)

    def number(
        self, name: str, variable: str, low: float, high: float, open_low: bool = True
    ) -> float | None:
        value = self._parsed(name, variable, None, float)
        if value is None:
            return None
        if not (low < value if open_low else low <= value) or not value < high:
            least = "more than" if open_low else "at least"
            raise ConfigError(
                f"{variable}={value:g} (from {self.sources[name]}): give {least} {low:g} and less than {high:g}"
            )
        return float(value)

    def _parsed(self, name: str, variable: str, configured: Any, kind: Callable[[Any], Any]) -> Any:
        value = self.maybe(name, variable, configured)
        try:
            return value if value is None else kind(value)
        except ValueError:
            what = "whole number" if kind is int else "number"
            raise ConfigError(
                f"{variable}={value!r} (from {self.sources[name]}) is no {what}"
            ) from None

    def scale(self) -> str | None:
        value = self.maybe("scale", "DECISION_SCALE", None)
        if value is not None and value not in SCALES:
            raise ConfigError(f"DECISION_SCALE: {unknown('scale', value, SCALES)}")
        return value if value is None else str(value)

    def limits(self, section: ServingSection) -> LimitsSection:
        most, limits = 2**31, section.limits
        changed = {
            "body_bytes": self.whole("body_bytes", "MAX_BODY_BYTES", limits.body_bytes, 1024, most),
            "rows": self.whole("rows", "MAX_ROWS", limits.rows, 1, most),
        }
        seconds = self.number("request_seconds", "REQUEST_SECONDS", 0, 3600)
        if seconds is not None:
            changed["request_seconds"] = changed["body_seconds"] = seconds  # type: ignore[assignment]
        return limits.model_copy(update=changed)

    def prediction_folder(self, section: PredictionLogSection) -> str | None:
        """Return where predictions are kept: PREDICTION_LOG is a folder, or 0 for nowhere."""
        value = self.maybe("prediction_log", "PREDICTION_LOG", None)
        if value is None:
            return section.folder if section.keep else None
        if value.lower() in ("0", "1", "true", "false", "yes", "no", "on", "off"):
            return section.folder if is_on(value, "PREDICTION_LOG") else None
        return str(value)


def _path(root: Path, text: str | None) -> Path | None:
    return None if text is None else root / Path(text).expanduser()


def _tracking_source(variables: Mapping[str, Found]) -> dict[str, str]:
    found = variables.get(URI) or variables.get(DAGSHUB)
    return {"tracking_uri": found.source} if found else {}
