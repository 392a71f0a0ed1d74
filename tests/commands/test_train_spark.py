"""What a training on Spark writes to params.yaml, and what it refuses before it writes."""

import shutil
from pathlib import Path

import pytest

from lockstep.commands import train_spark
from lockstep.config.params_file import with_values
from lockstep.errors import UsageError

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    return tmp_path


def test_a_forest_with_monotone_columns_is_refused_before_anything_is_written(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_spark, "resolve_name", lambda name: lambda *_: None)
    before = (root / "params.yaml").read_bytes()
    with pytest.raises(UsageError, match=r"can't be trained: .* \(credit_score\); train it by"):
        train_spark.train_on_spark(root, "credit_risk", ["random_forest"])
    assert (root / "params.yaml").read_bytes() == before


def test_a_forest_that_is_left_out_is_not_trained_either(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    types, values = train_spark.declared(root, "credit_risk", [])
    assert "spark_random_forest" not in types
    assert len(values) == len(types) + 1
    own = {"problem": "credit_risk", "type": "random_forest", "params": {"n_estimators": 5}}
    values["train_spark", "credit_risk-random_forest"] = own
    text = with_values((root / "params.yaml").read_text(), values)
    (root / "params.yaml").write_text(text)
    assert train_spark.declared(root, "credit_risk", []) == (types, {})
    assert capsys.readouterr().out.count("random_forest is left out: on Spark") == 2


def test_a_type_named_twice_is_trained_once(root: Path) -> None:
    types, _ = train_spark.declared(root, "accidents", ["xgboost", "spark_xgboost"])
    assert types == ["spark_xgboost"]
