from pathlib import Path

import pytest

from lockstep.config.serving import load_serving
from lockstep.config.settings import CONFIG_FILE
from lockstep.errors import ConfigError

PROJECT = Path(__file__).parents[2]


def configure(root: Path, text: str) -> None:
    path = root / CONFIG_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_shipped_configuration_decides_credit_risk_by_the_business_threshold():
    found = load_serving(PROJECT, environ={})
    assert (found.problem, found.host, found.port) == ("credit_risk", "127.0.0.1", 8000)
    rule = found.decision_for("credit_risk")
    assert (rule.threshold, rule.scale, rule.band) == (0.4542, "balanced", 0)
    assert found.decision_for("accidents").threshold is None


def test_the_environment_goes_before_dot_env_and_that_before_the_file(tmp_path):
    configure(tmp_path, "serving: {port: 1111, host: 0.0.0.0, problem: accidents}\n")
    (tmp_path / ".env").write_text("PORT=2222\nHOST=::1\n")
    found = load_serving(tmp_path, environ={"PORT": "3333", "HOST": ""})
    assert (found.port, found.host, found.problem) == (3333, "::1", "accidents")
    assert found.source_of("port") == "the variable PORT"
    assert found.source_of("host") == ".env"
    assert found.source_of("problem") == f"{CONFIG_FILE} (serving.problem)"
    assert found.source_of("model_path") == "the default"


def test_a_threshold_of_the_environment_is_meant_on_the_configured_scale_unless_it_says_another(
    tmp_path,
):
    configure(tmp_path, "serving: {decisions: {accidents: {threshold: 0.3, scale: balanced}}}\n")
    assert (
        load_serving(tmp_path, {"DECISION_THRESHOLD": "0.2"}).decision_for("accidents").scale
        == "balanced"
    )
    given = load_serving(tmp_path, {"DECISION_THRESHOLD": "0.2", "DECISION_SCALE": "probability"})
    assert (given.decision_for("accidents").threshold, given.decision_for("accidents").scale) == (
        0.2,
        "probability",
    )


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("PORT", "http", "is no whole number"),
        ("PORT", "70000", "give 0 to 65535"),
        ("DECISION_THRESHOLD", "1.5", "give more than 0 and less than 1"),
        ("DECISION_THRESHOLD", "nan", "give more than 0 and less than 1"),
        ("DECISION_SCALE", "balance", "did you mean 'balanced'"),
        ("APPROVAL_BAND", "-0.1", "give at least 0 and less than 0.5"),
        ("MAX_ROWS", "0", "give 1 to"),
        ("REQUEST_SECONDS", "0", "give more than 0"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named_with_its_place(tmp_path, variable, value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_serving(tmp_path, environ={variable: value})
    assert variable in str(caught.value)


def test_the_prediction_log_is_a_folder_or_off(tmp_path):
    assert load_serving(tmp_path, {}).prediction_folder == tmp_path / ".lockstep/predictions"
    assert load_serving(tmp_path, {"PREDICTION_LOG": "0"}).prediction_folder is None
    assert (
        load_serving(tmp_path, {"PREDICTION_LOG": "kept/here"}).prediction_folder
        == tmp_path / "kept/here"
    )
