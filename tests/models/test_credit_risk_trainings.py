"""The trainings of credit_risk on a smaller sample.

They are monotone in the score and of one scale; approvals and what is told are tested too.
"""

import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.config.params import Decision, Sample, load_params
from lockstep.errors import ConfigError
from lockstep.evaluation.metrics import evaluate
from lockstep.features.encoder import encoder_of
from lockstep.features.matrices import classes_of, encode_parts
from lockstep.features.split import split_rows
from lockstep.models import artifact
from lockstep.models.matrices import Matrix, matrix_of
from lockstep.models.training_run import (
    Trained,
    TrainingInput,
    card_of,
    metrics_of,
    plot_tables,
    scored_rows,
    train,
)
from lockstep.problems.credit_risk.sample import applications
from lockstep.problems.schema import Schema, load_schema

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
PROJECT = Path(__file__).parents[2]
PARAMS = load_params(PROJECT)
TYPES = ("logistic_regression", "random_forest", "xgboost", "lightgbm")
SMALLER = {"random_forest": {"n_estimators": 30}, "xgboost": {"n_estimators": 80}}
GRID = np.arange(300, 851, 5)


@cache
def data(
    units: int = 12_000, flipped: bool = False
) -> tuple[Schema, Any, dict[str, Matrix], pd.DataFrame]:
    schema, section = load_schema("credit_risk"), PARAMS.problem("credit_risk")
    table = applications(Sample(units=units, seed=11)).to_pandas()
    table = table.assign(application_date=pd.to_datetime(table.application_date))
    for name in ("purpose", "housing", "earlier_default"):
        table[name] = table[name].astype("str")
    if flipped:  # rows that would teach the opposite
        table["credit_score"] = 1139.0 - table["credit_score"]
    table = table.astype({c.name: "float64" for c in schema.features if c.holds_numbers})
    encoder = encoder_of(schema, section.features)
    parts = split_rows(table, schema, section.split)
    matrices = encode_parts(table, parts, schema, classes_of(table, schema), encoder)
    return (
        schema,
        encoder,
        {k: matrix_of(v) for k, v in matrices.items()},
        table[(parts == "test").to_numpy()],
    )


def job_of(name: str, flipped: bool = False, **changed: Any) -> TrainingInput:
    schema, encoder, parts, _ = data(flipped=flipped)
    row = PARAMS.training("credit_risk", name)
    row = row.model_copy(
        update={"cv_folds": 0, **changed, "params": row.params | SMALLER.get(name, {})}
    )
    return TrainingInput(row, PARAMS.problem("credit_risk").decision, schema, encoder, parts)


@cache
def trained(name: str, flipped: bool = False) -> tuple[TrainingInput, Trained]:
    job = job_of(name, flipped)
    return job, train(job)


def over_scores(pipeline: Any, rows: pd.DataFrame) -> np.ndarray:
    """Each row's score (columns) with every credit score of the grid (rows) in its place."""
    many = pd.concat([rows.assign(credit_score=float(score)) for score in GRID], ignore_index=True)
    return pipeline.predict_proba(many)[:, 1].reshape(len(GRID), len(rows))


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_no_higher_credit_score_raises_the_score(name: str, flipped: bool) -> None:
    _, found = trained(name, flipped)
    rows = data(flipped=flipped)[3].sample(60, random_state=1)
    assert rows.isna().any(axis=None)
    grid = over_scores(found.pipeline, rows[load_schema("credit_risk").feature_names])
    assert np.diff(grid, axis=0).max() <= 1e-9
    if not flipped:
        assert (grid[0] - grid[-1]).mean() > 0.01


@pytest.mark.parametrize("name", ["random_forest", "xgboost", "lightgbm"])
def test_without_the_constraint_some_scores_rise(name: str) -> None:
    schema, encoder, parts, table = data()
    content = schema.model_dump()
    content["columns"]["credit_score"]["monotone"] = 0
    free = Schema.model_validate(content)
    row = job_of(name).training
    found = train(TrainingInput(row, PARAMS.problem("credit_risk").decision, free, encoder, parts))
    grid = over_scores(found.pipeline, table.sample(60, random_state=1)[schema.feature_names])
    assert np.diff(grid, axis=0).max() > 1e-3


@pytest.mark.parametrize("name", TYPES)
def test_all_types_are_on_the_balanced_scale(name: str) -> None:
    job, found = trained(name)
    card = card_of(job, found, "0" * 64)
    target = job.parts["train"].target
    assert card["score_scale"] == "balanced"
    assert card["positive_weight"] == pytest.approx((target == 0).sum() / (target == 1).sum())
    assert card["class_ratio"] == card["positive_weight"]
    assert card["monotone"] == {"credit_score": -1}
    assert card["registered_name"] == "credit-risk-model"
    # Classes that weigh alike put the mean score of both together near the middle.
    score, y = found.scores["test"], job.parts["test"].target
    assert 0.3 < (score[y == 1].mean() + score[y == 0].mean()) / 2 < 0.6


@pytest.mark.parametrize("name", TYPES)
def test_the_artifact_with_its_constraint_survives_the_round_trip(
    name: str, tmp_path: Path
) -> None:
    _, found = trained(name)
    digest = artifact.write_artifact(found.pipeline, tmp_path / "model.skops")
    again = artifact.read_artifact(tmp_path / "model.skops", digest)
    rows = data()[3][load_schema("credit_risk").feature_names].head(50)
    assert np.array_equal(again.predict_proba(rows), found.pipeline.predict_proba(rows))


def test_the_business_threshold_approves_most_and_their_defaults_are_far_fewer() -> None:
    schema, encoder, _, _ = data()
    job = TrainingInput(
        PARAMS.training("credit_risk", "lightgbm").model_copy(update={"cv_folds": 5}),
        PARAMS.problem("credit_risk").decision,
        schema,
        encoder,
        data(24_000)[2],
    )
    found = train(job)
    metrics = metrics_of(job, found)
    for part in ("validation", "test"):
        told = metrics["decided"][part]
        assert 0.8 <= told["approval_rate"] <= 0.9
        assert told["approval_rate"] + told["reject_rate"] == pytest.approx(1)
        assert told["positive_rate_approved"] < 0.06 < 0.4 < told["positive_rate_rejected"]
    assert found.threshold == 0.4542
    assert set(metrics["folds"]) == {"1", "2", "3", "4", "5"}
    aucs = [fold["roc_auc"] for fold in metrics["folds"].values()]
    assert metrics["cv"]["roc_auc"] == pytest.approx(np.mean(aucs))
    assert metrics["cv_std"]["roc_auc"] == pytest.approx(np.std(aucs, ddof=1))
    assert {"roc", "ks", "calibration", "importance", "history", "folds"} <= set(
        plot_tables(job, found)
    )


def test_the_logged_hyperparameters_are_those_of_the_seed() -> None:
    job, found = trained("lightgbm")
    told = card_of(job, found, "0" * 64)["params"]
    wanted = {
        "n_estimators": 100, "max_depth": 7, "num_leaves": 31, "learning_rate": 0.05,
        "subsample": 0.8, "colsample_bytree": 0.8, "reg_alpha": 1.0, "reg_lambda": 1.0,
        "is_unbalance": True, "random_state": 42,
    }  # fmt: skip
    assert {key: told[key] for key in wanted} == wanted
    names = list(job.parts["train"].features)
    assert told["monotone_constraints"] == [-1 if name == "credit_score" else 0 for name in names]


def test_a_calibrated_training_is_refused_for_this_threshold() -> None:
    with pytest.raises(
        ConfigError, match=r"assumes the balanced scale.*probability scores.*equivalent is 0\.1"
    ):
        train(job_of("lightgbm", calibration="sigmoid"))


def test_a_calibrated_training_at_the_equivalent_threshold_approves_about_as_many() -> None:
    from lockstep.decision.score_scale import equivalent

    job, found = trained("lightgbm")
    same = equivalent(0.4542, job.scale.positive_weight, 1.0)
    fixed = Decision(policy="fixed", threshold=same, scale="probability")
    other = TrainingInput(
        job_of("lightgbm", calibration="sigmoid").training,
        fixed,
        job.schema,
        job.encoder,
        job.parts,
    )
    approved = [
        metrics_of(j, t)["decided"]["test"]["approval_rate"]
        for j, t in ((job, found), (other, train(other)))
    ]
    assert approved[0] == pytest.approx(approved[1], abs=0.06)


def test_details_have_the_figures_before_and_after_calibration() -> None:
    job, found = trained("lightgbm")
    policy = Decision(policy="f1")
    plain = metrics_of(replace(job, decision=policy), found)
    assert "calibration" not in plain
    job = replace(job_of("lightgbm", calibration="sigmoid"), decision=policy)
    found = train(job)
    metrics = metrics_of(job, found)
    figures = metrics["calibration"]
    for part in ("validation", "test"):
        names = set(figures["before"][part])
        assert names == {"brier", "calibration_error", "log_loss"}
        assert figures["after"][part] == {name: metrics[part][name] for name in names}
        # The same estimator without calibration, whose scores are those of weighted classes.
        assert figures["before"][part] == {name: plain[part][name] for name in names}
        assert figures["after"][part]["brier"] < figures["before"][part]["brier"]
    curve = plot_tables(job, found)["calibration"]
    gaps = [
        np.abs(curve[f"{when}predicted"] - curve[f"{when}observed"]).mean()
        for when in ("uncalibrated_", "")
    ]
    assert gaps[1] < gaps[0] / 2


def test_the_threshold_of_the_best_f1_is_known_whatever_the_policy_is() -> None:
    job, found = trained("lightgbm")
    best = metrics_of(job, found)["best_f1_threshold"]
    by_f1 = replace(job, decision=Decision(policy="f1"))
    assert best == train(by_f1).threshold != found.threshold
    choose = job.parts["choose"].target
    f1 = [
        evaluate(scored_rows(job, t, choose, found.scores["choose"]))["f1"] for t in (best, 0.4542)
    ]
    assert f1[0] > f1[1]


def test_the_ks_curve_peaks_at_the_metric() -> None:
    job, found = trained("xgboost")
    curve = plot_tables(job, found)["ks"]
    assert curve["difference"].max() == pytest.approx(metrics_of(job, found)["test"]["ks"])
    assert curve["score"].is_monotonic_decreasing


@pytest.mark.parametrize("name", TYPES)
def test_importance_is_told_of_every_encoded_column(name: str) -> None:
    job, found = trained(name)
    table = plot_tables(job, found)["importance"]
    assert set(table["feature"]) == set(job.parts["train"].features)
    assert table["importance"].sum() == pytest.approx(1)


@pytest.mark.parametrize("calibration", ["none", "sigmoid"])
@pytest.mark.parametrize("name", ["logistic_regression", "lightgbm"])
def test_the_effects_are_those_of_the_model_that_is_served(name: str, calibration: str) -> None:
    job = replace(job_of(name, calibration=calibration), decision=Decision(policy="f1"))
    found = train(job)
    table = plot_tables(job, found)["effects"]
    model, choose = found.pipeline.named_steps["model"], job.parts["choose"].features
    score = table[table["feature"] == "credit_score"]
    known = score[score["value"] != ""]
    assert (known["effect"].diff().dropna() < 0).all()  # as the schema says
    sample = choose.iloc[np.unique(np.round(np.linspace(0, len(choose) - 1, 400)).astype(int))]
    for one in known.itertuples():
        alike = sample.assign(credit_score=float(one.value))
        assert one.effect == pytest.approx(model.predict_proba(alike)[:, 1].mean(), abs=1e-7)
    housing = table.loc[table["feature"] == "housing", "value"]
    codes = job.schema.columns["housing"].codes
    assert set(housing) <= {text or str(code) for code, text in codes.items()} | {""}


@pytest.mark.parametrize("name", TYPES)
def test_the_scorer_and_the_explanation_know_the_constrained_models(name: str) -> None:
    from lockstep.models.golden_rows import golden_rows
    from lockstep.models.scoring.contributions import Explainer
    from lockstep.models.scoring.scorer import Scorer

    schema, (_, found) = load_schema("credit_risk"), trained(name)
    rows = golden_rows(schema)
    columns = {
        c.name: rows[c.name].to_numpy(dtype=float)
        if c.holds_numbers
        else rows[c.name].astype(object).where(rows[c.name].notna(), None).to_numpy(dtype=object)
        for c in schema.features
    }
    expected = np.round(found.pipeline.predict_proba(rows)[:, 1].astype(np.float64), 8)
    assert np.array_equal(Scorer(found.pipeline, schema).score(columns, len(rows)), expected)
    told = Explainer(found.pipeline, schema).explain(columns, len(rows))
    assert np.abs(told.base + told.values.sum(axis=1) - told.margin).max() < 1e-4
