"""What a problem's model types are called in the registry."""

import pytest

from lockstep.errors import UsageError
from lockstep.models import naming
from lockstep.models.naming import registered_name
from lockstep.problems.schema import load_schema

OFFERED = ("logistic_regression", "random_forest", "xgboost", "lightgbm")


@pytest.fixture
def one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = load_schema("accidents").model_copy(update={"one_name": True})
    monkeypatch.setattr(naming, "load_schema", {"accidents": shared}.__getitem__)


def test_each_type_has_a_name_of_its_own() -> None:
    assert registered_name("accidents", "lightgbm") == "Accident_Prediction_LightGBM"
    assert registered_name("accidents", "xgboost", "Severity") == "Severity_XGBoost"


@pytest.mark.usefixtures("one_name")
def test_all_types_of_a_problem_may_be_versions_of_one_name() -> None:
    named = {registered_name("accidents", kind) for kind in ("xgboost", "random_forest")}
    assert named == {"Accident_Prediction"}
    assert registered_name("accidents", "xgboost", "Severity") == "Severity"


@pytest.mark.usefixtures("one_name")
def test_an_unknown_type_has_no_name_where_all_share_one_either() -> None:
    with pytest.raises(UsageError, match="did you mean 'xgboost'"):
        registered_name("accidents", "xgbost")


def test_a_run_tells_the_type_that_its_registered_name_does_not() -> None:
    from lockstep.models.naming import run_name

    assert run_name("accidents", "xgboost") == "xgboost"
    runs = [run_name("credit_risk", name) for name in OFFERED]
    assert runs == ["lr_credit_risk", "rf_credit_risk", "xgb_credit_risk", "lgb_credit_risk"]
