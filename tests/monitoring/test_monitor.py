"""`python scripts/monitor.py` over a real log and registry: page, JSON, run, exit code, faults."""

import sqlite3
from collections import Counter

import numpy as np
import pytest
from tests.serving.conftest import LOCAL, NAME, UNSET

from lockstep.commands import monitor_actions, monitor_report
from lockstep.commands.monitor import ALARM_CODE, MonitorOptions, main, read_arguments
from lockstep.config.monitoring import DAY_MS
from lockstep.config.params import Sample
from lockstep.config.settings import PredictionLogSection, load_settings
from lockstep.errors import DataError, RegistryError
from lockstep.monitoring.log_files import FEEDBACK, PREDICTIONS, ShadowEntry
from lockstep.problems.accidents import sample
from lockstep.problems.schema import load_schema
from lockstep.registry.lifecycle.moves import promote
from lockstep.registry.publishing import new_versions
from lockstep.registry.publishing.outputs import read_outputs
from lockstep.registry.store.names import MONITORING_SUFFIX
from lockstep.serving.prediction_log import PredictionLog

MONTHS = ("2026-01", "2026-02", "2026-03")


def labels_of(served, month):
    return served.new(month)["grav"].to_numpy().astype(int)


def test_what_is_as_it_was_raises_no_alarm_and_is_written_down(served):
    for month in MONTHS:
        served.answer(month, labels=labels_of(served, month))
    said = served.run("--retrain")
    assert said.endswith("no alarm, so nothing is retrained\n")
    rows = len(served.new("2026-03"))
    assert said.startswith(
        f"{NAME} version 1, 2026-01 to 2026-03\n2026-03: {rows:,} rows, {rows:,} labels\n"
    )
    assert "no alarm" in said
    found = served.report
    assert [month["month"] for month in found["months"]] == list(MONTHS)
    newest = found["months"][-1]
    own, there = (newest["performance"][of]["roc_auc"] for of in ("figures", "reference"))
    assert abs(own["value"] - there["value"]) < 3 * np.hypot(own["error"], there["error"])
    by_name = {one["name"]: one for one in newest["features"]}
    assert by_name["mois"]["why"] == "it is the month of the date"
    assert by_name["year_acc"]["verdict"] == by_name["jour"]["verdict"] == "left out"
    page = (served.written / "page.html").read_text()
    assert "No alarm" in page
    assert "<svg" in page
    text = (served.written / "metrics.prom").read_text()
    assert f'lockstep_monitor_alarm{{model="{NAME}",rule="performance",version="1"}} 0.0' in text
    run = served.client.get_run(said.split("run: ")[1].split()[0])
    assert run.data.tags["lockstep.monitored"] == f"{NAME}/1"
    assert served.client.get_experiment(run.info.experiment_id).name.endswith(MONITORING_SUFFIX)
    error = newest["performance"]["figures"]["calibration_error"]["value"]
    assert run.data.metrics["calibration_error"] == pytest.approx(error)
    assert '<th class="number">calibration_error</th>' in page


def test_a_model_that_got_worse_is_an_alarm_with_the_command_to_run(served):
    for number, month in enumerate(MONTHS):
        label = labels_of(served, month)
        worse = np.random.default_rng(number).permutation(label)
        served.answer(month, labels=worse if number else label)
    said = served.run(code=3)
    assert "alarm: performance: roc_auc is 0." in said
    assert (
        "What to do next: retrain (no feature changed, so what they say of the target did)" in said
    )
    assert "  python scripts/retrain_model.py --problem accidents\n" in said
    assert served.report["proposal"]["run"] == [
        "python scripts/retrain_model.py --problem accidents"
    ]
    assert served.report["alarm"] is True
    assert 'rule="performance",version="1"} 1.0' in (served.written / "metrics.prom").read_text()
    assert "no alarm" in served.run("--until", "2026-03-01")
    served.answer("2026-04", served.new("2026-04")[:30])
    said = served.run(code=3)
    assert "\n2026-04: 30 rows, 0 labels\n" in said
    assert " in 2026-03, " in said
    assert "Features and score of 2026-03" in (served.written / "page.html").read_text()


def test_a_version_that_was_never_good_goes_back_to_the_one_before(served):
    promote(served.client, NAME, 2)
    for number, month in enumerate(MONTHS):
        worse = np.random.default_rng(number).permutation(labels_of(served, month))
        served.answer(month, labels=worse, version=2)
    said = served.run(code=3)
    assert "What to do next: rollback (it was worse from its first labelled month on, " in said
    command = f'manage_model_registry.py rollback --model-name {NAME} --reason "alarm"'
    assert command in said
    page = (served.written / "page.html").read_text()
    assert "What to do next: rollback" in page
    assert f"rollback --model-name {NAME}" in page
    run = served.client.get_run(said.split("run: ")[1].split()[0])
    assert run.data.tags["lockstep.proposal"] == "rollback"


def test_inputs_that_changed_are_named(served):
    rows = served.new("2026-05")
    changed = rows.assign(victim_age=np.minimum(rows["victim_age"] + 30, 110), agg_=1.0)
    served.answer("2026-05", changed)
    said = served.run()
    assert "features changed in 2026-05: " in said
    assert "have a score from the threshold on, " in said
    features = {one["name"]: one for one in served.report["months"][0]["features"]}
    assert features["victim_age"]["verdict"] == features["agg_"]["verdict"] == "warn"
    assert features["victim_age"]["moved"] > 1
    assert features["sexe"]["verdict"] == "steady"
    # A reference of a thousand rows is too small for the default limit.
    config = served.root / "src" / "config" / "model_config.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("monitoring: {drift: {psi_rows: 500}}\n")
    assert "alarm: drift: the scores of 2026-05 changed" in served.run(code=3)


def test_rows_of_other_versions_are_counted_and_named(served):
    served.answer("2026-01")
    served.answer("2026-02", version=2)
    served.run()
    rows = len(served.new("2026-01"))
    assert served.report["version"] == 2
    assert served.report["notes"] == [f"{rows:,} rows were answered by {NAME} 1"]
    served.run("--model-name", NAME, "--version", "1")
    assert (served.report["version"], served.report["months"][0]["rows"]) == (1, rows)


def test_after_a_rollback_the_version_that_answers_now_is_analysed(served):
    served.answer("2026-01", version=2)
    served.answer("2026-02", version=1)
    served.run()
    assert served.report["version"] == 1
    assert served.report["shadow"] is None


def test_answers_of_other_problems_and_of_versions_that_are_gone_are_counted(served):
    (first, *_) = served.answer("2026-01")
    log = PredictionLog(served.folder, PredictionLogSection())
    log.start()
    for name in ("Another_Model", "A_Gone_Model"):
        log.add(first._replace(model=name, version=9, request_id=name))
    log.writer.close()
    served.run()
    assert served.report["model"] == NAME
    assert set(served.report["notes"]) == {
        "25 rows were answered by Another_Model 9",
        "25 rows were answered by A_Gone_Model 9",
    }


def test_a_version_that_is_gone_is_named(served):
    (entry, *_) = served.answer("2026-01")
    for path in served.folder.iterdir():
        path.unlink()
    log = PredictionLog(served.folder, PredictionLogSection())
    log.start()
    log.add(entry._replace(version=9))
    log.writer.close()
    said = served.run(code=1)
    assert f"of accidents in this span; no longer in the registry: {NAME} 9\n" in said


def test_labels_of_a_request_id_that_two_clients_used_are_left_out(served):
    first, second, *_ = served.answer("2026-01", labels=labels_of(served, "2026-01"))
    log = PredictionLog(served.folder, PredictionLogSection())
    log.start()
    log.add(first._replace(time_ms=second.time_ms))
    log.writer.close()
    served.run()
    month = served.report["months"][0]
    assert month["rows"] == len(served.new("2026-01")) + first.rows
    assert month["performance"]["labelled"] == len(served.new("2026-01")) - first.rows
    assert served.report["notes"] == [
        "request ids of several answers, whose labels are left out: 1"
    ]


def test_a_month_in_which_everything_was_refused_has_decisions_and_no_performance(served):
    new = served.rows
    model = served.model()
    served.answer("2026-01", new[model.score(new) >= model.threshold])
    said = served.run(code=3)
    assert "have a score from the threshold on, " in said
    month = served.report["months"][0]
    assert month["decisions"][:2] == [0, 1]
    assert month["performance"]["why"] == "0 labels, fewer than 1,000"


def test_a_span_may_be_given_in_another_zone(served):
    entries = served.answer("2026-01")
    own = entries[1].time_ms
    assert own - entries[0].time_ms == DAY_MS
    served.run("--since", "2026-01-02T01:00+01:00", "--until", "2026-01-03T05:30+05:30")
    rows = sum(entry.rows for entry in entries if entry.time_ms == own)
    assert [month["rows"] for month in served.report["months"]] == [rows]


@pytest.mark.long
def test_days_that_the_log_deleted_are_still_known(served):
    for month in MONTHS[:2]:
        served.answer(month, labels=labels_of(served, month))
    served.run()
    before = [month["performance"] for month in served.report["months"]]
    for path in served.folder.iterdir():
        path.unlink()
    served.answer(MONTHS[2], labels=labels_of(served, MONTHS[2]))
    served.run()
    months = served.report["months"]
    assert [month["month"] for month in months] == list(MONTHS)
    assert [month["performance"] for month in months[:2]] == before
    served.run("--since", "2026-03-01")
    assert [month["month"] for month in served.report["months"]] == [MONTHS[2]]


def test_labels_that_the_log_deleted_before_its_rows_are_still_known(served):
    served.answer(MONTHS[0], labels=labels_of(served, MONTHS[0]))
    served.run()
    before = served.report["months"]
    for path in served.folder.glob(FEEDBACK):
        path.unlink()
    served.run()
    assert served.report["months"] == before


@pytest.mark.long
@pytest.mark.parametrize("kept", [0.5, 0.9, 0.999])
def test_a_damaged_file_of_kept_days_is_moved_aside(served, kept):
    for month in MONTHS[:2]:
        served.answer(month)
    served.run()
    before = served.report["months"]
    (path,) = served.root.glob(f".lockstep/monitoring/kept/*/{MONTHS[0]}.npz")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    said = served.run()
    assert f"{path.name} is damaged (" in said
    assert f"and is {path.name}.damaged now" in said
    assert path.with_name(f"{path.name}.damaged").stat().st_size == int(len(content) * kept)
    assert served.report["months"] == before
    assert "is damaged" not in served.run()


def test_a_damaged_file_is_named_and_the_others_are_read(served):
    served.answer("2026-01")
    damaged = served.folder / PREDICTIONS.replace("*", "20260101T000000-1-0")
    damaged.write_bytes(b"SQLite format 3\0" + bytes(2000))
    served.run()
    assert served.report["months"][0]["rows"] == len(served.new("2026-01"))
    (note,) = served.report["notes"]
    assert note.startswith(f"{damaged.name} is damaged, and was read up to there: ")


def test_labels_that_are_wrong_are_counted(served):
    entries = served.answer("2026-01")
    feedback = sqlite3.connect(served.folder / "feedback-20260101T000000-1-0.sqlite")
    feedback.execute("CREATE TABLE feedback (request_id TEXT, row INTEGER, label, time_ms INTEGER)")
    rows = [
        (entries[0].request_id, 1, 0, 1),
        (entries[0].request_id, 1, 1, 2),
        (entries[0].request_id, 99, 1, 3),
        ("nobody", 1, 1, 4),
    ]
    feedback.executemany("INSERT INTO feedback VALUES (?, ?, ?, ?)", rows)
    feedback.commit()
    feedback.close()
    served.run()
    assert served.report["months"][0]["performance"]["labelled"] == 1
    assert set(served.report["notes"]) == {
        "labels replaced by a later one: 1",
        "labels of no row of this version in this span: 2",
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "2030-01-01"], "the log holds no answer of a version of accidents"),
        (["--since", "2026-02-01", "--until", "2026-01-01"], "--until must be later than --since"),
        (["--since", "yesterday"], "'yesterday' is no date; give YYYY-MM-DD"),
        (["--version", "1"], "--version needs --model-name"),
        (["--model-name", NAME, "--version", "7"], f"the log holds no answer of {NAME} in this"),
    ],
)
def test_an_empty_span_and_impossible_options_are_one_line(served, words, told):
    served.answer("2026-01")
    code = 1 if "holds no answer" in told else 2
    said = served.run(*words, code=code)
    assert told in said
    assert said.count("\n") == 1


def test_a_folder_of_raw_files_is_scored_and_analysed(served, tmp_path):
    sample.write_sample(Sample(units=9000, seed=78, years=[2021]), tmp_path / "raw files")
    said = served.run("--input", str(tmp_path / "raw files"), "--model-name", NAME)
    assert said.startswith(f"{NAME} version 1, 2021-01 to 2021-12\n")
    months = served.report["months"]
    assert len(months) == 12
    assert served.report["judged_month"] == "2021-12"
    only = ("--since", "2021-03-01", "--until", "2021-05-01")
    served.run("--input", str(tmp_path / "raw files"), "--model-name", NAME, *only)
    assert [one["month"] for one in served.report["months"]] == ["2021-03", "2021-04"]
    assert served.report["months"] == months[2:4]
    assert sum(month["performance"]["labelled"] for month in months) > 18_000
    assert served.report["alarm"] is False


@pytest.fixture
def here(served, monkeypatch):
    """Run the command in this process; return its exit code."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in LOCAL.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(served.root)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["monitor.py", "--problem", "accidents", *words])
        return main()

    return run


@pytest.fixture
def alarmed(served):
    """A served model that got worse, and an address that is told of alarms."""
    for number, month in enumerate(MONTHS):
        label = labels_of(served, month)
        worse = np.random.default_rng(number).permutation(label)
        served.answer(month, labels=worse if number else label)
    config = served.root / "src" / "config" / "model_config.yaml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text("monitoring: {webhook: 'http://127.0.0.1:9/'}\n")
    return served


def statuses(served):
    place = served.client.get_experiment_by_name(
        load_schema("accidents").experiment + MONITORING_SUFFIX
    )
    return Counter(run.info.status for run in served.client.search_runs([place.experiment_id]))


def test_an_alarm_is_heard_whatever_fails_beside_the_analysis(alarmed, here, monkeypatch, capsys):
    sent = []
    monkeypatch.setattr(monitor_report, "post", lambda url, content, _: sent.append(content))
    refusing = "BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'a readonly database'); END"
    with sqlite3.connect(alarmed.root / "mlflow.db") as store:
        store.execute(f"CREATE TRIGGER refusing {refusing}")
    store.close()
    assert here() == ALARM_CODE
    told = capsys.readouterr()
    assert "has no complete run: the registry refused: its database is read-only" in told.err
    assert "alarm: performance: " in told.out
    assert "\nrun: none\n" in told.out
    with sqlite3.connect(alarmed.root / "mlflow.db") as store:
        store.execute("DROP TRIGGER refusing")
    store.close()
    place = load_schema("accidents").experiment + MONITORING_SUFFIX
    (alarmed.root / "mlruns").mkdir(exist_ok=True)
    (alarmed.root / "mlruns" / place).write_text("no folder")
    assert here() == ALARM_CODE
    assert statuses(alarmed) == {"FAILED": 1}
    (alarmed.root / "mlruns" / place).unlink()
    (alarmed.root / "params.yaml").write_text("problems: [")
    assert here() == ALARM_CODE
    told = capsys.readouterr()
    assert "the commands are those without a problem's settings: params.yaml is no" in told.err
    assert "  python scripts/retrain_model.py --problem accidents\n" in told.out
    (alarmed.root / "params.yaml").unlink()

    def away(*_):
        raise RegistryError("the registry is away")

    monkeypatch.setattr(monitor_actions, "get_model", away)
    assert here() == ALARM_CODE
    assert "can go back is not known: the registry is away" in capsys.readouterr().err
    assert statuses(alarmed) == {"FAILED": 1, "FINISHED": 2}
    assert [one["alarms"][0]["rule"] for one in sent] == ["performance"] * 4
    assert alarmed.report["alarm"] is True


def test_a_table_is_watched_that_training_would_refuse(served, here, capsys):
    rows = served.new("2026-03")
    place = np.arange(len(rows))
    odd = rows.assign(
        grav=np.where(place % 2, 1.0, np.nan),
        lum=np.where(place % 3, rows["lum"], 77.0),
        catu=np.where(place < 5, np.nan, rows["catu"]),
    )
    odd.to_csv(served.root / "rows.csv", index=False)
    here("--input", "rows.csv", "--model-name", NAME)
    (month,) = served.report["months"]
    assert month["rows"] == len(rows) - 5
    assert month["performance"]["labelled"] == (place[5:] % 2).sum()
    lum = next(one for one in month["features"] if one["name"] == "lum")
    assert lum["new"] == {"77.0": int((place[5:] % 3 == 0).sum())}
    assert served.report["notes"] == ["rows left out, as they lack catu: 5"]
    assert "rows left out, as they lack catu: 5" in capsys.readouterr().err
    odd.assign(catu=np.nan).to_csv(served.root / "rows.csv", index=False)
    with pytest.raises(DataError, match=r"rows\.csv holds no row with all of "):
        here("--input", "rows.csv", "--model-name", NAME)


def test_a_number_that_another_registry_gave_is_not_this_version(served, here):
    (entry, *_) = served.answer("2026-01")
    log = PredictionLog(served.folder, PredictionLogSection())
    log.start()
    later = entry.time_ms + 40 * DAY_MS
    log.add(entry._replace(request_id="another", time_ms=later, digest="f" * 64))
    given = (entry.request_id, entry.time_ms, NAME, 2, "e" * 64, entry.rows, entry.scores)
    log.add_shadow(ShadowEntry(*given, entry.decisions, 1, 0.1, "accidents"))
    log.writer.close()
    here()
    assert [one["month"] for one in served.report["months"]] == ["2026-01"]
    assert served.report["shadow"] is None
    assert served.report["notes"] == [f"{entry.rows} rows were answered by {NAME} 1"]
    with pytest.raises(DataError, match=f"no longer in the registry: {NAME} 1"):
        here("--since", "2026-02-01")


def test_a_challenger_that_can_not_be_compared_hides_nothing(served, monkeypatch):
    served.answer("2026-01")
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in LOCAL.items():
        monkeypatch.setenv(name, value)

    def refuse(*_):
        raise DataError("it has other classes")

    monkeypatch.setattr(monitor_report, "shadowed", refuse)
    monitor_report.monitor(served.root, MonitorOptions("accidents", 0, 2**50))
    told = "the challenger in the shadow is not compared: it has other classes"
    assert served.report["notes"] == [told]
    assert served.report["months"][0]["rows"] == len(served.new("2026-01"))
    assert told in (served.written / "page.html").read_text()


def test_a_file_of_kept_days_that_can_not_be_read_stays(served, monkeypatch):
    served.answer(MONTHS[0])
    served.run()
    (path,) = served.root.glob(f".lockstep/monitoring/kept/*/{MONTHS[0]}.npz")
    content = path.read_bytes()
    for log in served.folder.iterdir():
        log.unlink()
    path.unlink()
    path.mkdir()  # as a file without permission: this user may be allowed everything
    served.answer(MONTHS[1])
    assert f"{path.name} can't be read (" in served.run()
    path.rmdir()
    path.write_bytes(content)
    served.run()
    assert [month["month"] for month in served.report["months"]] == list(MONTHS[:2])


def test_a_table_may_hold_days_of_any_time(monkeypatch):
    words = ["monitor.py", "--problem", "accidents", "--model-name", NAME]
    monkeypatch.setattr("sys.argv", [*words, "--input", "rows.csv"])
    given = read_arguments()
    assert (given.since, given.until) == (-(2**62), 2**62)
    monkeypatch.setattr("sys.argv", words)
    assert read_arguments().since == 0


def test_without_a_log(served):
    assert "start the API with `make serve`, or give --input FILE" in served.run(code=1)


def test_a_version_without_a_reference_says_so(served, monkeypatch):
    monkeypatch.setattr(new_versions, "reference_content", lambda _: "as before")
    outputs = read_outputs(served.root, "accidents", "xgboost")
    settings = load_settings(served.root)
    new = new_versions.publish_new(served.client, settings, outputs, None, again=True)
    served.answer("2026-01", version=new.version)
    said = served.run(code=1)
    assert f"{NAME} version {new.version} has no monitoring_reference.json: it was " in said
