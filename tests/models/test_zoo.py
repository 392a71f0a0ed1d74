"""Every type is built from one entry, and what it does not know it refuses with the fix."""

import inspect
import subprocess
import sys

import pytest

from lockstep.errors import ConfigError, UsageError
from lockstep.models import zoo
from lockstep.models.matrices import Columns
from lockstep.models.naming import TYPE_NAMES
from lockstep.models.zoo import Recipe


def _recipe(columns: Columns, task: str = "binary", **params: object) -> Recipe:
    return Recipe(task, columns, params, seed=3, n_jobs=2)


def test_every_type_has_a_registered_name() -> None:
    assert set(zoo.TYPES) == set(TYPE_NAMES)


@pytest.mark.parametrize("name", zoo.TYPES)
def test_every_type_is_built_for_each_of_its_tasks(name: str, columns: Columns) -> None:
    for task in zoo.TYPES[name].tasks:
        estimator = zoo.build(name, _recipe(columns, task))
        assert hasattr(estimator, "predict_proba") == (task != "regression")


@pytest.mark.parametrize(
    ("name", "key", "meant"),
    [
        ("xgboost", "max_dept", "max_depth"),
        ("lightgbm", "num_leafs", "num_leaves"),
        ("lightgbm", "cat_smoth", "cat_smooth"),
        ("random_forest", "n_estimator", "n_estimators"),
        ("logistic_regression", "bin", "bins"),
    ],
)
def test_a_misspelt_hyperparameter_names_the_nearest(
    name: str, key: str, meant: str, columns: Columns
) -> None:
    with pytest.raises(
        ConfigError, match=f"{name} has no hyperparameter '{key}' .did you mean '{meant}'"
    ):
        zoo.build(name, _recipe(columns, **{key: 1}))


def test_the_names_read_from_the_sources_are_the_constructors_own() -> None:
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from xgboost.sklearn import XGBModel

    for kind in (
        RandomForestClassifier,
        RandomForestRegressor,
        XGBModel,
        LGBMClassifier,
        LGBMRegressor,
    ):
        package, _, module = kind.__module__.partition(".")
        names = set(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"}
        assert zoo._signature(package, f"{module.replace('.', '/')}.py", kind.__name__) == names


def test_names_are_checked_without_importing_what_they_belong_to() -> None:
    code = (
        "import sys; from lockstep.models.zoo import TYPES;"
        "[entry.known(task) for entry in TYPES.values() for task in entry.tasks];"
        "print({'sklearn', 'xgboost', 'lightgbm', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "random_forest"])
@pytest.mark.parametrize("key", ["random_state", "n_jobs"])
def test_what_is_set_elsewhere_is_refused(name: str, key: str, columns: Columns) -> None:
    with pytest.raises(ConfigError, match=rf"takes no hyperparameter '{key}' under params; set "):
        zoo.build(name, _recipe(columns, **{key: 1}))


def test_unknown_type_and_wrong_task_say_what_there_is(columns: Columns) -> None:
    with pytest.raises(UsageError, match="did you mean 'xgboost'"):
        zoo.build("xgbost", _recipe(columns))
    with pytest.raises(
        ConfigError, match="types that can: ridge, random_forest, xgboost, lightgbm"
    ):
        zoo.build("logistic_regression", _recipe(columns, "regression"))


@pytest.mark.parametrize("name", ["random_forest", "xgboost", "lightgbm"])
def test_monotone_columns_are_kept_to_their_direction(name: str, columns, train, stop) -> None:
    from lockstep.models.training import fit, scores

    against = Columns(columns.kinds, {"speed": -1})  # against the data: the constraint must win
    recipe = Recipe("binary", against, {"n_estimators": 20}, n_jobs=1)
    model = fit(name, recipe, train, stop).estimator
    rows = train.features.head(200)
    low = scores(model, rows.assign(speed=30.0), "binary")
    high = scores(model, rows.assign(speed=110.0), "binary")
    assert (high <= low + 1e-9).all()
