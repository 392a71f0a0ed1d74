"""What a new user does in the first hour, typed as documented."""

import json
import re

import pytest
from tests.journey.conftest import ACCIDENTS, lend_environment
from tests.journey.documented_commands import commands, page
from tests.journey.served import answers_while_served

TYPES = ["XGBoost", "Random_Forest", "Logistic_Regression", "LightGBM"]
NAME, LIGHTGBM = "Accident_Prediction_XGBoost", "Accident_Prediction_LightGBM"
MANAGE = "python scripts/manage_model_registry.py"
PREDICT = "python src/models/predict_model.py src/models/test_features.json"


def versions(project, name=NAME):
    return json.loads(project.run(f"{MANAGE} list-versions --model-name {name} --json 2>/dev/null"))


def probability(answer):
    return (answer[0] if isinstance(answer, list) else answer)["probability"]


def test_run_train_prints_the_comparison_and_what_to_do_next(run_train_output):
    for kind in ("xgboost", "lightgbm", "random_forest", "logistic_regression"):
        assert kind in run_train_output
    assert "best reachable" in run_train_output.lower()
    assert "What to do next" in run_train_output


def test_every_type_is_registered_once_in_stage_none(trained):
    for kind in TYPES:
        found = versions(trained, f"Accident_Prediction_{kind}")
        assert [(int(v["version"]), v["stage"]) for v in found] == [(1, "None")]


def test_a_second_repro_changes_nothing_also_where_runs_go_elsewhere(own):
    own.edit("src/config/model_config.yaml", r'experiment_name: ""', "experiment_name: elsewhere")
    output = own.run("dvc repro")
    assert "didn't change, skipping" in output
    assert "Running stage 'train_multi_model" not in output
    assert [int(v["version"]) for v in versions(own)] == [1]


def test_the_tutorial_as_typed(own):
    typed = commands(page("tutorial"))
    train, _, *release, serve, ask = typed[:8]
    again, differ, refuse, force, back, history, undo, restore, _ = typed[8:]
    assert train == "make run-train", "what the fixture did"
    listed, _, promoted, predicted = [own.run(command) for command in release]
    assert listed.count("lightgbm") == 1
    assert "the first there: passed" in promoted
    assert f"{LIGHTGBM}        1  Production" in predicted
    (answer,) = answers_while_served(own, serve, [ask])
    assert (answer["model"], answer["version"]) == (LIGHTGBM, 1)
    own.edit("params.yaml", "n_estimators: 2000", "n_estimators: 20")
    assert trained_again(own.run(again)) == ["accidents-lightgbm"]
    assert "val_roc_auc" in own.run(differ)
    assert "version 2 does not go into Production" in own.run(refuse, code=1)
    own.run(force)
    assert "version 1: Archived → Production" in own.run(back)
    assert "to try a rollback" in own.run(history)
    own.run(f"{undo} && {restore}")
    assert trained_again(own.run(again)) == []
    assert [(v["version"], v["stage"]) for v in versions(own, LIGHTGBM)] == [
        (2, "None"),
        (1, "Production"),
    ]
    assert [int(v["version"]) for v in versions(own)] == [1]


def trained_again(output):
    return re.findall("^Running stage 'train_multi_model@(.*)'", output, re.MULTILINE)


def test_another_sample_is_another_sample_also_for_dvc_s_run_cache(own):
    """DVC's run cache does not see keys called size: a larger sample came back as the old one."""
    before = own.run("wc -l < data/accidents/raw/true_probability.csv")
    own.edit("params.yaml", f"units: {ACCIDENTS}", f"units: {ACCIDENTS + 100}")
    own.run("dvc repro import_raw@accidents")
    assert int(own.run("wc -l < data/accidents/raw/true_probability.csv")) > int(before)


def test_a_moved_folder_works(trained, tmp_path):
    moved = trained.copy(tmp_path / "before")
    target = tmp_path / "after the move"
    moved.folder.rename(target)
    moved = type(moved)(target, moved.home)
    moved.run("dvc repro")
    assert [int(v["version"]) for v in versions(moved)] == [1]
    assert "PROBABILITY" in moved.run(f"{PREDICT} --model-name {NAME} --version 1")


def test_the_environment_says_which_model_predicts(own):
    own.run(f"{MANAGE} promote --model-name {NAME} --stage Production")
    by_environment = json.loads(
        own.run(f"{PREDICT} --json 2>/dev/null", USE_MLFLOW_PRODUCTION="true")
    )
    best = json.loads(own.run(f"{PREDICT} --json 2>/dev/null", USE_BEST_MODEL="true"))
    local = json.loads(
        own.run(f"{PREDICT} --model-path models/xgboost_model.joblib --json 2>/dev/null")
    )
    assert by_environment == best
    assert probability(best) == pytest.approx(probability(local), abs=1e-9)


@pytest.mark.long
def test_those_types_only(own):
    own.edit("params.yaml", "n_estimators: 3000", "n_estimators: 30")
    own.edit("params.yaml", r"(accidents-lightgbm:\n(?:.*\n){4,8}?.*num_leaves: )\d+", r"\g<1>15")
    output = own.run("python src/models/train_multi_model.py --models xgboost random_forest")
    assert "Running stage 'train_multi_model@accidents-xgboost'" in output
    assert "Running stage 'train_multi_model@accidents-lightgbm'" not in output
    assert len(versions(own)) == 2


def test_an_unknown_type_is_a_usage_error_with_the_nearest(trained):
    output = trained.run("python src/models/train_multi_model.py --models xgbost", code=2)
    assert "did you mean 'xgboost'?" in output


def test_dvc_s_status_names_what_runs_always(trained):
    assert "register:\n" in trained.run("dvc status")


def test_metrics_and_plots_are_useful(trained, tmp_path):
    assert "roc_auc" in trained.run("dvc metrics show")
    trained.run(f"dvc plots show -o '{tmp_path / 'plots'}'")
    page = (tmp_path / "plots" / "index.html").read_text()
    for kind in ("xgboost", "lightgbm", "random_forest", "logistic_regression"):
        assert kind in page


@pytest.mark.long
def test_data_and_models_travel_through_a_remote_and_fill_an_empty_store(own, tmp_path):
    own.run(
        f"make dvc-remote URL='{tmp_path / 'storage'}' "
        "&& git add -A && git commit -qm remote && dvc push"
    )
    own.run(f"git clone -q . '{tmp_path / 'colleague'}'")
    colleague = type(own)(tmp_path / "colleague", own.home)
    lend_environment(colleague.folder)
    colleague.run("make dvc-pull")
    output = colleague.run("dvc repro")
    assert "Running stage 'train_multi_model" not in output
    for kind in TYPES:
        assert [int(v["version"]) for v in versions(colleague, f"Accident_Prediction_{kind}")] == [
            1
        ]


def test_pulling_without_a_remote_says_how_to_set_one(trained):
    assert "make dvc-remote URL=" in trained.run("make dvc-pull", code=2)
