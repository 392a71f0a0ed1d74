"""The board: what it gathers is what the registry holds, and it changes nothing there."""

import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
from mlflow import MlflowClient
from tests.promotion import registry_story
from tests.promotion.registry_story import CREDIT, FOREST, NOW, XGBOOST, Story

from lockstep.commands import board as command
from lockstep.commands import manage_registry, promote_model
from lockstep.config.params import load_params
from lockstep.errors import ArtifactError, RegistryError
from lockstep.io import sha256_file
from lockstep.promotion.board_facts import MOST_MOVES, RETRY_SECONDS, VerdictFiles, board_facts
from lockstep.promotion.next_steps import with_steps
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.events import Who
from lockstep.registry.record.registered_models import get_model, list_models
from lockstep.registry.store.opening import open_to_read
from lockstep.reports.board import (
    ALARM,
    DECIDE,
    NOTHING,
    REPAIR,
    START,
    Analysis,
    BoardModel,
    BoardVersion,
    Moved,
    Verdict,
)

PLACE = "http://user:secret@registry:5000"


@pytest.fixture(scope="module")
def told(empty_store, new_home, tmp_path_factory):
    """A registry with champions, challengers, verdicts, analyses and a rollback."""
    home = new_home(tmp_path_factory.mktemp("told") / "made", empty_store)
    registry_story.tell(Story(home.client, home.root))
    return home


@pytest.fixture
def copied(told, home_like):
    return home_like(told)


def read(home, client=None):
    return board_facts(client or open_to_read(home.root), home.root, PLACE, NOW)


def by_name(board):
    return {one.name: one for one in board.models}


def test_the_board_is_what_the_registry_holds(told):
    board, models = read(told), list_models(told.client)
    assert [one.name for one in board.models] == [one.name for one in models]
    for shown, model in zip(board.models, models, strict=True):
        for one, version in zip(shown.versions, model.versions, strict=True):
            assert (one.number, one.stage) == (version.version, version.stage)
            assert one.scores == version.scores
            assert one.metric == version.scores["validation_roc_auc"]
            assert one.dirty == version.dirty
            assert version.tag("model_digest").startswith(one.digest)
            assert version.tag("git_commit").startswith(one.commit)
    moves = [e for m in models for e in m.record.events if e.action != "register"]
    assert len(board.timeline) == len(moves)
    assert board.place == "http://user:***@registry:5000"


def test_tables_and_mlflow_give_the_same_board(told):
    assert read(told) == read(told, told.client)


def test_who_moved_what_and_what_the_gates_said(told):
    credit = by_name(read(told))[CREDIT]
    assert [one.number for one in credit.in_stage("Production")] == [4]
    assert credit.production.moved.actor == "ana@team"
    assert credit.production.moved.reason == "the law changed: features"
    assert credit.production.moved.time == NOW - timedelta(days=19)
    assert credit.production.verdict.outcome == "forced"
    refused = credit.challengers[1]
    assert (refused.number, refused.verdict.outcome, refused.verdict.against) == (5, "refused", 4)
    assert refused.verdict.current
    assert [line.check for line in refused.verdict.lines] == [
        "floors",
        "golden",
        "champion",
        "slices",
    ]
    assert credit.challengers[0].verdict is None
    assert credit.production.analysis == Analysis(
        NOW - timedelta(days=3), alarm=False, newest_month="2026-10"
    )


def test_spans_in_production_follow_moves_and_a_rollback(told):
    found = by_name(read(told))[CREDIT].spans
    days = [(s.version, (NOW - s.since).days, s.until and (NOW - s.until).days) for s in found]
    assert days == [(1, 78, 60), (2, 60, 39), (3, 39, 37), (2, 37, 19), (4, 19, None)]


def test_the_timeline_is_newest_first_and_marks_what_was_undone(told):
    timeline = read(told).timeline
    times = [one.time for one in timeline]
    assert times == sorted(times, reverse=True)
    undone = next(one for one in timeline if one.undone_by)
    rollback = next(one for one in timeline if one.action == "rollback")
    assert (rollback.undoes, undone.undone_by) == (undone.number, rollback.number)
    refused = next(one for one in timeline if one.outcome == "refused")
    assert refused.moved == "version 5: stays, not in Production"


def test_a_long_record_is_cut_and_the_rest_counted(told, monkeypatch):
    everything = read(told).timeline
    monkeypatch.setattr("lockstep.promotion.board_facts.MOST_MOVES", 4)
    board = read(told)
    assert board.timeline == everything[:4]
    assert board.earlier == len(everything) - 4
    assert MOST_MOVES >= 100


def test_what_to_do_next_can_be_typed(told):
    board = read(told)
    kinds = {(model.name, step.kind) for model, step in board.steps}
    assert kinds == {(XGBOOST, ALARM), (CREDIT, DECIDE), (FOREST, NOTHING)}
    assert board.to_do[0][1].kind == ALARM
    commands = [command for _, step in board.to_do for command in step.commands]
    assert len(commands) == 5
    for words in map(shlex.split, commands):
        parsers = {"manage_model_registry.py": manage_registry, "promote_model.py": promote_model}
        options = parsers[words[1].rpartition("/")[2]].parser().parse_args(words[2:])
        model = get_model(told.client, options.model_name)
        assert getattr(options, "version", None) in {None, *model.numbers}


def test_an_altered_verdict_is_not_shown(copied):
    version = get_model(copied.client, CREDIT).version(5)
    file = get_model(copied.client, CREDIT).record.events[-2].gate["file"]
    text = copied.client.list_artifacts(version.run_id, "gates")
    assert file in [one.path for one in text]
    altered = {"name": CREDIT, "checks": [{"name": "champion", "verdict": "passed", "detail": ""}]}
    folder = read_folder(copied.client, version.run_id)
    before = (folder / file).read_bytes()
    try:
        (folder / file).write_text(str(altered).replace("'", '"'))
        verdict = by_name(read(copied))[CREDIT].challengers[1].verdict
        assert verdict.lines == ()
        assert "altered" in verdict.note
        (folder / file).unlink()
        assert "cannot be read" in by_name(read(copied))[CREDIT].challengers[1].verdict.note
    finally:
        (folder / file).write_bytes(before)  # the folder is that of all tests


class Store:
    """A store of artifacts that answers after some seconds, on a clock of its own."""

    def __init__(self, seconds):
        self.now, self.seconds, self.asked = 0.0, seconds, []

    def text(self, client, run_id, path):
        self.asked.append(path)
        self.now += self.seconds
        raise ArtifactError("connection refused")

    def read(self, home, files):
        board = board_facts(open_to_read(home.root), home.root, PLACE, NOW, files)
        verdicts = [v.verdict for m in board.models for v in m.versions if v.verdict]
        assert len(verdicts) > 2
        return [one.note for one in verdicts]


@pytest.mark.parametrize(("seconds", "first"), [(0.1, 3), (30, 1)])
def test_a_store_that_fails_is_left_alone_for_some_minutes(told, monkeypatch, seconds, first):
    store = Store(seconds)
    monkeypatch.setattr("lockstep.promotion.board_facts.run_text", store.text)
    files = VerdictFiles(clock=lambda: store.now)
    notes = store.read(told, files)
    assert len(store.asked) == first
    assert all("connection refused" in one for one in notes)
    again = store.read(told, files)
    assert len(store.asked) == first
    assert all("connection refused" in one for one in again)
    store.now += RETRY_SECONDS
    store.read(told, files)
    assert len(store.asked) == 2 * first
    monkeypatch.undo()
    store.now += RETRY_SECONDS
    assert set(store.read(told, files)) == {""}


def read_folder(client, run_id):
    from lockstep.registry.store.run_notes import local_folder

    return local_folder(client.get_run(run_id).info.artifact_uri)


def test_a_verdict_against_an_earlier_champion_asks_for_another(copied):
    lifecycle.promote(copied.client, CREDIT, 6)
    refused = by_name(read(copied))[CREDIT].challengers[0]
    assert (refused.number, refused.verdict.current) == (5, False)
    step = by_name(read(copied))[CREDIT].steps[0]
    assert "version 4, which is not the champion any more" in step.why
    assert step.commands[0].endswith("--version 5 --against 6")


def test_the_command_writes_a_page_and_nothing_else(copied, monkeypatch, capsys):
    before = sha256_file(copied.root / "mlflow.db")
    monkeypatch.setattr(sys, "argv", ["board"])
    command.main()
    page = (copied.root / "reports/board.html").read_text("utf-8")
    assert "credit-risk-model" in page
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "3 models, 9 versions: 2 in Production, 2 in Staging; 3 to do"
    assert said[1].endswith("reports/board.html")
    assert sha256_file(copied.root / "mlflow.db") == before
    assert [one.name for one in (copied.root / "reports").iterdir()] == ["board.html"]


def test_the_command_takes_another_registry_and_place(copied, monkeypatch, tmp_path):
    monkeypatch.setattr(
        sys, "argv", ["board", "--output", str(tmp_path / "a b" / "x.html"), "--tracking-uri"]
    )
    sys.argv.append("sqlite:///missing.db")
    with pytest.raises(RegistryError, match="no registry yet"):
        command.main()
    assert not (tmp_path / "a b").exists()
    sys.argv[-1] = f"sqlite:///{copied.root / 'mlflow.db'}"
    command.main()
    assert "credit-risk-model" in (tmp_path / "a b" / "x.html").read_text("utf-8")


def test_help_imports_nothing_heavy():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['board', '--help']\n"
        "try:\n"
        "    runpy.run_module('lockstep.commands.board', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    heavy = {'mlflow', 'pandas', 'numpy', 'sklearn', 'requests'} & set(sys.modules)\n"
        "    sys.exit(f'{end.code} {heavy}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "0 set()"
    assert "--tracking-uri" in done.stdout


def test_an_empty_registry_has_an_empty_board(home):
    board = read(home)
    assert (board.models, board.steps, board.timeline) == ((), [], ())
    assert board.summary == "0 models, 0 versions: 0 in Production, 0 in Staging; nothing to do"


def test_a_server_gives_stored_verdicts_and_analyses_too(server, home):
    client, ana = MlflowClient(tracking_uri=server.uri), Who("ana")
    # Its files go through the server, unlike those of the experiment that a store begins with.
    story, name = Story(client, home.root, client.create_experiment("board")), "Board_Of_A_Server"
    for number in range(2):
        story.version(name, 9 - number, validation_roc_auc=0.7)
    story.promote(name, 1, 7, ana)
    story.stage(name, 2, 6, ana)
    story.promote(name, 2, 5, ana, passes=False)
    story.analysis(name, 1, 4, alarm=False)
    shown = by_name(read(home, open_to_read(home.root, server.uri)))[name]
    verdict = shown.challengers[0].verdict
    assert [line.verdict for line in verdict.lines] == ["passed", "passed", "refused", "passed"]
    assert (verdict.note, verdict.current) == ("", True)
    assert shown.production.analysis.time == NOW - timedelta(days=4)
    file = get_model(client, name).record.events[-1].gate["file"]
    assert list(server.folder.glob(f"artifacts/**/{file}")) != []
    for one in server.folder.glob(f"artifacts/**/{file}"):
        one.unlink()
    verdict = by_name(read(home, open_to_read(home.root, server.uri)))[name].challengers[0].verdict
    assert "cannot be read" in verdict.note
    assert "roc_auc 0.7512 against 0.7389" in verdict.summary


def test_faulty_params_are_noted_and_the_registry_is_read_all_the_same(copied):
    (copied.root / "params.yaml").write_text("problems: 3")
    board = read(copied)
    assert "params.yaml" in board.notes[0]
    assert by_name(board)[CREDIT].metric == "roc_auc"


# ---------------------------------------------------------------- what to do next


def version(number, stage="None", **more):
    created = NOW - timedelta(days=10 - number)
    return BoardVersion(number, stage, "xgboost", created, 0.7 + number / 100, rows="r", **more)


def model(*versions, name="M", problem="accidents", **more):
    standing = [one for one in versions if one.stage == "Production"]
    champion = {"champion": standing[-1]} if standing else {}
    return BoardModel(name, problem, "roc_auc", versions, **{**champion, **more})


def steps(*models, params=None):
    return {one.name: one.steps for one in with_steps(models, params)}


def only(*models, params=None, name="M"):
    (found,) = steps(*models, params=params)[name]
    return found


def test_nothing_in_production_begins_with_the_best_model():
    good, better = model(version(1)), model(version(1), version(2), name="N")
    found = steps(good, better)
    assert [one.kind for one in (*found["M"], *found["N"])] == [NOTHING, START]
    assert "--model-name N --version 2 --check" in found["N"][0].commands[0]
    assert "promote --model-name N --version 2" in found["N"][0].commands[1]


def test_types_that_share_a_name_begin_with_the_best_of_the_newest_training():
    old = replace(version(1), metric=0.99, rows="old")
    shared = model(old, version(2), replace(version(3), metric=0.9), version(4))
    assert only(shared).title == "Put version 3 into Production"
    unknown = model(version(2), replace(version(3), metric=None))
    assert only(unknown).title == "Put version 2 into Production"


def test_a_lower_error_is_better_where_models_are_compared_by_it():
    one, two = model(version(1)), model(version(2), name="N")
    errors = [replace(each, metric="rmse") for each in (one, two)]
    assert [each.kind for each in steps(*errors)["M"]] == [START]


def test_metrics_of_other_rows_choose_no_model():
    old = replace(version(1), metric=0.99, rows="other")
    assert only(model(old), model(version(2), name="N")).kind == NOTHING


def test_a_problem_that_is_served_needs_no_second_model():
    found = only(model(version(1)), model(version(1, "Production"), name="N"))
    assert found.kind == NOTHING
    assert "accidents is served by N" in found.why


def test_a_challenger_of_another_name_is_compared_with_the_one_that_serves():
    found = only(model(version(1, "Staging")), model(version(3, "Production"), name="N N"))
    assert found.commands[0].endswith("--version 1 --against 3 --against-name 'N N'")


def test_an_alarm_asks_for_a_rollback_only_where_one_is_possible():
    alarm = Analysis(NOW, alarm=True, proposal="rollback", newest_month="2026-10")
    serving = version(2, "Production", analysis=alarm)
    assert only(model(serving, can_go_back=True)).title == "Roll back version 2"
    found = only(model(serving))
    assert (found.kind, found.title) == (ALARM, "Retrain accidents")
    assert found.commands == ("python scripts/retrain_model.py --problem accidents",)


def test_an_alarm_names_the_month_of_a_samples_window(home):
    alarm = Analysis(NOW, alarm=True, proposal="retrain", newest_month="2199-01")
    serving = version(2, "Production", analysis=alarm)
    found = only(model(serving, problem="credit_risk"), params=load_params(home.root))
    assert found.commands[0].endswith("--problem credit_risk --through 2199-01")


def test_a_challenger_that_came_after_an_alarm_is_judged_first():
    alarm = Analysis(NOW - timedelta(days=8.5), alarm=True, proposal="retrain")
    serving = version(1, "Production", analysis=alarm)
    assert only(model(serving, version(3, "Staging"))).kind == DECIDE
    refused = version(3, "Staging", verdict=Verdict("refused", "champion: it loses", 1, NOW))
    assert [one.kind for one in steps(model(serving, refused))["M"]] == [ALARM, DECIDE]
    late = replace(serving, analysis=replace(alarm, time=NOW))
    found = steps(model(late, version(3, "Staging")))["M"]
    assert [one.kind for one in found] == [ALARM, DECIDE]


def test_a_passed_challenger_is_promoted():
    passed = Verdict("passed", "champion: it wins", 1, NOW)
    waiting = version(2, "Staging", verdict=passed)
    found = only(model(version(1, "Production"), waiting))
    assert found.commands == (
        "python scripts/manage_model_registry.py promote --model-name M --version 2",
    )
    assert "Its gates passed on 2026-11-29 08:00 UTC: champion: it wins. Add --reason" in found.why


def test_no_command_makes_up_a_reason_to_promote(told):
    commands = [one for _, step in read(told).steps for one in step.commands if " promote " in one]
    commands += only(model(version(1))).commands[1:]
    assert len(commands) == 2
    assert all("--reason" not in one for one in commands)


def test_a_version_that_was_rolled_back_to_staging_is_not_promoted_again(home):
    story, ana = Story(home.client, home.root), Who("ana", "weekly")
    for days in (9, 8):
        story.version("M", days, "accidents", validation_roc_auc=0.7)
    story.promote("M", 1, 7, ana)
    story.stage("M", 2, 6, ana)
    story.promote("M", 2, 5, ana)
    story.rollback("M", 4, Who("ben", "errors doubled"))
    shown = by_name(read(home))["M"]
    (waiting,) = shown.challengers
    assert (waiting.number, waiting.verdict.outcome, waiting.verdict.current) == (2, "passed", True)
    (found,) = shown.steps
    assert found.title == "Version 2 was rolled back: archive it, or retrain"
    assert "rolled back on 2026-11-25 08:00 UTC (ben, errors doubled)" in found.why
    assert "archive --model-name M --version 2" in found.commands[0]
    assert "retrain_model.py --problem accidents" in found.commands[-1]
    assert not any(" promote " in one for one in found.commands)
    story.promote("M", 2, 3, ana, passes=False)
    assert "was refused" in by_name(read(home))["M"].steps[0].title
    story.promote("M", 2, 2, ana)
    assert by_name(read(home))["M"].production.rolled_back is None


def test_a_forced_verdict_has_not_passed():
    forced = Verdict("forced", "champion: it loses", 1, NOW)
    found = only(model(version(1, "Production"), version(2, "Staging", verdict=forced)))
    assert found.title.startswith("Version 2 was refused, then forced: archive it")
    assert found.why.endswith("The gates had refused it: champion: it loses")
    assert "passed" not in found.why
    assert not any(" promote " in one for one in found.commands)


def test_a_verdict_that_no_gate_gives_has_not_passed():
    strange = Verdict("", "", 1, NOW)
    found = only(model(version(1, "Production"), version(2, "Staging", verdict=strange)))
    assert found.title == "Judge version 2"
    assert "passed" not in found.why


def test_a_version_that_was_judged_as_the_first_is_compared_with_the_one_that_came_since():
    first = Verdict("passed", "no champion", None, NOW, current=False)
    found = only(model(version(2, "Production"), version(1, "Staging", verdict=first)))
    assert found.why.startswith("When it was judged, nothing was in Production.")
    assert "champion any more" not in found.why
    assert found.commands[0].endswith("--version 1 --against 2")


def test_a_version_that_was_rolled_back_is_no_start():
    back = Moved(NOW, "ana")
    found = only(model(version(1), version(2, rolled_back=back)))
    assert found.title == "Put version 1 into Production"


def test_an_open_or_damaged_record_is_repaired_first():
    found = only(model(version(1, "Production"), version(2, "Staging"), open_events=(7,)))
    assert found.kind == REPAIR
    assert "event 7" in found.why
    assert found.commands[0].endswith("manage_model_registry.py doctor")
    damaged = only(model(version(1), faults=("event 3 was altered",)))
    assert (damaged.kind, "event 3 was altered" in damaged.why) == (REPAIR, True)


def test_models_of_other_tools_and_without_versions_are_left_alone():
    assert only(model(version(1), problem="")).kind == NOTHING
    waiting = model(version(1, "Staging"), problem="")
    serving = model(version(3, "Production"), name="N", problem="")
    for found in steps(waiting, serving).values():
        assert [(one.kind, one.commands) for one in found] == [(NOTHING, ())]
        assert "Another tool registered it" in found[0].why
    alarm = Analysis(NOW, alarm=True, proposal="retrain")
    found = only(model(version(1, "Production", analysis=alarm), problem=""))
    assert (found.title, found.commands) == ("Retrain M", ())
    assert only(model()).why == "It has no version yet."


def test_a_pruned_version_is_no_start():
    found = only(model(version(1), version(2, pruned=True)))
    assert "--version 1 --check" in found.commands[0]


def test_a_hostile_name_is_quoted_in_commands():
    found = only(model(version(1, "Staging"), name="$(reboot); x"), name="$(reboot); x")
    words = shlex.split(found.commands[0])
    assert words[words.index("--model-name") + 1] == "$(reboot); x"


def test_a_crash_shows_as_an_open_event(copied, monkeypatch):
    class Killed(Exception):
        pass

    def die(*_):
        raise Killed

    monkeypatch.setattr("lockstep.registry.record.journal.Journal.apply", die)
    with pytest.raises(Killed):
        lifecycle.promote(copied.client, XGBOOST, 1)
    shown = by_name(read(copied))[XGBOOST]
    assert len(shown.open_events) == 1
    assert [one.kind for one in shown.steps] == [REPAIR]
    assert read(copied).timeline[0].outcome == "open"
