"""params.yaml, typed: everything that changes a result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lockstep.config.layout import SPARK, engine_of
from lockstep.errors import ConfigError, UsageError, nearest, unknown
from lockstep.io import parse_yaml, read_utf8

M = TypeVar("M", bound=BaseModel)
UNSEEN = ("size", "nfiles")
"""Keys, at any depth, that DVC takes for facts about files and ignores in its run cache (3.67)."""

SourceKind = Literal["sample", "download", "files", "table"]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Strict(BaseModel):
    """Base of all sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sample(Strict):
    """The embedded generator's settings."""

    units: int = Field(20_000, ge=100, description="units drawn (accidents, applications …)")
    seed: int = Field(2021, ge=0)
    years: list[int] = Field(default_factory=lambda: [2021], min_length=1)
    drift: float = Field(0.0, ge=0, le=5, description="strength of the drift by month; 0 for none")
    months: int = Field(
        24, ge=1, le=240, description="months up to last_month, where a sample goes by months"
    )
    last_month: str = Field(
        "2025-12", pattern=r"^20\d\d-(0[1-9]|1[0-2])$", description="YYYY-MM; a retrain moves it on"
    )


class Download(Strict):
    """The publisher's files to fetch."""

    years: list[int] = Field(default_factory=lambda: [2021], min_length=1)
    base_url: str | None = Field(None, description="another mirror of the publisher's files")
    sha256: dict[str, str] = Field(default_factory=dict, description="pinned sums by file name")


class Source(Strict):
    """Where a problem's raw data come from."""

    kind: SourceKind = "sample"
    external: str = Field(
        "data/external/NONE", description="the DVC-tracked folder of kinds files and table"
    )
    sample: Sample = Field(default_factory=Sample)
    download: Download = Field(default_factory=Download)


class Preprocess(Strict):
    """How the tidy table is checked."""

    max_unknown_codes: Fraction = Field(0.02, description="most unknown codes a column may hold")
    max_dropped: Fraction = Field(0.2, description="most rows that may be dropped")
    duplicates: Literal["keep", "drop"] = Field(
        "keep", description="what becomes of exact copies of a row"
    )


class Split(Strict):
    """How rows are parted: given in the source, by time, or by group."""

    kind: Literal["given", "time", "group"] = "time"
    alike: Literal["apart", "together"] = Field(
        "apart",
        description="kind group: whether rows alike in every feature may stand in different parts",
    )
    test: Fraction = 0.2
    validation: Fraction = 0.2
    seed: int = 0


class Features(Strict):
    """How the encoder is fitted."""

    seed: int = 0
    folds: int = Field(5, ge=2)


class Decision(Strict):
    """How probabilities become decisions; default policies: f1, argmax, interval by task."""

    policy: (
        Literal["f1", "fixed", "approval_rate", "cost", "argmax", "cost_matrix", "interval"] | None
    ) = None
    threshold: float | None = Field(None, ge=0, le=1)
    scale: Literal["probability", "balanced"] | None = Field(
        None,
        description="fixed: the score scale of the threshold; a training on another is refused",
    )
    approval_rate: float | None = Field(None, gt=0, lt=1)
    cost_false_positive: float = Field(1.0, ge=0)
    cost_false_negative: float = Field(1.0, ge=0)
    costs: dict[int | str, dict[int | str, Annotated[float, Field(ge=0)]]] | None = Field(
        None,
        description="cost_matrix: actual class → predicted class → cost; default 1, and 0 if right",
    )
    coverage: float | None = Field(
        None, gt=0, lt=1, description="interval: share of the rows it shall hold"
    )


class Compare(Strict):
    """How model types are compared."""

    metric: str = "roc_auc"
    resamples: int = Field(1000, ge=100)
    seed: int = 0


class Problem(Strict):
    """One problem's section."""

    source: Source = Field(default_factory=Source)
    preprocess: Preprocess = Field(default_factory=Preprocess)
    split: Split = Field(default_factory=Split)
    features: Features = Field(default_factory=Features)
    decision: Decision = Field(default_factory=Decision)
    compare: Compare = Field(default_factory=Compare)
    model_types: list[str] = Field(min_length=1)


class Training(Strict):
    """One row of the flat table of trainings: a problem and a model type."""

    problem: str
    type: str
    seed: int = 0
    calibration: Literal["none", "sigmoid", "isotonic", "temperature"] = "none"
    early_stopping_rounds: int = Field(0, ge=0, description="0: none")
    cv_folds: int = Field(0, ge=0, description="0: none")
    params: dict[str, Any] = Field(
        default_factory=dict, description="the estimator's own hyperparameters"
    )

    @field_validator("cv_folds")
    @classmethod
    def _several(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("give 2 folds or more, or 0 for none")
        return folds


class SparkData(Strict):
    """How Spark makes a problem's matrices."""

    partitions: int = Field(
        2, ge=1, le=1000, description="parts of the training rows: tasks of a fit; part of a result"
    )


class Environment(Strict):
    """One way to train: by which engine, and what of params.yaml is another there."""

    engine: Literal["sklearn", "spark"] = "sklearn"
    apart: bool = Field(
        False, description="train in a folder of its own and register nothing, as to try something"
    )
    set: dict[str, Any] = Field(
        default_factory=dict,
        description="dotted key of params.yaml → value; * stands for every name at its place",
    )

    @model_validator(mode="after")
    def _values_need_a_folder(self) -> Environment:
        if self.set and not self.apart:
            raise ValueError("set needs apart: true, or the values would replace those above")
        return self


class Space(Strict):
    """A hyperparameter's space: between two numbers (integers if both are), or choices."""

    low: int | float | None = None
    high: int | float | None = None
    log: bool = False
    choice: list[Any] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Space:
        bounds = self.low is not None and self.high is not None
        if bounds == (self.choice is not None):
            raise ValueError("give low and high, or choice")
        if bounds and not self.low < self.high:  # type: ignore[operator]
            raise ValueError("low must be below high")
        return self


class Search(Strict):
    """The hyperparameter search of one training."""

    trials: int = Field(20, ge=1)
    seed: int = Field(0, ge=0)
    space: dict[str, Space] = Field(min_length=1)


class Params(Strict):
    """The whole of params.yaml."""

    problems: dict[str, Problem]
    train: dict[str, Training]
    search: dict[str, Search] = Field(default_factory=dict)
    prepare_spark: dict[str, SparkData] = Field(
        default_factory=dict, description="the problems whose data Spark prepares"
    )
    train_spark: dict[str, Training] = Field(
        default_factory=dict, description="trainings on Spark, as in train"
    )

    environments: dict[str, Environment] = Field(
        default_factory=lambda: {"prod": Environment()}, description="by the name after --env"
    )

    def environment(self, name: str) -> Environment:
        """Return an environment; an unknown name is a UsageError with the nearest one."""
        if name not in self.environments:
            raise UsageError(unknown("environment", name, self.environments))
        return self.environments[name]

    def problem(self, name: str) -> Problem:
        """Return one problem's section; an unknown name is a UsageError with the nearest one."""
        if name not in self.problems:
            raise UsageError(unknown("problem", name, self.problems))
        return self.problems[name]

    def training(self, problem: str, model_type: str) -> Training:
        """Return the training of one declared type; an unknown type is a usage error."""
        if engine_of(model_type)[0]:
            return self._spark_training(problem, model_type)
        declared = self.problem(problem).model_types
        if model_type not in declared:
            raise UsageError(unknown(f"model type of {problem}", model_type, declared))
        return self.train[training_key(problem, model_type)]

    def _spark_training(self, problem: str, model_type: str) -> Training:
        self.problem(problem)
        key = training_key(problem, model_type)
        if key not in self.train_spark:
            declared = self.spark_types(problem)
            raise UsageError(unknown(f"model type of {problem} on Spark", model_type, declared))
        return self.train_spark[key].model_copy(update={"type": model_type})

    def spark_types(self, problem: str) -> list[str]:
        """Return the model types that are trained on Spark for a problem: spark_xgboost …."""
        own = (one for one in self.train_spark.values() if one.problem == problem)
        return [f"{SPARK}_{one.type}" for one in own]


def training_key(problem: str, model_type: str) -> str:
    """Return the name of a training in params.yaml and of its stage instance in dvc.yaml."""
    return f"{problem}-{engine_of(model_type)[1]}"


def load_params(root: Path) -> Params:
    """Read and check params.yaml below ``root``; a fault is a ConfigError with key and fix."""
    return parse_params(parse_yaml(read_params_text(root), "params.yaml"))


def read_params_text(root: Path) -> str:
    """Return the text of params.yaml below ``root``."""
    path = root / "params.yaml"
    try:
        return read_utf8(path)
    except FileNotFoundError:
        fix = "restore it with `git checkout params.yaml`"
        raise ConfigError(f"{path} is missing; {fix}") from None


def parse_params(content: object) -> Params:
    """Check the content of a params.yaml."""
    if content is None:
        raise ConfigError("params.yaml is empty; restore it with `git checkout params.yaml`")
    _check_seen(content, "")
    params = validated(Params, content, "params.yaml")
    _check_trainings(params)
    return params


def _check_seen(content: object, where: str) -> None:
    """Refuse a key that DVC's run cache ignores: a change of it would bring old outputs back."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key in UNSEEN:
            fault = f"DVC does not see a change of a key called {key}; rename it"
            raise ConfigError(f"params.yaml: {where}{key}: {fault}")
        _check_seen(value, f"{where}{key}.")


def validated(model: type[M], content: object, where: str) -> M:
    """Validate ``content``; the first fault becomes one line with key, value and nearest key."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first_fault(model, error)}") from None


def _first_fault(model: type[BaseModel], error: ValidationError) -> str:
    faults = error.errors()
    first = faults[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if first["type"] == "extra_forbidden":
        near = nearest(first["loc"][-1], _keys_at(model, first["loc"][:-1]))
        return f"unknown key '{key}'{near}{more}"
    if first["type"] == "missing":
        return f"key '{key}' is missing{more}"
    hint = ""
    if first["type"] == "literal_error":
        hint = nearest(first["input"], re.findall(r"'([^']*)'", first["ctx"]["expected"]))
    fault = first["msg"].removeprefix("Value error, ")
    return f"{key} = {first['input']!r}: {fault[:1].lower()}{fault[1:]}{hint}{more}"


def _keys_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the section at ``path`` may have; steps into mappings have no field."""
    current: type[BaseModel] = model
    for step in path:
        field = current.model_fields.get(str(step))
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())] if field else []
        sections = (c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
        current = next(sections, current)
    return list(current.model_fields)


def _check_trainings(params: Params) -> None:
    declared = {
        training_key(name, kind): name
        for name, problem in params.problems.items()
        for kind in problem.model_types
    }
    for key, name in declared.items():
        if key not in params.train:
            fault = f"names '{key}', which has no section in train{nearest(key, params.train)}"
            raise ConfigError(f"params.yaml: problems.{name}.model_types {fault}")
    for key, training in params.train.items():
        _check_training(key, training, declared)
    for key, training in params.train_spark.items():
        _check_spark_training(key, training, params)
    for key in params.search:
        if key not in params.train:
            near = nearest(key, params.train)
            raise ConfigError(f"params.yaml: search.{key} names no training{near}")


def _check_training(key: str, training: Training, declared: dict[str, str]) -> None:
    name = training_key(training.problem, training.type)
    if name != key:
        content = f"problem '{training.problem}' and type '{training.type}'"
        fix = f"must be called {name}"
        if key in declared:
            fix = f"must hold what its name says{nearest(name, declared)}"
        raise ConfigError(f"params.yaml: train.{key} holds {content}, but {fix}")
    if key not in declared:
        fix = f"add '{training.type}' there{nearest(key, declared)}"
        place = f"problems.{training.problem}.model_types"
        raise ConfigError(f"params.yaml: train.{key} is not among {place}; {fix}")


def _check_spark_training(key: str, training: Training, params: Params) -> None:
    where, name = f"params.yaml: train_spark.{key}", training_key(training.problem, training.type)
    if name != key:
        raise ConfigError(f"{where} must be called {name}")
    for section, known in (("problems", params.problems), ("prepare_spark", params.prepare_spark)):
        if training.problem not in known:
            raise ConfigError(f"{where} needs {section}.{training.problem}; add it")
    if training.cv_folds:
        raise ConfigError(f"{where}: cross-validation is not done on Spark; set cv_folds: 0")
