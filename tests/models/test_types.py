"""A model type is one file, found by its name, and it rejects what it doesn't know."""

import ast
import inspect
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lockstep
from lockstep.errors import ConfigError, UsageError
from lockstep.models import types
from lockstep.models.matrices import Columns
from lockstep.models.model_type import ModelType, Recipe, constructor_names
from lockstep.models.naming import registered_name
from lockstep.models.training import fit, scores
from lockstep.models.types import build, local_types, model_type, model_types, type_names


def _recipe(columns: Columns, task: str = "binary", **params: object) -> Recipe:
    return Recipe(task, columns, params, seed=3, n_jobs=2)


def test_no_two_types_have_the_same_place_or_name() -> None:
    for part in ("place", "registered_part", "short_name", "estimators"):
        # What Spark trains is an estimator of one of the others.
        kinds = model_types() if part != "estimators" else local_types()
        values = [getattr(kind, part) for kind in kinds]
        assert len(set(values)) == len(values), part


@pytest.mark.parametrize("name", type_names())
def test_every_type_is_built_for_each_of_its_tasks(name: str, columns: Columns) -> None:
    for task in model_type(name).tasks:
        estimator = build(name, _recipe(columns, task))
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
        build(name, _recipe(columns, **{key: 1}))


@pytest.mark.parametrize(
    ("name", "params", "shown"),
    [
        ("logistic_regression", {"C": math.inf}, "C is inf"),
        ("xgboost", {"learning_rate": math.nan}, "learning_rate is nan"),
        (
            "random_forest",
            {"class_weight": {0: 1, 1: -math.inf}},
            "class_weight is {0: 1, 1: -inf}",
        ),
    ],
)
def test_a_hyperparameter_is_finite(
    name: str, params: dict[str, object], shown: str, columns: Columns
) -> None:
    with pytest.raises(ConfigError, match=f"{name}: {re.escape(shown)}; give a finite number"):
        build(name, _recipe(columns, **params))


@pytest.mark.parametrize("kind", model_types(), ids=lambda kind: kind.name)
def test_a_boosting_knows_the_bound_of_its_rounds(kind: ModelType, columns: Columns) -> None:
    assert bool(kind.rounds_key) == bool(kind.draft.early_stopping_rounds)
    if kind.rounds_key:
        assert kind.most_rounds(_recipe(columns)) == 100  # the default of all three libraries
        assert kind.most_rounds(_recipe(columns, **{kind.rounds_key: 7})) == 7


def test_the_names_read_from_the_sources_are_the_constructors_own() -> None:
    from lightgbm import LGBMClassifier, LGBMRegressor
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
    )
    from xgboost.sklearn import XGBModel

    for kind in (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        HistGradientBoostingRegressor,
        RandomForestClassifier,
        RandomForestRegressor,
        XGBModel,
        LGBMClassifier,
        LGBMRegressor,
    ):
        package, _, module = kind.__module__.partition(".")
        names = set(inspect.signature(kind.__init__).parameters) - {"self", "kwargs"}
        assert constructor_names(package, f"{module.replace('.', '/')}.py", kind.__name__) == names


def test_names_are_checked_without_importing_what_they_belong_to() -> None:
    code = (
        "import sys; from lockstep.models.types import model_types;"
        "[kind.known(task) for kind in model_types() for task in kind.tasks];"
        "print({'sklearn', 'xgboost', 'lightgbm', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "random_forest"])
@pytest.mark.parametrize("key", ["random_state", "n_jobs"])
def test_what_is_set_elsewhere_is_refused(name: str, key: str, columns: Columns) -> None:
    with pytest.raises(ConfigError, match=rf"takes no hyperparameter '{key}' under params; set "):
        build(name, _recipe(columns, **{key: 1}))


def test_unknown_type_and_wrong_task_say_what_there_is(columns: Columns) -> None:
    with pytest.raises(UsageError, match="did you mean 'xgboost'"):
        build("xgbost", _recipe(columns))
    with pytest.raises(
        ConfigError, match="types that can: ridge, random_forest, xgboost, lightgbm, extra_trees"
    ):
        build("logistic_regression", _recipe(columns, "regression"))


@pytest.mark.parametrize(
    "name", ["random_forest", "xgboost", "lightgbm", "extra_trees", "hist_gradient_boosting"]
)
def test_monotone_columns_are_kept_to_their_direction(name: str, columns, train, stop) -> None:
    against = Columns(columns.kinds, {"speed": -1})  # against the data: the constraint must win
    steps = "max_iter" if name == "hist_gradient_boosting" else "n_estimators"
    recipe = Recipe("binary", against, {steps: 20}, n_jobs=1)
    model = fit(name, recipe, train, stop).estimator
    rows = train.features.head(200)
    low = scores(model, rows.assign(speed=30.0), "binary")
    high = scores(model, rows.assign(speed=110.0), "binary")
    assert (high <= low + 1e-9).all()


SOURCE = Path(lockstep.__file__).parent
DEFAULT = SOURCE / "config" / "settings.py"
"""Names the type that is loaded by default."""


def literals(file: Path) -> list[str]:
    """Return a file's string literals without docstrings and other texts that stand alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone
    ]


def test_no_code_outside_the_types_names_one() -> None:
    named = re.compile(rf"(?:{'|'.join(type_names())})(?:\.[\w.]*)?")
    exempt = {DEFAULT, SOURCE / "code" / "pins.py"}  # the latter names distributions, not types
    files = [f for f in SOURCE.rglob("*.py") if f.parent.name != "types" and f not in exempt]
    found = {f.name: [v for v in literals(f) if named.fullmatch(v)] for f in files}
    assert {name: values for name, values in found.items() if values} == {}
    assert [v for v in literals(DEFAULT) if named.fullmatch(v)] == ["xgboost"]


@pytest.fixture
def type_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Add a type file, beside the real ones, for the length of a test."""

    def forget() -> None:
        for known in (types.type_names, types.model_type, types.model_types):
            known.cache_clear()

    def add(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        forget()

    monkeypatch.setattr(types, "__path__", [*types.__path__, str(tmp_path)])
    yield add
    for file in tmp_path.glob("*.py"):
        sys.modules.pop(f"{types.__name__}.{file.stem}", None)
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("class Type:\n    pass\n", r"toy.py declares no class Type\(ModelType\)"),
        ("def Type(:\n", r"toy.py can't be imported: invalid syntax"),
        ("import no_such_library\n", r"toy.py can't be imported: No module named 'no_such_"),
        (
            "from lockstep.models.types.ridge import Type as Ridge\n"
            "from lockstep.models.model_type import ModelType\n"
            "class Type(ModelType):\n    place = 9\n"
            "    tasks = Ridge.tasks\n    draft = Ridge.draft\n"
            "    build = Ridge.build\n    known = Ridge.known\n    scorer = Ridge.scorer\n",
            "toy.py: Type lacks registered_part, short_name, estimators, fit, importance;",
        ),
    ],
)
def test_a_type_file_with_a_missing_part_is_one_clear_line(
    type_file: Callable[[str, str], None], text: str, fault: str
) -> None:
    type_file("toy", text)
    with pytest.raises(ConfigError, match=fault) as raised:
        model_type("toy")
    assert "\n" not in str(raised.value)


def test_a_file_is_all_that_a_new_type_needs(
    type_file: Callable[[str, str], None], columns, train, stop
) -> None:
    type_file(
        "toy",
        "from lockstep.models.types.xgboost import Type as Xgboost\n"
        "class Type(Xgboost):\n    place = 9\n"
        "    registered_part = 'Toy'\n    short_name = 'toy'\n",
    )
    type_file("_shared", "raise AssertionError('no type')\n")
    assert "toy" in type_names()
    assert "_shared" not in type_names()
    assert registered_name("accidents", "toy") == "Accident_Prediction_Toy"
    fitted = fit("toy", Recipe("binary", columns, {"n_estimators": 5}), train, stop)
    assert scores(fitted.estimator, stop.features, "binary").shape == (len(stop),)
    with pytest.raises(ConfigError, match=r"toy has no hyperparameter 'max_dept' .did you mean"):
        model_type("toy").check_params("binary", {"max_dept": 3})


def test_an_unknown_type_never_gets_to_another_ones_fitter(columns, train, stop) -> None:
    with pytest.raises(UsageError, match="unknown model type 'catboost'"):
        fit("catboost", Recipe("binary", columns), train, stop)
