"""Each check on its own, on scores made for it; test_gate_report.py has real versions."""

import json
from types import SimpleNamespace

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.checks import CheckResult, computed_once, run_checks
from lockstep.config.gates import CalibrationGate, ChampionGate, Gates
from lockstep.errors import RegistryError
from lockstep.evaluation.metrics import Scored
from lockstep.problems.schema import Schema, load_schema
from lockstep.promotion import gates
from lockstep.promotion.gates import (
    LONGEST_SUMMARY,
    Case,
    Sides,
    Verdict,
    champion_of,
    needs_gate,
)
from lockstep.promotion.holdout import Holdout
from lockstep.registry.record.events import End as Ended
from lockstep.registry.record.events import Event, Record, Step, Who
from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.versions import Version
from lockstep.serving.http_request import Refusal
from lockstep.serving.request_parsing import RecordReader

COUNT = 3000


def version(number=2, **tags):
    told = {"problem": "accidents", **tags}
    return Version(
        "M", number, 0, "run", "", "None", {f"lockstep.{k}": str(v) for k, v in told.items()}
    )


def model(*events, versions=2, stages=None):
    held = tuple(
        Version("M", n, 0, None, "", "None", {}, recorded=(stages or {}).get(n))
        for n in range(1, versions + 1)
    )
    return Model("M", held, {}, Record(events))


def promotion(number, version, was, now, left=None):
    steps = (*([Step(left, "Production", "Archived")] if left else []), Step(version, was, now))
    return Event(number, "promote", Who("a"), "", "", "", steps=steps, end=Ended("done", ""))


def case(one, other, told=None, metric="roc_auc", monkeypatch=None, **tags):
    table = pd.DataFrame(
        {name: np.ones(len(one.target)) for name in load_schema("accidents").slices}
    )
    rows = Holdout(table, one.target, np.arange(len(one.target)) // 2, [0, 1], "d")
    found = Case(None, None, model(stages={1: "Production"}), version(**tags), told or Gates())
    found.sides = Sides(one, other, rows)
    return found


@pytest.fixture
def metric(monkeypatch):
    """Say what the problem compares by, which stands in params.yaml."""

    def say(name):
        monkeypatch.setattr(Case, "metric", property(lambda _: name))

    say("roc_auc")
    return say


def scores(noise, seed=1, count=COUNT, sharpness=1.0):
    """Well-calibrated scores of a binary target, blurred, or sharpened past what they know."""
    rng = np.random.default_rng(0)
    margin = rng.normal(size=count)
    target = (rng.random(count) < 1 / (1 + np.exp(-2 * margin))).astype(int)
    blurred = margin + noise * np.random.default_rng(seed).normal(size=count)
    return Scored(target, 1 / (1 + np.exp(-2 * sharpness * blurred)), 0.5)


def test_the_better_one_wins_and_the_margin_must_be_cleared_too(metric):
    good, bad = scores(0), scores(1)
    fine, told = gates.champion(case(good, bad))
    assert fine
    assert "of version 1: +0.1" in told
    assert not gates.champion(case(bad, good))[0]
    assert not gates.champion(case(good, good))[0], "a tie keeps the champion"
    fine, told = gates.champion(case(good, bad, Gates(champion=ChampionGate(margin=0.2))))
    assert (fine, told.rpartition("; ")[2]) == (False, "the interval does not clear the margin 0.2")


def test_errors_must_fall_and_their_margin_is_a_share(metric):
    metric("rmse")
    rng = np.random.default_rng(0)
    target = rng.normal(300_000, 50_000, COUNT)
    error = rng.normal(0, 10_000, COUNT)
    one, other = Scored(target, target + 0.8 * error), Scored(target, target + error)
    assert gates.champion(case(one, other))[0]
    assert gates.champion(case(one, other, Gates(champion=ChampionGate(margin=0.1))))[0]
    assert not gates.champion(case(one, other, Gates(champion=ChampionGate(margin=0.3))))[0]
    assert not gates.champion(case(other, one))[0]


def test_probabilities_that_are_off_refuse_by_the_bound_or_against_the_champion():
    honest, sharp, slightly = scores(0.1), scores(0.1, sharpness=8), scores(0.1, sharpness=1.8)
    assert gates.calibration(case(honest, honest))[0]
    fine, told = gates.calibration(case(sharp, honest))
    assert (fine, told.rpartition("; ")[2]) == (False, "at most 0.1 is allowed")
    fine, told = gates.calibration(case(slightly, honest))
    assert (fine, told.rpartition("; ")[2]) == (False, "worse by more than 0.02")
    assert gates.calibration(case(honest, slightly))[0]
    assert gates.calibration(case(slightly, slightly))[0]
    lax = Gates(calibration=CalibrationGate(max_error=1, worse_by=1))
    assert gates.calibration(case(sharp, honest, lax))[0]


def test_scores_of_weighted_classes_are_turned_into_probabilities_before_they_are_measured():
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.02, 0.5, COUNT)
    target = (rng.random(COUNT) < truth).astype(np.int8)
    honest = Scored(target, truth, 0.3)
    weighted = Scored(target, truth * 5 / (truth * 5 + 1 - truth), 0.4542)
    fine, told = gates.calibration(case(weighted, weighted))
    assert not fine
    assert "at most 0.1 is allowed" in told
    asked = case(weighted, honest, positive_weight=5.0)
    fine, told = gates.calibration(asked)
    assert fine, told
    assert abs(asked.figures["calibration"]["estimate"]) < 1e-9


@pytest.mark.parametrize("weight", ["heavy", "nan", "-1", "0"])
def test_a_damaged_weight_is_one_line_with_the_fix(weight):
    asked = case(scores(0), scores(0), positive_weight=weight)
    (found,) = run_checks({"calibration": gates.calibration}, asked)
    assert not found.passed
    assert found.message == (
        "cannot be computed: M version 2: its tag lockstep.positive_weight holds no positive "
        "number; set it in MLflow's pages to the value in the version's model_card.json"
    )


def floor(floors, **tags):
    return gates.floors(case(scores(0), scores(0), Gates(floors=floors), **tags))


def test_floors_are_of_the_recorded_test_metrics():
    assert floor({"roc_auc": 0.7}, test_roc_auc=0.7) == (True, "test_roc_auc 0.7 (floor 0.7)")
    assert floor({"roc_auc": 0.7}, test_roc_auc=0.6999)[0] is False
    assert floor({"brier": 0.1}, test_brier=0.1)[0]
    assert floor({"brier": 0.1}, test_brier=0.2) == (False, "test_brier 0.2 is above its floor 0.1")
    assert (
        floor({"roc_auc": 0.7}, validation_roc_auc=0.9)[1]
        == "test_roc_auc was never recorded with the version"
    )
    assert floor({"roc_auc": 0.7}, test_roc_auc="high")[0] is False
    assert floor({"rmse": 1.0}) == (True, "none is set for a binary problem"), "another task's"


@given(value=st.floats(0, 1), least=st.floats(0, 1))
def test_a_floor_holds_where_the_value_is_no_worse(value, least):
    assert floor({"f1": least}, test_f1=repr(value))[0] == (value >= least)
    assert floor({"log_loss": least}, test_log_loss=repr(value))[0] == (value <= least)


def schema_of(task="binary", **columns):
    """Make a schema of some columns, each given by its keys; numbers where no kind is said."""
    features = {name: {"kind": "numeric", **keys} for name, keys in columns.items()}
    names = ("title", "unit", "registered_name", "experiment")
    target = {"kind": "target"} if task == "regression" else {"kind": "target", "codes": {0: "no"}}
    told = {"columns": {"y": target, **features}, "left_out": {"note": "a text"}}
    return Schema.model_validate({"name": "s", "task": task, **dict.fromkeys(names, "s"), **told})


def loaded(task="binary", classes=(), **columns):
    return SimpleNamespace(schema=schema_of(task, **columns), classes=list(classes))


TEXT = {"kind": "categorical"}
CODED = {"kind": "categorical", "codes": {1: "a", 2: "b"}}
KNOWN = {"kind": "categorical", "codes": {"a": "", "b": ""}}


def reads(schema, record):
    try:
        RecordReader(schema).read(orjson.dumps(record), 1)
    except Refusal:
        return False
    return True


@pytest.mark.parametrize(
    ("old", "new", "record", "fault"),
    [
        ({}, {"missing": True}, 1, ""),
        ({"low": 0, "high": 9}, {"low": 0, "high": 10}, 9, ""),
        ({"integer": True}, {}, 3, ""),
        (CODED, CODED | {"codes": {1: "a", 2: "b", 3: "c"}}, 2, ""),
        (CODED, {"low": 0}, 2, ""),
        (KNOWN, TEXT, "b", ""),
        ({"aliases": ["alter"]}, {"aliases": ["alter", "years"]}, 1, ""),
        ({}, TEXT, 1, "age was a number, is text"),
        ({"missing": True}, {}, None, "age may not be missing any more"),
        ({"high": 9}, {"high": 8}, 9, "age took numbers up to 9, takes numbers up to 8"),
        ({}, {"low": 0}, -1, "age took numbers, takes numbers from 0"),
        ({}, {"integer": True}, 0.5, "age took numbers, takes whole numbers"),
        (CODED, CODED | {"codes": {1: "a"}}, 2, "age does not take 2 any more"),
        (CODED, {"high": 1}, 2, "age does not take 2 any more"),
        ({}, CODED, 3, "age takes its codes only, and had none"),
        (KNOWN, KNOWN | {"codes": {"b": ""}}, "a", "age does not take a any more"),
        (KNOWN | {"spellings": {"A": "a"}}, KNOWN, "A", "age does not take A any more"),
        (TEXT, TEXT | {"absent": ["?"]}, "?", "age does not take ? any more"),
        ({"decimal": ","}, {}, "1.234,5", "age in a text is read with other decimals"),
    ],
)
def test_what_calls_the_champion_can_call_the_challenger(old, new, record, fault):
    faults = gates.signature_faults(loaded(age=new), loaded(age=old))
    assert faults == ([fault] if fault else [])
    assert reads(schema_of(age=old), {"age": record})
    assert reads(schema_of(age=new), {"age": record}) == (not fault)


@pytest.mark.parametrize(
    ("new", "record", "fault"),
    [
        ({"age": {}, "new": {"missing": True}}, {}, "new is new, and every request must have it"),
        ({"hours": {}}, {}, "age is no feature any more"),
        ({"age": {}}, {"alter": 1}, "alter in a request is not read as before"),
        ({"years": {"aliases": ["age"]}}, {"alter": 1}, "alter in a request is not read as before"),
        ({"years": {"aliases": ["age", "alter"]}}, {}, ""),
    ],
)
def test_names_that_are_new_or_gone_are_faults_as_the_reader_refuses_them(new, record, fault):
    old = {"age": {"aliases": ["alter"]}}
    faults = gates.signature_faults(loaded(**new), loaded(**old))
    assert fault in faults if fault else faults == []
    given = record or {"age": 1}
    assert reads(schema_of(**old), given)
    assert reads(schema_of(**new), given) == (not fault)


columns = st.one_of(
    st.fixed_dictionaries(
        {
            "low": st.sampled_from([None, 0, 1]),
            "high": st.sampled_from([None, 1, 2]),
            "integer": st.booleans(),
            "missing": st.booleans(),
            "decimal": st.sampled_from(["", ".", ","]),
            "made_of": st.sampled_from([[], ["p"]]),
        }
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("categorical"),
            "codes": st.sampled_from(
                [{}, {0: "", 1: ""}, {0: "", 1: "", 2: ""}, {"a": ""}, {"a": "", "true": "t"}]
            ),
            "missing": st.booleans(),
            "absent": st.sampled_from([[], ["?"]]),
        }
    ),
).flatmap(lambda keys: st.sampled_from([[], ["c"]]).map(lambda names: keys | {"aliases": names}))
schemas = st.dictionaries(st.sampled_from("ab"), columns, min_size=1).map(lambda c: schema_of(**c))
values = st.sampled_from([None, 0, 1, 2, 0.5, -1, True, "a", "0", "1", "?", "true", "0.5", "1,5"])
requests = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c", "p", "note"]), values))


@given(old=schemas, new=schemas, records=requests)
@settings(max_examples=300)
def test_what_is_let_pass_is_read(old, new, records):
    one, other = (SimpleNamespace(schema=schema, classes=[]) for schema in (new, old))
    if not gates.signature_faults(one, other):
        assert [r for r in records if reads(old, r) and not reads(new, r)] == []


def test_other_classes_are_another_answer():
    one, other = loaded("multiclass", "abc"), loaded("multiclass", "abd")
    assert gates.signature_faults(one, one) == []
    assert "its classes are ['a', 'b', 'c']" in gates.signature_faults(one, other)[0]
    task = gates.signature_faults(loaded("regression", age={}), loaded(age={}))
    assert task == ["a binary model became a regression one"]


def test_the_champion_is_who_stands_in_production_else_the_last_that_did():
    first = promotion(1, 1, "None", "Production")
    second = promotion(2, 2, "None", "Production", left=1)
    gone = Event(
        3,
        "archive",
        Who("a"),
        "",
        "",
        "",
        steps=(Step(2, "Production", "Archived"),),
        end=Ended("done", ""),
    )
    assert champion_of(model()) is None
    assert champion_of(model(first, stages={1: "Production"})).version == 1
    assert champion_of(model(first, second, gone)).version == 2
    deleted = model(first, second, gone, versions=1)
    assert champion_of(deleted).version == 1
    held = model(first, second, gone, versions=3)
    assert not needs_gate(held, held.version(2), "Production")
    assert needs_gate(held, held.version(3), "Production")
    assert not needs_gate(held, held.version(3), "Staging")


def test_an_error_refuses_and_is_told_in_full_once():
    def broken(_):
        raise error

    error = RegistryError("no rows here")
    first, second = run_checks({"champion": broken, "slices": broken}, None)
    assert first == CheckResult("champion", "refused", "cannot be computed: no rows here")
    assert second == CheckResult("slices", "refused", "cannot be computed, for the reason above")


def test_a_property_that_fails_is_computed_once_and_fails_again_alike():
    class Model:
        tries = 0

        @computed_once
        def score(self):
            self.tries += 1
            raise RegistryError("no rows here")

        @computed_once
        def name(self):
            self.tries += 1
            return "M"

    found = Model()
    for _ in range(2):
        with pytest.raises(RegistryError, match="no rows here"):
            _ = found.score
        assert found.name == "M"
    assert found.tries == 2


def test_a_verdict_is_refused_by_any_check_and_its_line_is_short():
    passed, refused = (
        CheckResult("floors", "passed", "x"),
        CheckResult("slices", "refused", "y" * 9000),
    )
    verdict = Verdict("M", 2, "Production", 1, (passed, refused), {"share": np.float64(1 / 3)})
    assert (verdict.verdict, verdict.failed) == ("refused", [refused])
    assert len(verdict.summary) == LONGEST_SUMMARY
    assert json.loads(json.dumps(verdict.content, allow_nan=False))["figures"] == {
        "share": 0.333333
    }
    assert Verdict("M", 2, "Production", None, (passed,)).verdict == "passed"
    assert Verdict("M", 2, "Production", None, (passed,)).summary == "floors: x"


def test_a_version_of_another_tool_has_no_problem():
    found = Case(None, None, model(), Version("M", 2, 0, None, "", "None", {}), Gates())
    with pytest.raises(RegistryError, match=r"no tag lockstep.problem"):
        gates.floors(found)
