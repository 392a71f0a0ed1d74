"""Real versions in a real store: what Production takes, what it refuses, what the record says."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.promotion.competing_models import (
    NIGHT_BLIND,
    STRONG,
    TWIN,
    WEAK,
    configure,
    enter,
    tidy,
    write_data,
)
from tests.registry.test_lifecycle import Crash, Crashing

from lockstep.commands import manage_registry as manage
from lockstep.config.monitoring import DAY_MS
from lockstep.config.settings import PredictionLogSection
from lockstep.errors import ConfigError, RegistryError, UsageError
from lockstep.io import sha256_json, write_parquet
from lockstep.monitoring.log_files import ShadowEntry
from lockstep.promotion.champion import champion_of
from lockstep.promotion.gate_report import Gate, Ungated, gate_of
from lockstep.promotion.gates import judge
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.events import LONGEST_TAG, begin_tag
from lockstep.registry.record.registered_models import get_model
from lockstep.serving.prediction_log import PredictionLog

NAME = "Accident_Prediction_XGBoost"


@pytest.fixture
def registry(home):
    """A workspace with rows that no model of the contest has seen, and no version yet."""
    write_data(home.root)
    configure(home.root, "default: {champion: {resamples: 200}}")
    return home


def promote(*options):
    manage.main(["promote", "--model-name", NAME, "--actor", "jane", *options])


def refused(*options, match):
    with pytest.raises(RegistryError, match=match) as caught:
        promote(*options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def record(home):
    model = get_model(home.client, NAME)
    assert model.record.faults == ()
    assert model.record.open == ()
    return model.record.events


def production(home):
    return [v.version for v in get_model(home.client, NAME).in_stage("Production")]


def verdict(home, version):
    model = get_model(home.client, NAME)
    return judge(home.client, home.root, model, model.version(version), "Production")


def outcomes(home, version):
    return {check.name: check.verdict for check in verdict(home, version).checks}


def test_the_first_needs_the_floors_and_to_load(registry, capsys):
    enter(registry, NAME, WEAK)
    promote()
    assert production(registry) == [1]
    assert outcomes(registry, 1).keys() >= {"floors", "golden"}
    shown = capsys.readouterr().out
    assert f"gates of {NAME} version 1 into Production, the first there: passed" in shown
    assert "test_roc_auc 0.8 (floor 0.5)" in shown
    assert record(registry)[-1].gate["verdict"] == "passed"


def test_a_really_better_challenger_is_promoted(registry, capsys):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    promote("--version", "1")
    promote("--json")
    content = json.loads(capsys.readouterr().out.partition("\n{")[2].join(["{", ""]))
    assert production(registry) == [2]
    assert content["gate"]["verdict"] == "passed"
    assert content["gate"]["figures"]["champion"]["rows"] == 3000
    assert {c["name"]: c["verdict"] for c in content["gate"]["checks"]} == dict.fromkeys(
        ["floors", "golden", "champion", "slices", "calibration", "signature"], "passed"
    )


@pytest.mark.parametrize(
    ("challenger", "why"), [(WEAK, "it is worse"), (TWIN, "a tie keeps the champion")]
)
def test_a_worse_one_and_a_tie_are_refused_on_record(registry, capsys, challenger, why):
    for kind in (STRONG, challenger):
        enter(registry, NAME, kind)
    promote("--version", "1")
    line = refused(match=rf"version 2 does not go into Production: champion: roc_auc .*{why}")
    assert line.endswith("to move it all the same: --force --reason TEXT")
    assert production(registry) == [1]
    event = record(registry)[-1]
    assert (event.action, event.version, event.steps, event.end.outcome) == (
        "promote",
        2,
        (),
        "refused",
    )
    assert (event.gate["verdict"], event.gate["champion"]) == ("refused", 1)
    assert "champion" in event.gate["refused"]
    assert len(begin_tag(event)[1]) < LONGEST_TAG / 2
    assert "into Production, against version 1: refused" in capsys.readouterr().out
    manage.main(["history", "--model-name", NAME])
    assert "2: stays" in capsys.readouterr().out


def test_a_verdict_says_how_often_its_rows_were_read_before(registry, capsys):
    for kind in (STRONG, WEAK, TWIN):
        enter(registry, NAME, kind)
    promote("--version", "1")
    for reads, version in enumerate(("2", "2", "3")):
        refused("--version", version, match="champion: roc_auc")
        told = f"; {reads} verdict{'s' * (reads > 1)} of this model read them before"
        assert (told in capsys.readouterr().out) == (reads > 0)
        assert record(registry)[-1].gate["holdout"] == record(registry)[-2].gate.get(
            "holdout", record(registry)[-1].gate["holdout"]
        )


def test_transition_is_gated_too_and_staging_is_free(registry):
    for kind in (STRONG, WEAK):
        enter(registry, NAME, kind)
    lifecycle.promote(registry.client, NAME, 1)
    asked = ["transition", "--model-name", NAME, "--version", "2", "--stage"]
    manage.main([*asked, "Staging"])
    with pytest.raises(RegistryError, match="does not go into Production"):
        manage.main([*asked, "Production"])
    assert {v.version: v.stage for v in get_model(registry.client, NAME).versions} == {
        1: "Production", 2: "Staging",
    }  # fmt: skip


def test_force_needs_a_reason_and_is_on_record(registry, capsys):
    for kind in (STRONG, WEAK):
        enter(registry, NAME, kind)
    promote("--version", "1")
    with pytest.raises(UsageError, match="say why with --reason"):
        promote("--force")
    with pytest.raises(UsageError, match="say why with --reason"):
        gate_of(registry.client, registry.root, NAME, force=True, reason=" ")
    promote("--force", "--reason", "the old one is illegal")
    assert production(registry) == [2]
    event = record(registry)[-1]
    assert (event.gate["verdict"], event.gate["refused"][0]) == ("forced", "champion")
    assert (event.who.actor, event.who.reason, event.end.outcome) == (
        "jane",
        "the old one is illegal",
        "done",
    )
    assert "against version 1: forced" in capsys.readouterr().out
    manage.main(["rollback", "--model-name", NAME])
    assert production(registry) == [1], "a rollback needs no gate"


def test_a_forced_move_that_passes_is_no_override(registry):
    enter(registry, NAME, STRONG)
    promote("--force", "--reason", "in a hurry")
    assert record(registry)[-1].gate["verdict"] == "passed"


def test_a_slice_that_fares_worse_is_caught(registry):
    for kind in (WEAK, NIGHT_BLIND):
        enter(registry, NAME, kind)
    promote("--version", "1")
    found = verdict(registry, 2)
    by_name = {check.name: check for check in found.checks}
    assert by_name["champion"].verdict == "passed"
    assert by_name["slices"].verdict == "refused"
    assert "lum 5 (night with street lighting on)" in by_name["slices"].message
    refused(match="slices: 3 of 13 slices are worse: lum 5")
    assert {s["column"] for s in found.figures["slices"]} == {"lum", "agg_", "catu", "sexe", "catv"}


def test_the_verdict_is_kept_with_the_run_and_its_digest_with_the_event(registry, tmp_path):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    promote("--version", "1")
    promote("--version", "2")
    event, version = record(registry)[-1], get_model(registry.client, NAME).version(2)
    kept = registry.client.download_artifacts(version.run_id, event.gate["file"], str(tmp_path))
    content = json.loads(Path(kept).read_text(encoding="utf-8"))
    assert sha256_json(content) == event.gate["digest"]
    assert (content["verdict"], content["champion"], content["version"]) == ("passed", 1, 2)
    page = registry.client.download_artifacts(
        version.run_id, event.gate["file"].replace(".json", ".md"), str(tmp_path)
    )
    text = Path(page).read_text(encoding="utf-8")
    assert "| champion | passed | roc_auc 0." in text
    assert "| lum | 5 (night with street lighting on) |" in text


def test_the_same_facts_give_the_same_verdict(registry):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    lifecycle.promote(registry.client, NAME, 1)
    assert verdict(registry, 2).digest == verdict(registry, 2).digest


def spoil_rows(home):
    (home.root / "data" / "accidents" / "tidy.parquet").unlink()


def spoil_seen(home):
    (home.artifact(NAME, 1) / "seen_groups.npz").write_bytes(b"none")


def spoil_champion(home):
    (home.artifact(NAME, 1) / "model.skops").write_bytes(b"PK")


def spoil_params(home):
    (home.root / "params.yaml").write_text("problems: 3\n")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_rows, "this workspace has no data/accidents/tidy.parquet"),
        (spoil_seen, "seen_groups"),
        (spoil_champion, "version 1"),
        (spoil_params, "params.yaml"),
    ],
)
def test_what_cannot_be_computed_refuses_and_says_why(registry, spoil, why):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    lifecycle.promote(registry.client, NAME, 1)
    spoil(registry)
    refused(match=f"champion: cannot be computed: .*{why}")
    assert production(registry) == [1]
    assert record(registry)[-1].gate["verdict"] == "refused"
    told = {check.name: check.message for check in verdict(registry, 2).checks}
    if spoil is not spoil_params:
        assert told["slices"] == told["calibration"] == "cannot be computed, for the reason above"


def test_a_challenger_that_does_not_load_is_refused_even_as_the_first(registry):
    enter(registry, NAME, WEAK)
    (registry.artifact(NAME, 1) / "model.skops").write_bytes(b"PK")
    refused(match="golden: cannot be computed: .*digest")
    assert production(registry) == []


def test_too_few_rows_left_refuse(registry):
    write_parquet(registry.root / "data" / "accidents" / "tidy.parquet", tidy().head(2300))
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    promote("--version", "1")
    refused(match=r"only 300 rows are left that no side has seen, fewer than champion.min_rows 500")
    configure(registry.root, "default: {champion: {min_rows: 200, min_groups: 200}}")
    refused(match=r"only 150 groups are left")
    configure(registry.root, "default: {champion: {min_rows: 200}}")
    promote("--version", "2")


def test_rows_that_either_has_seen_are_left_out(registry):
    enter(registry, NAME, WEAK)
    enter(registry, NAME, STRONG, seen="train stop choose")
    lifecycle.promote(registry.client, NAME, 1)
    assert verdict(registry, 2).figures["champion"]["rows"] == 2500
    enter(registry, NAME, TWIN, seen="train stop choose test")
    told = {check.name: check for check in verdict(registry, 3).checks}
    assert told["champion"].verdict == "refused"
    assert "on every row of accidents in this workspace" in told["champion"].message


def test_a_floor_that_is_not_met_refuses_and_one_that_was_never_measured_too(registry):
    enter(registry, NAME, STRONG, test_roc_auc=0.45)
    refused(match=r"floors: test_roc_auc 0.45 is below its floor 0.5;")
    enter(registry, NAME, STRONG, test_roc_auc=None)
    refused(match=r"floors: test_roc_auc was never recorded")
    configure(registry.root, "accidents: {floors: {roc_auc: 0, log_loss: 0.4}}")
    enter(registry, NAME, STRONG, test_log_loss=0.5)
    refused(match=r"floors: test_log_loss 0.5 is above its floor 0.4;")


def test_must_have_been_in_staging_by_the_record(registry):
    configure(registry.root, "accidents: {must_have_been_in_staging: true}")
    enter(registry, NAME, STRONG)
    refused(match=r"staging: it was never in Staging; move it there first")
    lifecycle.transition(registry.client, NAME, 1, "Staging")
    lifecycle.archive(registry.client, NAME, 1)
    promote()
    assert production(registry) == [1]


def shadowed(registry, days, rows, version=2, champion=1):
    """Log live rows that a version scored after the champion had answered them, a request a day."""
    known = get_model(registry.client, NAME).version(version)
    log = PredictionLog(registry.root / ".lockstep" / "predictions", PredictionLogSection())
    log.start()
    for day in range(days):
        told = (f"r{day}", day * DAY_MS, NAME, version, known.tag("model_digest"), rows)
        log.add_shadow(ShadowEntry(*told, np.zeros(rows), [0] * rows, champion, 0.001))
    log.writer.close()


def test_must_have_shadowed_counts_live_rows_and_days_beside_the_champion(registry):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    promote("--version", "1")
    configure(registry.root, "accidents: {must_have_shadowed: {rows: 60, days: 3}}")
    fix = "60 rows on 3 days are needed; put it in Staging and serve with SHADOW=Staging"
    none = "shadow: it scored 0 live rows on 0 days beside version 1"
    refused("--version", "2", match=f"{none}; {fix}")
    shadowed(registry, 3, 20, champion=7)
    shadowed(registry, 3, 20, version=1)
    refused("--version", "2", match=none)
    shadowed(registry, 2, 40)
    refused("--version", "2", match="shadow: it scored 80 live rows on 2 days beside version 1")
    shadowed(registry, 3, 20)
    promote("--version", "2")
    assert production(registry) == [2]


def test_a_log_that_cannot_tell_what_was_shadowed_refuses(registry, monkeypatch):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    promote("--version", "1")
    configure(registry.root, "accidents: {must_have_shadowed: {rows: 1}}")
    monkeypatch.setenv("PREDICTION_LOG", "0")
    refused("--version", "2", match="shadow: cannot be computed: the prediction log is off")
    monkeypatch.delenv("PREDICTION_LOG")
    folder = registry.root / ".lockstep" / "predictions"
    folder.mkdir(parents=True)
    (folder / "shadow-20260101T000000-1-0.sqlite").write_bytes(b"SQLite format 3" + bytes(2000))
    refused(
        "--version", "2", match="shadow: cannot be computed: the prediction log in .* is damaged: "
    )


def test_the_champion_again_needs_no_gate_and_an_archived_one_stays_the_champion(registry):
    for kind in (STRONG, WEAK):
        enter(registry, NAME, kind)
    promote("--version", "1")
    promote("--version", "1")
    assert [e.gate.get("verdict") for e in record(registry)] == [None, "passed"]
    lifecycle.archive(registry.client, NAME, 1)
    assert champion_of(get_model(registry.client, NAME)).version == 1
    refused("--version", "2", match="it is worse")
    promote("--version", "1")
    assert "verdict" not in record(registry)[-1].gate
    assert production(registry) == [1]


def test_a_champion_that_changed_meanwhile_is_seen_under_the_lock(registry):
    for kind in (WEAK, STRONG, TWIN):
        enter(registry, NAME, kind)
    lifecycle.promote(registry.client, NAME, 1)
    gate = gate_of(registry.client, registry.root, NAME, 2)
    lifecycle.promote(registry.client, NAME, 3)
    with pytest.raises(
        RegistryError, match=r"the champion is version 3, .*; run the command again"
    ):
        lifecycle.promote(registry.client, NAME, 2, gate=gate)
    newest = gate_of(registry.client, registry.root, NAME)
    assert newest == Ungated("Production")  # 3 stands there already
    gate = gate_of(registry.client, registry.root, NAME, 2)
    moved = lifecycle.promote(registry.client, NAME, gate=gate)
    assert (moved.step.version, moved.changed) == (
        3,
        False,
    )  # the newest by now, and where it was asked to go
    assert production(registry) == [3]
    enter(registry, NAME, NIGHT_BLIND)
    gate = gate_of(registry.client, registry.root, NAME, 2)
    with pytest.raises(RegistryError, match="the version asked for 4; run the command again"):
        lifecycle.promote(registry.client, NAME, gate=gate)
    with pytest.raises(RegistryError, match="version 4 must pass the gates now; run the command"):
        lifecycle.promote(registry.client, NAME, gate=newest)


def test_a_champion_that_was_replaced_meanwhile_needs_the_gates(registry):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    lifecycle.promote(registry.client, NAME, 1)
    lifecycle.archive(registry.client, NAME, 1)
    needs_none = gate_of(registry.client, registry.root, NAME, 1)
    lifecycle.promote(registry.client, NAME, 2)
    with pytest.raises(
        RegistryError, match="changed meanwhile: version 1 must pass the gates now; run the command"
    ):
        lifecycle.promote(registry.client, NAME, 1, gate=needs_none)
    assert production(registry) == [2]
    elsewhere = gate_of(registry.client, registry.root, NAME, 1, "Staging")
    lifecycle.transition(registry.client, NAME, 1, "Staging", gate=elsewhere)
    assert record(registry)[-1].gate == {}


def test_gates_of_an_unknown_problem_or_metric_are_a_fault_of_the_configuration(registry):
    enter(registry, NAME, STRONG)
    configure(registry.root, "acidents: {golden: true}")
    with pytest.raises(
        ConfigError, match=r"unknown problem 'acidents' \(did you mean 'accidents'\?\)"
    ):
        promote()
    configure(registry.root, "accidents: {floors: {roc: 1}}")
    with pytest.raises(
        ConfigError, match=r"accidents.floors: unknown metric 'roc' \(did you mean 'roc_auc'"
    ):
        promote()
    assert record(registry) == ()


def test_a_verdict_that_cannot_be_kept_stops_all_but_a_forced_move(registry, monkeypatch, capsys):
    enter(registry, NAME, STRONG)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlflow.MlflowClient.log_text", full)
    with pytest.raises(
        RegistryError, match=r"the verdict cannot be stored with run .*No space left"
    ):
        promote()
    assert record(registry) == ()
    promote("--force", "--reason", "the disk is full")
    assert production(registry) == [1]
    assert "WARNING the verdict cannot be stored" in capsys.readouterr().err


def test_a_run_that_mlflow_gc_removed_keeps_no_verdict(registry, capsys):
    enter(registry, NAME, STRONG)
    run_id = get_model(registry.client, NAME).version(1).run_id
    registry.client.delete_run(run_id)
    registry.client._tracking_client.store._hard_delete_run(run_id)  # what `mlflow gc` calls
    refused(match=f"run {run_id}: MLflow has it no more; register the model anew: `dvc repro`")
    promote("--force", "--reason", "its run was tidied away")
    assert production(registry) == [1]
    assert "MLflow has it no more" in capsys.readouterr().err


def test_a_refusal_that_a_crash_left_open_is_ended_as_one(registry):
    for kind in (STRONG, WEAK):
        enter(registry, NAME, kind)
    lifecycle.promote(registry.client, NAME, 1)
    gate = gate_of(registry.client, registry.root, NAME, 2)
    assert isinstance(gate, Gate)
    with pytest.raises(Crash):
        lifecycle.promote(Crashing(registry.client, 1), NAME, 2, gate=gate)
    assert len(get_model(registry.client, NAME).record.open) == 1
    lifecycle.transition(registry.client, NAME, 2, "Staging")
    refusal = record(registry)[-2]
    assert (refusal.end.outcome, bool(refusal.end.mended_by)) == ("refused", True)
    assert production(registry) == [1]


def test_scores_that_are_no_numbers_refuse(registry, monkeypatch):
    for kind in (WEAK, STRONG):
        enter(registry, NAME, kind)
    lifecycle.promote(registry.client, NAME, 1)
    monkeypatch.setattr(
        "lockstep.models.scoring.prediction.Model.score",
        lambda self, table: np.full(len(table), np.nan),
    )
    refused(match="champion: cannot be computed: .*no finite numbers")
