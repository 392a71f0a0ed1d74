from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.config.layout import main_tree
from lockstep.config.settings import (
    CONFIG_FILE,
    dagshub_uri,
    environment,
    is_on,
    load_settings,
)
from lockstep.errors import ConfigError

PROJECT = Path(__file__).parents[2]


def configure(root: Path, text: str) -> None:
    path = root / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_shipped_configuration_is_the_default(tmp_path):
    shipped, default = load_settings(PROJECT, environ={}), load_settings(tmp_path, environ={})
    for name in ("tracking_uri", "publish", "log_model", "default_stage", "registered_model_name"):
        assert getattr(shipped, name) == getattr(default, name)
    assert shipped.tracking_uri is None
    assert default.source_of("tracking_uri") == "the default"


def test_seed_configuration_is_understood(tmp_path):
    configure(
        tmp_path,
        """
mlflow:
  enabled: true
  tracking_uri: ""  # Set via MLFLOW_TRACKING_URI or DAGSHUB_REPO env vars
  experiment_name: "accident_prediction"
  log_model: true
  log_artifacts: true
  model_registry:
    registered_model_name: "Accident_Prediction"
    default_stage: "None"
    auto_transition_to_staging: false
    production_stage: "Production"
""",
    )
    found = load_settings(tmp_path, environ={})
    assert (found.experiment_name, found.registered_model_name) == (
        "accident_prediction",
        "Accident_Prediction",
    )
    assert (found.tracking_uri, found.initial_stage, found.publish) == (None, "None", True)


LAYERS = ("option", "environment", ".env", "config")


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(present=st.sets(st.sampled_from(LAYERS)), empty=st.sets(st.sampled_from(LAYERS)))
def test_the_first_layer_that_is_not_empty_wins(tmp_path, present, empty):
    def value(layer):
        return f"http://{layer.strip('.')}" if layer in present - empty else ""

    (tmp_path / ".env").write_text(f"MLFLOW_TRACKING_URI={value('.env')}\n")
    configure(tmp_path, f"mlflow: {{tracking_uri: '{value('config')}'}}")
    options = {"tracking_uri": value("option")}
    found = load_settings(tmp_path, options, {"MLFLOW_TRACKING_URI": value("environment")})
    expected = next((layer for layer in LAYERS if layer in present - empty), None)
    assert found.tracking_uri == (value(expected) if expected else None)
    shown = {
        "option": "the option --tracking-uri",
        "environment": "the variable MLFLOW_TRACKING_URI",
    }
    shown |= {"config": f"{CONFIG_FILE} (mlflow.tracking_uri)", None: "the default"}
    assert found.source_of("tracking_uri") == shown.get(expected, expected)


def test_in_one_layer_a_uri_goes_before_dagshub_and_a_higher_layer_before_both(tmp_path):
    both = {"MLFLOW_TRACKING_URI": "http://here", "DAGSHUB_REPO": "jane/cars"}
    assert load_settings(tmp_path, environ=both).tracking_uri == "http://here"
    (tmp_path / ".env").write_text("MLFLOW_TRACKING_URI=http://file\n")
    found = load_settings(tmp_path, environ={"DAGSHUB_REPO": "jane/cars"})
    assert found.tracking_uri == "https://dagshub.com/jane/cars.mlflow"
    assert found.source_of("tracking_uri") == "the variable DAGSHUB_REPO"


@pytest.mark.parametrize(
    "wrong", ["jane", "jane/", "/cars", "a/b/c", "https://dagshub.com/jane/cars", "ja ne/c"]
)
def test_a_malformed_dagshub_repository_is_named(wrong):
    with pytest.raises(ConfigError, match="USER/REPO"):
        dagshub_uri(wrong)


def test_dotenv_is_read_but_not_exported(tmp_path):
    (tmp_path / ".env").write_text("USE_BEST_MODEL=true\nEMPTY=\n")
    found = environment(tmp_path, {"EMPTY": ""})
    assert found["USE_BEST_MODEL"].source == ".env"
    assert "EMPTY" not in found
    import os

    assert "USE_BEST_MODEL" not in os.environ


def test_dotenv_is_utf_8_with_or_without_its_mark(tmp_path):
    (tmp_path / ".env").write_text("A=ü\n", encoding="utf-8-sig")
    assert environment(tmp_path, {})["A"].value == "ü"
    (tmp_path / ".env").write_text("A=1\n", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"\.env is not UTF-8 .*; save it as UTF-8") as caught:
        load_settings(tmp_path, environ={})
    assert "\n" not in str(caught.value)


def test_publishing_can_be_turned_off_for_one_call_and_says_where(tmp_path):
    found = load_settings(tmp_path, environ={"LOCKSTEP_PUBLISH": "0"})
    assert not found.publish
    assert found.source_of("publish") == "the variable LOCKSTEP_PUBLISH"
    assert not found.publish_later
    later = load_settings(tmp_path, environ={"LOCKSTEP_PUBLISH": "later"})
    assert (later.publish, later.publish_later) == (False, True)
    configure(tmp_path, "mlflow: {enabled: false}")
    off = load_settings(tmp_path, environ={"LOCKSTEP_PUBLISH": "1"})
    assert not off.publish
    assert off.source_of("publish") == str(CONFIG_FILE)
    with pytest.raises(ConfigError, match="neither on nor off"):
        is_on("perhaps", "LOCKSTEP_PUBLISH")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "mlflow: {model_registry: {default_stage: Production}}",
            "default_stage Production is refused",
        ),
        ("mlflow: {model_registry: {default_stage: Stagin}}", "default_stage"),
        ("mlflow: {trackin_uri: x}", "did you mean 'tracking_uri'"),
        ("mlflow: {model_registry: {registration_policy: if_beter}}", r"did you mean 'if_better'"),
        ("mlflow: {enabled: perhaps}", "mlflow.enabled"),
        ("mlflow: {timeout_seconds: 60}", "timeout_seconds"),
        (
            "mlflow: {model_registry: {default_stage: staging}}",
            r"'staging': input should be 'None', 'Staging', .*\(did you mean 'Staging'\?\)$",
        ),
        ("mlflow: {timeout_seconds: 1, timeout_seconds: 2}", "found duplicate key"),
        ("mlflow: [", "no valid YAML"),
        ("- a", "model_config.yaml"),
    ],
)
def test_a_wrong_configuration_is_one_line(tmp_path, text, message):
    configure(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings(tmp_path, environ={})
    assert "\n" not in str(caught.value)


def test_auto_transition_is_the_initial_stage_staging(tmp_path):
    configure(tmp_path, "mlflow: {model_registry: {auto_transition_to_staging: true}}")
    assert load_settings(tmp_path, environ={}).initial_stage == "Staging"


def test_main_tree_of_temporary_trees_and_worktrees(tmp_path):
    import subprocess

    main = tmp_path / "main tree"
    (main / ".dvc/tmp/exps/standalone/tmpabc").mkdir(parents=True)
    (main / "dvc.yaml").write_text("stages: {}\n")
    assert main_tree(main / ".dvc/tmp/exps/standalone/tmpabc") == main

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", *identity, *arguments], cwd=main, check=True, capture_output=True)

    git("init", "-q")
    git("add", "dvc.yaml")
    git("commit", "-qm", "first")
    git("worktree", "add", "-q", "--detach", str(tmp_path / "other tree"))
    assert main_tree(tmp_path / "other tree") == main
    assert main_tree(main) == main
