"""What an alarm calls for: newer data, or the version that was there before."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tests.monitoring.conftest import PROJECT

from lockstep.commands.monitor_actions import check_new_data, commands_for
from lockstep.config.params import Params, load_params, read_params_text
from lockstep.config.params_file import with_values
from lockstep.errors import DataError
from lockstep.io import write_text
from lockstep.monitoring.proposal import RETRAIN, ROLLBACK, Proposal, propose
from lockstep.monitoring.proposed_commands import through
from lockstep.promotion.champion import can_go_back
from lockstep.registry.record.events import End, Event, Record, Step, Who
from lockstep.registry.record.registered_models import Model
from lockstep.registry.store.versions import Version

NAN = float("nan")


def analysis(distances, changed=(), alarms=1):
    months = [SimpleNamespace(warning=()) for _ in distances[:-1]]
    months.append(SimpleNamespace(warning=tuple(changed)))
    known = {"months": months, "distances": distances, "limit": 2.0, "changed": tuple(changed)}
    return SimpleNamespace(alarms=[1] * alarms, worse=None, **known)


@pytest.mark.parametrize(
    ("found", "earlier", "action", "why"),
    [
        (analysis([3, 3], changed=["age", "sex"]), True, RETRAIN, "2 features changed"),
        (analysis([0.5, 3, 3]), True, RETRAIN, "what they say of the target did"),
        (analysis([NAN, NAN]), True, RETRAIN, "what they say of the target did"),
        (analysis([NAN, 3, 3]), True, ROLLBACK, "worse from its first labelled month on"),
        (analysis([3, 3]), False, RETRAIN, "no version before it to go back to"),
    ],
)
def test_the_finding_decides(found, earlier, action, why):
    proposal = propose(found, earlier)
    assert proposal.action == action
    assert why in proposal.why


def test_without_an_alarm_nothing_is_proposed():
    assert propose(analysis([3, 3], alarms=0), True) is None


def moved(number, *steps):
    told = [Step(version, was, now) for version, was, now in steps]
    return Event(number, "promote", Who("a"), "", "", "", steps=tuple(told), end=End("done", ""))


def version(number, stage, **tags):
    known = {f"lockstep.{name}": value for name, value in tags.items()}
    return Version("M", number, 0, "run", "", stage, known, recorded=stage)


def test_only_what_stands_in_production_after_another_goes_back():
    first = moved(1, (1, "None", "Production"))
    second = moved(2, (1, "Production", "Archived"), (2, "None", "Production"))
    one, two = version(1, "Archived"), version(2, "Production")
    model = Model("M", (one, two), {}, Record((first, second)))
    assert can_go_back(model, two)
    assert not can_go_back(model, one)
    assert not can_go_back(replace(model, versions=(two,)), two), "version 1 was deleted"
    alone = version(1, "Production")
    assert not can_go_back(Model("M", (alone,), {}, Record((first,))), alone)


@pytest.fixture
def params() -> Params:
    return load_params(PROJECT)


def test_a_samples_window_moves_on_and_never_back(params):
    assert through(params, "credit_risk", "2026-03") == "2026-03"
    assert through(params, "credit_risk", "2025-12") is None
    assert through(params, "accidents", "2026-03") is None


def test_the_commands_say_where_newer_data_come_from(tmp_path):
    own = with_values(
        read_params_text(PROJECT), {("problems", "california_housing", "source", "kind"): "table"}
    )
    write_text(tmp_path / "params.yaml", own)
    two, wanted = version(2, "Production"), Proposal(RETRAIN, "")
    retrain = "python scripts/retrain_model.py --problem"

    def told(problem, month):
        return commands_for(tmp_path, wanted, two, problem, month)

    assert told("credit_risk", "2026-03") == [f"{retrain} credit_risk --through 2026-03"]
    assert told("credit_risk", "2025-03") == [f"{retrain} credit_risk"]
    assert told("california_housing", "2026-03") == [
        "make add-data PROBLEM=california_housing FROM=folder-or-file",
        f"{retrain} california_housing",
    ]
    back = commands_for(PROJECT, Proposal(ROLLBACK, ""), two, "accidents", "2026-03")
    assert back == [
        'python scripts/manage_model_registry.py rollback --model-name M --reason "alarm"'
    ]
    assert commands_for(PROJECT, None, two, "accidents", "2026-03") == []


def test_data_that_the_version_has_seen_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("lockstep.dvc.repro.repro", lambda *_: None)
    entry = "{cmd: x, outs: [{path: data/accidents/raw, hash: md5, md5: abc.dir}]}"
    write_text(tmp_path / "dvc.lock", f"stages:\n  import_raw@accidents: {entry}\n")
    check_new_data(tmp_path, version(1, "Production", data_dvc_hash="before.dir"), "accidents")
    with pytest.raises(DataError, match="M version 1 was trained on the data that accidents has"):
        check_new_data(tmp_path, version(1, "Production", data_dvc_hash="abc.dir"), "accidents")
