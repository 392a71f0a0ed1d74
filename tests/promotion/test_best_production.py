import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from tests.promotion.competing_models import (
    SHARES,
    STRONG,
    WEAK,
    enter,
    model,
    parts,
    tidy,
    write_data,
)

from lockstep.config.layout import ProblemLayout
from lockstep.decision.decision_rule import DecisionRule
from lockstep.errors import RegistryError
from lockstep.io import write_parquet
from lockstep.problems.schema import load_schema
from lockstep.promotion.best_production import best_production, recorded_scores
from lockstep.promotion.scoring import scored_from
from lockstep.registry.lifecycle.moves import promote
from lockstep.registry.store.versions import Version

XGBOOST, FOREST = "Accident_Prediction_XGBoost", "Accident_Prediction_Random_Forest"


def best(home):
    return best_production(home.client, home.root, "accidents")


def production(home, name, pipeline, **tags):
    promote(home.client, name, home.register(name, pipeline, **tags))


def test_recorded_scores_decide_on_the_same_rows(home, pipeline):
    production(home, FOREST, pipeline, data_digest="d", validation_roc_auc=0.81)
    production(home, XGBOOST, pipeline, data_digest="d", validation_roc_auc=0.82)
    home.register(FOREST, pipeline, data_digest="d", validation_roc_auc=0.99)  # not in Production
    found = best(home)
    assert found.version.name == XGBOOST
    assert "best roc_auc 0.8200 of 2 in Production, recorded on the same rows" in found.reason


def test_equal_scores_go_to_the_first_name(home, pipeline):
    for name in (XGBOOST, FOREST):
        production(home, name, pipeline, data_digest="d", validation_roc_auc=0.8)
    assert best(home).version.name == FOREST


def test_the_only_one_needs_no_scores(home, pipeline):
    production(home, XGBOOST, pipeline)
    assert best(home).version.name == XGBOOST


def test_models_of_other_problems_do_not_count(home, pipeline):
    production(home, XGBOOST, pipeline)
    production(home, "credit-risk-model", pipeline, problem="credit_risk")
    assert best(home).version.name == XGBOOST


def test_none_in_production_says_how_to_promote(home, pipeline):
    with pytest.raises(
        RegistryError, match="no model of accidents is registered; run `make run-train"
    ):
        best(home)
    home.register(XGBOOST, pipeline)
    with pytest.raises(
        RegistryError, match=f"is in Production; promote one: .* --model-name {XGBOOST}$"
    ):
        best(home)


def test_scores_on_different_rows_are_never_compared(home, pipeline):
    production(home, FOREST, pipeline, data_digest="one", validation_roc_auc=0.9)
    production(home, XGBOOST, pipeline, data_digest="two", validation_roc_auc=0.8)
    with pytest.raises(
        RegistryError, match=r"Random_Forest 1, .*XGBoost 1 were scored on different rows"
    ):
        best(home)


def test_different_rows_are_scored_anew_on_those_that_none_has_seen(home):
    write_data(home.root)
    seen = {XGBOOST: "train stop choose", FOREST: "train"}
    for (name, parts_seen), kind in zip(seen.items(), (STRONG, WEAK), strict=True):
        told = {"data_digest": name, "validation_roc_auc": 0.5}
        promote(home.client, name, enter(home, name, kind, parts_seen, **told))
    found = best(home)
    assert found.version.name == XGBOOST
    unseen = (parts(tidy()) == "test").to_numpy()
    again = f"scored again on {unseen.sum():,} rows of this workspace that none of them has seen"
    assert again in found.reason
    rows = tidy()[unseen]
    chance = model(STRONG).predict_proba(rows[load_schema("accidents").feature_names])[:, 1]
    exact = roc_auc_score(rows["grav"], chance)
    assert f"best roc_auc {exact:.4f} of 2" in found.reason


def test_versions_that_have_seen_every_row_are_not_compared(home):
    write_data(home.root)
    for name, kind in ((XGBOOST, STRONG), (FOREST, WEAK)):
        promote(home.client, name, enter(home, name, kind, " ".join(SHARES), data_digest=name))
    with pytest.raises(
        RegistryError, match=r"on every row of accidents .*or name one with --model"
    ):
        best(home)


def test_unseen_rows_of_one_class_are_told_with_the_models(home, monkeypatch):
    write_data(home.root)
    table = tidy()
    one_class = table["grav"].where(table.index < len(table) // 2, 0)
    write_parquet(ProblemLayout(home.root, "accidents").tidy, table.assign(grav=one_class))
    for name, kind in ((XGBOOST, STRONG), (FOREST, WEAK)):
        told = enter(home, name, kind, "train stop choose", data_digest=name)
        promote(home.client, name, told)
    with pytest.raises(RegistryError, match=r"were scored on different rows.*--model-name"):
        best(home)


def test_a_lower_loss_is_better(home, pipeline):
    import yaml

    params = yaml.safe_load((home.root / "params.yaml").read_text())
    params["problems"]["accidents"]["compare"]["metric"] = "log_loss"
    (home.root / "params.yaml").write_text(json.dumps(params))
    production(home, FOREST, pipeline, data_digest="d", validation_log_loss=0.4)
    production(home, XGBOOST, pipeline, data_digest="d", validation_log_loss=0.5)
    assert best(home).version.name == FOREST


@pytest.mark.parametrize(
    "tags",
    [[{"data_digest": "d"}, {}], [{}, {}], [{"data_digest": "d", "validation_roc_auc": "x"}] * 2],
)
def test_scores_that_nobody_recorded_are_none(tags):
    versions = [
        Version(XGBOOST, n, 0, None, "", "None", {f"lockstep.{k}": v for k, v in t.items()})
        for n, t in enumerate(tags, start=1)
    ]
    assert recorded_scores(versions, "roc_auc") is None


def test_a_threshold_of_zero_is_a_threshold_and_a_missing_one_is_the_default():
    target, scores = np.array([0, 1]), np.array([0.2, 0.3])
    zero, missing = (
        scored_from(DecisionRule("binary", threshold), scores, target, ())
        for threshold in (0.0, None)
    )
    assert (zero.threshold, zero.decided.tolist()) == (0.0, [1, 1])
    assert (missing.threshold, missing.decided.tolist()) == (0.5, [0, 0])
    numbers = scored_from(DecisionRule("regression"), scores, target, ())
    assert numbers.task == "regression"
