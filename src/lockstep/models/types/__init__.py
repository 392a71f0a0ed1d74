"""The model types, one file each: its name is the type's, its class ``Type`` declares everything.

A file whose name begins with ``_`` is no type; types share such files. To add a type, add a file.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from lockstep.errors import ConfigError, DataError, UsageError, unknown
from lockstep.models.model_type import ModelType, Recipe, class_path

CODE_MODULES = ("lockstep.models.types.{type}",)
"""What a training imports by name: its own type."""
REQUIRED = ("place", "tasks", "registered_part", "short_name", "estimators", "draft")
"""What a type's class must set; Python itself lists the methods that are missing."""


@cache
def type_names() -> tuple[str, ...]:
    """Return the names of all types, which are those of their files."""
    return tuple(m.name for m in iter_modules(__path__) if not m.name.startswith("_"))


@cache
def model_type(name: str) -> ModelType:
    """Return a type by its name.

    Raises UsageError for an unknown one, ConfigError for a file that is not a whole type.
    """
    if name not in type_names():
        raise UsageError(unknown("model type", name, [kind.name for kind in local_types()]))
    file = f"models/types/{name}.py"
    try:
        module = import_module(f"{__name__}.{name}")
    except (SyntaxError, ImportError) as error:
        raise ConfigError(f"{file} can't be imported: {error}") from error
    kind = getattr(module, "Type", None)
    if not (isinstance(kind, type) and issubclass(kind, ModelType)):
        raise ConfigError(f"{file} declares no class Type(ModelType); see models/model_type.py")
    missing = [part for part in REQUIRED if not hasattr(kind, part)]
    if missing := [*missing, *sorted(kind.__abstractmethods__)]:
        raise ConfigError(f"{file}: Type lacks {', '.join(missing)}; see models/model_type.py")
    kind.name = name
    return kind()


@cache
def model_types() -> tuple[ModelType, ...]:
    """Return all types in the order of listings."""
    return tuple(sorted(map(model_type, type_names()), key=lambda kind: kind.place))


def local_types() -> tuple[ModelType, ...]:
    """Return the types that this machine trains without Spark."""
    return tuple(kind for kind in model_types() if not kind.engine)


def type_of(estimator: Any) -> ModelType:
    """Return a fitted estimator's type; DataError for an estimator of no type."""
    own = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    for kind in local_types():
        if class_path(own) in kind.estimators:
            return kind
    known = sorted(path.rpartition(".")[2] for kind in model_types() for path in kind.estimators)
    raise DataError(f"a {type(own).__name__} can't be served; types that can: {', '.join(known)}")


def check_recipe(kind: ModelType, recipe: Recipe) -> None:
    """Raise ConfigError, with the fix, for what the type doesn't support."""
    if recipe.task not in kind.tasks:
        able = [other.name for other in local_types() if recipe.task in other.tasks]
        raise ConfigError(f"{kind.name} can't do {recipe.task}; types that can: {', '.join(able)}")
    kind.check_params(recipe.task, recipe.params)
    kind.check_columns(recipe)


def build(name: str, recipe: Recipe) -> Any:
    """Return a type's estimator, not fitted, after checking the recipe."""
    kind = model_type(name)
    check_recipe(kind, recipe)
    return kind.build(recipe)
