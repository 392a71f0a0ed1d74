"""What a model type is: the parts that each file of ``models/types`` must declare."""

from __future__ import annotations

import ast
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from lockstep.errors import ConfigError, nearest
from lockstep.models.matrices import Columns, Matrix

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Parts: TypeAlias = "tuple[Floats, Floats]"
OnStep = Callable[[int, int, float | None], None]
"""Called during a fit: iterations done, all iterations, and the early stopping loss if known."""

OWN_KEYS = {
    "random_state": "seed",
    "seed": "seed",
    "early_stopping_rounds": "early_stopping_rounds",
    "n_jobs": "nothing: training uses all cores, and no thread count is stored",
    "monotone_constraints": "monotone in the problem's schema",
    "monotonic_cst": "monotone in the problem's schema",
}
"""Hyperparameters that are set elsewhere, and where."""


@dataclass(frozen=True)
class Recipe:
    """What an estimator is built from."""

    task: str
    columns: Columns
    params: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    n_jobs: int = 1


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator and its learning curve: ``iteration`` and losses by part."""

    estimator: Any
    best_iteration: int | None = None
    history: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class FastScorer:
    """How a fitted estimator scores encoded rows, float64 (rows, encoded columns), without a table.

    ``outputs`` are probabilities or values: (rows,), or (rows, classes) for several classes.
    ``responses`` are the input of a calibration. ``margins`` are the sums before any link.
    ``explainer`` makes the function that splits margins into bases (classes,) and the parts of
    encoded columns (rows, classes, encoded columns); binary and regression models have one class.
    """

    outputs: Callable[[Floats], NDArray[Any]]
    responses: Callable[[Floats], NDArray[Any]]
    margins: Callable[[Floats], NDArray[Any]]
    explainer: Callable[[], Callable[[Floats], Parts]]
    margin_scale: str = "log-odds"
    """What the margin of a classifier is; that of a regression is its value."""


@dataclass(frozen=True)
class Native:
    """A file for ``mlflow.FLAVOR.load_model``: the estimator without encoder and calibration.

    People and their tools use it. This project itself loads the whole artifact only.
    """

    flavor: str
    file: str
    content: bytes
    model_class: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def declared(self) -> dict[str, Any]:
        """What MLmodel says; loading it needs no code of this project."""
        return {"data": self.file, "model_class": self.model_class, "code": None, **self.options}

    def card(self, method: str) -> dict[str, Any]:
        """Return what the model's card says; ``method`` is the calibration."""
        calibration = () if method == "none" else (f"calibration ({method})",)
        return {
            "flavor": self.flavor,
            "file": self.file,
            "model_class": self.model_class,
            "takes": "what the encoder of the artifact makes of raw rows",
            "leaves_out": ["encoder", *calibration],
        }


@dataclass(frozen=True)
class Draft:
    """What ``make new-problem`` writes into params.yaml for a model type."""

    params: Mapping[str, Any]
    space: Mapping[str, Mapping[str, Any]]
    trials: int
    calibration: Mapping[str, str] = field(default_factory=dict)
    """By task; none where a task is missing."""
    early_stopping_rounds: int = 0
    included: bool = True
    """Whether a new problem gets the type without being asked to."""


class ModelType(ABC):
    """One model type; ``models/types/NAME.py`` declares it as the class ``Type``.

    Its module imports no heavy library at the top, because its names are listed and hyperparameters
    are checked before anything runs.
    """

    name: ClassVar[str] = ""
    """The name of its file."""
    place: ClassVar[int]
    """Its place in listings."""
    tasks: ClassVar[tuple[str, ...]]
    registered_part: ClassVar[str]
    """The second half of its registered models' names."""
    short_name: ClassVar[str]
    """How runs begin where all types of a problem share one registered name."""
    estimators: ClassVar[tuple[str, ...]]
    """The classes of its fitted estimators, by which a loaded model's type is recognised.

    That of a regression is the last one.
    """
    classes: ClassVar[tuple[str, ...]] = ()
    """Further classes an artifact of this type may hold (all types: ``artifact.COMMON_TYPES``)."""
    distributions: ClassVar[Mapping[str, str]] = {}
    """The names its library is installed under, each with the marker of its systems ("": all).

    scikit-learn's types have none.
    """
    engine: ClassVar[str] = ""
    """What trains it; empty for this machine, by scikit-learn or its own library."""
    network: ClassVar[str] = ""
    """How tasks that fit it together share sums, named as in ``engines/boosters.py``."""
    has_history: ClassVar[bool] = True
    """Whether a fit has a learning curve."""
    rounds_key: ClassVar[str] = ""
    """The hyperparameter that bounds the rounds of a boosting; empty for what is none."""
    draft: ClassVar[Draft]

    @property
    def library(self) -> str:
        """The module of its library."""
        return self.estimators[0].partition(".")[0]

    def estimator_name(self, task: str) -> str:
        """Return the name of the class that does a task."""
        return self.estimators[-1 if task == "regression" else 0].rpartition(".")[2]

    @abstractmethod
    def known(self, task: str) -> Set[str]:
        """Return the names of its hyperparameters, without importing its library."""

    @abstractmethod
    def build(self, recipe: Recipe) -> Any:
        """Return the estimator, not fitted."""

    @abstractmethod
    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Fit on ``train``; ``rounds`` without a better loss on ``stop`` end a boosting (0: never).

        The estimator stores no thread count, training rows, or trees past the best iteration.
        """

    def refusals(self, recipe: Recipe) -> tuple[type[Exception], ...]:
        """Return the errors by which its library refuses the value of a hyperparameter."""
        from sklearn.utils._param_validation import InvalidParameterError

        return (InvalidParameterError,)

    @abstractmethod
    def importance(self, estimator: Any, features: pd.DataFrame) -> dict[str, float]:
        """Return each encoded column's importance; ``features`` are encoded rows."""

    @abstractmethod
    def scorer(self, estimator: Any, task: str) -> FastScorer:
        """Return how a fitted estimator scores rows: the same bits as its own methods."""

    def check_columns(self, recipe: Recipe) -> None:
        """Raise ConfigError for columns that the type does not support."""
        if recipe.task == "multiclass" and recipe.columns.monotone:
            raise ConfigError(
                "several classes have no single margin that could rise, so monotone is not "
                f"supported; remove it from {', '.join(recipe.columns.monotone)} in the problem's "
                "schema.yaml"
            )

    def native(self, estimator: Any) -> Native | None:
        """Return the estimator as a file of its library's MLflow flavor, None without one."""
        return None

    def positive_weight(self, params: Mapping[str, Any], balanced: float) -> float:
        """Return a positive row's weight; a negative row weighs 1, ``balanced`` is their ratio."""
        weights = params.get("class_weight")
        if isinstance(weights, str):  # balanced, or balanced_subsample
            return balanced
        if isinstance(weights, dict):
            by_label = {str(label): float(weight) for label, weight in weights.items()}
            return by_label.get("1", 1.0) / by_label.get("0", 1.0)
        return 1.0

    def most_rounds(self, recipe: Recipe) -> int:
        """Return the bound of a boosting's rounds: the library's own where the recipe sets none."""
        return int(getattr(self.build(recipe), self.rounds_key))

    def resolved_params(self, estimator: Any) -> dict[str, Any]:
        """Return a fitted estimator's hyperparameters as JSON values, unset ones left out."""
        own = estimator.named_steps["estimator"] if hasattr(estimator, "named_steps") else estimator
        found, plain = own.get_params(deep=False), (bool, int, float, str, list)
        shown = sorted(found.keys() - {"n_jobs", "callbacks"})
        return {k: found[k] for k in shown if isinstance(found[k], plain) and found[k] == found[k]}

    def draft_params(self, task: str, rows: float) -> tuple[dict[str, Any], str]:
        """Return a new problem's first hyperparameters for so many training rows, and a remark."""
        return dict(self.draft.params), ""

    def check_params(self, task: str, params: Mapping[str, Any]) -> None:
        """Raise ConfigError for an unknown hyperparameter, or a value that it can't have."""
        self.check_names(task, params)
        for key, value in params.items():
            if not _is_finite(value):
                fix = "give a finite number, as a model's card holds no other"
                raise ConfigError(f"params.yaml: {self.name}: {key} is {value!r}; {fix}")

    def check_names(self, task: str, names: Iterable[str]) -> None:
        """Raise ConfigError, with the nearest known name, for an unknown hyperparameter."""
        known = self.known(task) - set(OWN_KEYS)
        for key in names:
            if key in OWN_KEYS:
                raise ConfigError(
                    f"params.yaml: {self.name} takes no hyperparameter '{key}' under params; "
                    f"set {OWN_KEYS[key]}"
                )
            if key not in known:
                raise ConfigError(
                    f"params.yaml: {self.name} has no hyperparameter '{key}'{nearest(key, known)}"
                )


def validated(estimator: Any) -> Any:
    """Return an estimator of scikit-learn's after its own check of its hyperparameters.

    Where it is not fitted by its own method, or in parts, that would come too late or never.
    """
    estimator._validate_params()
    return estimator


def _is_finite(value: Any) -> bool:
    """Tell whether a value of params.yaml holds no infinite number and no NaN, at any depth."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def class_path(value: Any) -> str:
    """Return an object's class as skops names it: module and qualified name."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def loss_name(task: str) -> str:
    """Return what learning curves call the loss of a task."""
    return "rmse" if task == "regression" else "log_loss"


def history(train: list[float], stop: list[float], task: str) -> dict[str, list[float]]:
    """Return a learning curve by iteration: the losses of both parts."""
    return {
        "iteration": [float(i + 1) for i in range(len(stop))],
        f"train_{loss_name(task)}": [float(v) for v in train],
        f"stop_{loss_name(task)}": [float(v) for v in stop],
    }


@cache
def constructor_names(package: str, module: str, name: str) -> frozenset[str]:
    """Return the argument names of a class's constructor, read from its source.

    Names are checked before anything runs; importing the libraries for that would take seconds.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the package {package} is not installed; run `make env`")
    source = (Path(spec.origin).parent / module).read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    body = next(node.body for node in classes if node.name == name)
    init = next(
        node for node in body if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    return frozenset(argument.arg for argument in init.args.args + init.args.kwonlyargs) - {"self"}
