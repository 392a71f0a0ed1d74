"""What `train_spark.py` compares at its end: only models that are trained here."""

from types import SimpleNamespace

import pytest
from tests.engines.prepared import params

from lockstep.commands import train_spark
from lockstep.config.layout import SPARK, ProblemLayout
from lockstep.models.type_metrics import type_metrics_file


@pytest.mark.parametrize("trained_here", [True, False])
def test_a_fresh_clone_has_metrics_of_models_that_nobody_trained_there(
    tmp_path, monkeypatch, trained_here
):
    """git brings the metrics of one machine's models, and their scores are missing."""
    called = []
    monkeypatch.setattr(train_spark, "dvc", SimpleNamespace(repro=lambda *w: called.append(w[1:])))
    compare = lambda *words: ({}, {}, f"compared {words[2]}")  # noqa: E731
    monkeypatch.setattr(train_spark, "compare_models", SimpleNamespace(compare=compare))
    own = params()
    here, there = own.problem("accidents").model_types, ["spark_xgboost"]
    declared = SimpleNamespace(problem=own.problem, spark_types=lambda _: there)
    layout = ProblemLayout(tmp_path, "accidents")
    for name in [*here, *there]:
        files = [type_metrics_file(layout, name), layout.scores(name)]
        for path in files if trained_here or name in there else files[:1]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    said = train_spark._compared(tmp_path, declared, "accidents", there)
    if trained_here:
        assert called == [("--single-item", "spark/dvc.yaml:compare_engines@accidents")]
        assert f"{SPARK}/metrics/accidents/model_comparison.csv" in said
    else:
        assert (called, said) == ([], "compared ['spark_xgboost']")
