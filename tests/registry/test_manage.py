import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.commands import manage_registry as manage
from lockstep.commands import registry_versions
from lockstep.errors import LockstepError, RegistryError, UsageError
from lockstep.registry.store.names import EmptyStage, NotRegistered
from lockstep.registry.store.versions import Version

SCRIPT = Path(__file__).parents[2] / "scripts" / "manage_model_registry.py"
NAME = "Accident_Prediction_XGBoost"
FORCED = ("--force", "--reason", "these versions have no files")
"""The gates are tested elsewhere, by versions that have."""


def run(capsys, *arguments):
    manage.main(arguments)
    return capsys.readouterr().out


def answer(capsys, *arguments):
    return json.loads(run(capsys, *arguments, "--json"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory, new_home, empty_store):
    """Hold versions 1 to 10 of one model, scores written, the last from a dirty tree."""
    home = new_home(tmp_path_factory.mktemp("filled") / "a project", empty_store)
    client = home.client
    client.create_registered_model(NAME)
    for number in range(1, 11):
        tags = {
            "problem": "accidents",
            "type": "xgboost",
            "git_commit": "0123456789abcdef",
            "dirty": str(number == 10).lower(),
            "model_digest": f"{number:064x}",
            "threshold": "0.4",
            "validation_roc_auc": f"0.8{number:02d}",
        }
        run_id = client.create_run("0").info.run_id
        written = {f"lockstep.{key}": value for key, value in tags.items()}
        client.create_model_version(NAME, "/nowhere", run_id, tags=written)
    return home


@pytest.fixture
def registry(filled, home_like):
    """A copy of that registry for one test."""
    return home_like(filled)


def test_the_documented_commands_in_their_order(registry, capsys):
    assert answer(capsys, "list-models")[0]["versions"] == 10
    one = ("--model-name", NAME)
    run(capsys, "transition", *one, "--version", "1", "--stage", "Staging")
    assert answer(capsys, "get-model", *one, "--stage", "Staging")["version"] == 1
    run(capsys, "transition", *one, "--version", "1", "--stage", "Production", *FORCED)
    run(capsys, "promote", *one, "--stage", "Production", *FORCED)
    assert answer(capsys, "get-model", *one, "--stage", "Production")["version"] == 10
    run(capsys, "archive", *one, "--version", "1")
    stages = {v["version"]: v["stage"] for v in answer(capsys, "list-versions", *one)}
    assert (stages[1], stages[10]) == ("Archived", "Production")


def test_tables_are_aligned_and_show_only_what_was_written(registry, capsys):
    lines = run(capsys, "list-versions", "--model-name", NAME).splitlines()
    heads = [
        "VERSION",
        "STAGE",
        "TYPE",
        "ROC_AUC",
        "THRESHOLD",
        "CREATED (UTC)",
        "COMMIT",
        "MODEL DIGEST",
        "RUN",
    ]
    assert " ".join(lines[0].split()) == " ".join(heads)
    assert lines[1].split()[:4] == ["10", "None", "xgboost", "0.8100"]
    assert "012345678 (dirty)" in lines[1]
    assert "dirty" not in lines[2]
    starts = [line.index("None") for line in lines[1:]]
    assert set(starts) == {lines[0].index("STAGE")}


def test_list_models_shows_what_is_in_use(registry, capsys):
    run(capsys, "promote", "--model-name", NAME, "--version", "3", *FORCED)
    lines = run(capsys, "list-models").splitlines()
    assert lines[0].split() == ["NAME", "VERSIONS", "NEWEST", "PRODUCTION", "STAGING"]
    assert lines[1].split() == [NAME, "10", "10", "3", "-"]


def test_get_model_for_people_and_for_programs(registry, capsys):
    run(capsys, "promote", "--model-name", NAME, "--version", "3", *FORCED)
    text = run(capsys, "get-model", "--model-name", NAME, "--stage", "Production")
    lines = dict(line.strip().split(maxsplit=1) for line in text.splitlines() if line != "metrics")
    assert (lines["aliases"], lines["dirty"], lines["validation_roc_auc"]) == (
        "production",
        "no",
        "0.8030",
    )
    assert "score_scale" not in text
    facts = answer(capsys, "get-model", "--model-name", NAME, "--stage", "Production")
    assert facts["metrics"] == {"validation_roc_auc": 0.803}
    assert facts["uri"] == f"models:/{NAME}/3"
    assert {"data_digest", "data_dvc_hash"} <= facts.keys()
    assert facts["dirty"] is False
    assert facts["threshold"] == 0.4


@pytest.mark.parametrize("way", [(), ("--on-traffic",)])
def test_a_version_is_compared_with_the_one_in_production(registry, monkeypatch, capsys, way):
    compared = []

    def note(*given):
        compared.append([one.version for one in given if isinstance(one, Version)])
        return {}, "compared", 0

    monkeypatch.setattr("lockstep.commands.traffic.compare_on_traffic", note)
    monkeypatch.setattr(registry_versions.comparison, "compare_versions", note)
    monkeypatch.setattr(registry_versions.comparison, "facts", lambda _: {})
    monkeypatch.setattr(registry_versions.comparison, "readable", lambda _: "compared")
    words = ("compare", "--model-name", NAME, "--version", "2", *way)
    none = f"{NAME} has no version in Production; give --against N"
    with pytest.raises(RegistryError, match=none):
        manage.main(words)
    run(capsys, "promote", "--model-name", NAME, "--version", "3", *FORCED)
    assert run(capsys, *words) == "compared\n"
    assert run(capsys, *words, "--against", "5") == "compared\n"
    assert compared == [[2, 3], [2, 5]]
    itself = f"{NAME} version 3 is the one in Production; give --against N"
    with pytest.raises(UsageError, match=itself):
        manage.main(("compare", "--model-name", NAME, "--version", "3", *way))


def test_another_name_is_compared_by_its_version_in_production(registry, monkeypatch):
    registry.client.create_registered_model("Other")
    words = ("compare", "--model-name", NAME, "--version", "2", "--against-name", "Other")
    with pytest.raises(RegistryError, match="Other has no version in Production; give --against N"):
        manage.main(words)


def test_a_move_says_what_it_did(registry, capsys):
    run(capsys, "promote", "--model-name", NAME, "--version", "1", *FORCED)
    text = run(capsys, "promote", "--model-name", NAME, "--version", "2", *FORCED)
    moved = f"✓ {NAME} version 2: None → Production\n  version 1 made way: Production → Archived\n"
    assert text.startswith(
        f"gates of {NAME} version 2 into Production, against version 1: forced\nCHECK "
    )
    assert text.endswith(f"\n{moved}")
    again = run(capsys, "promote", "--model-name", NAME, "--version", "2", *FORCED)
    assert again == f"✓ {NAME} version 2 is in Production already\n"
    down = run(capsys, "archive", "--model-name", NAME, "--version", "2")
    assert "no version is in Production now" in down


def test_a_move_as_json(registry, capsys):
    run(capsys, "promote", "--model-name", NAME, "--version", "1", *FORCED)
    done = answer(capsys, "promote", "--model-name", NAME, "--version", "2", *FORCED)
    assert done.pop("gate")["verdict"] == "forced"
    assert done == {
        "name": NAME,
        "version": 2,
        "from": "None",
        "to": "Production",
        "changed": True,
        "made_way": [{"version": 1, "from": "Production", "to": "Archived"}],
        "aliases": {"production": 2},
    }


def test_an_unnamed_promote_says_which_it_took(registry, capsys):
    manage.main(["promote", "--model-name", NAME, *FORCED])
    assert "took the newest, 10" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "told"), [(10, False), (9, True)])
def test_an_unnamed_promote_says_when_it_is_not_the_workspaces_model(
    registry, capsys, number, told
):
    card = registry.root / "models" / "accidents" / "xgboost_model.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"model_digest": f"{number:064x}"}))
    manage.main(["promote", "--model-name", NAME, *FORCED])
    assert ("not the model in this workspace" in capsys.readouterr().err) == told


def test_a_broken_card_in_the_workspace_hinders_no_promote(registry, capsys):
    card = registry.root / "models" / "accidents" / "xgboost_model.json"
    card.parent.mkdir(parents=True)
    card.write_text("{")
    assert answer(capsys, "promote", "--model-name", NAME, *FORCED)["version"] == 10


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["list-version", "--model-name", "X"], UsageError, "invalid choice: 'list-version'"),
        ([], UsageError, "required: COMMAND; see `manage_model_registry.py --help`"),
        (["archive", "--model-name", NAME], UsageError, "required: --version"),
        (["get-model", "--model-name", NAME, "--stage", "staging"],
         UsageError, "did you mean 'Staging'"),
        (["archive", "--model-name", NAME, "--version", "latest"],
         UsageError, "'latest' is no version number"),
        (["archive", "--model-name", NAME, "--version", "99"],
         NotRegistered, "no version 99; there are: 1, 2"),
        (["list-versions", "--model-name", "XGBoost"], NotRegistered, "unknown model 'XGBoost'"),
        (["get-model", "--model-name", NAME, "--stage", "Production"],
         EmptyStage, "no version in Production"),
        (["promote", "--model-name", NAME, "--stage", "Archived"], UsageError, "use transition"),
        (["promote", "--model-name", NAME, "--force"],
         UsageError, "on record; say why with --reason TEXT"),
        (["promote", "--model-name", NAME],
         RegistryError, "does not go into Production: floors: test_roc_auc was"),
        (["archive", "--model", NAME, "--version", "1"], UsageError, "required: --model-name"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_with_the_fix(registry, arguments, error, message):
    with pytest.raises(LockstepError, match=message) as caught:
        manage.main(arguments)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


def test_a_server_that_refuses_is_one_line(home, capsys):
    with pytest.raises(RegistryError, match=r"http://127.0.0.1:9 .*refused") as caught:
        manage.main(["--tracking-uri", "http://127.0.0.1:9", "list-models"])
    assert "\n" not in str(caught.value)


def test_an_empty_registry_is_no_error(home, capsys):
    assert "make run-train" in run(capsys, "list-models")
    assert answer(capsys, "list-models") == []


def test_the_tracking_uri_may_stand_before_or_after_the_command(
    registry, capsys, tmp_path, monkeypatch
):
    uri = f"sqlite:///{registry.root}/mlflow.db"
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert len(answer(capsys, "--tracking-uri", uri, "list-models")) == 1
    assert len(answer(capsys, "list-models", "--tracking-uri", uri)) == 1
    assert json.loads(run(capsys, "--json", "list-models", "--tracking-uri", uri))


def parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def test_every_command_and_option_has_a_help_text():
    found = list(parsers(manage.parser()))
    assert len(found) == 1 + len(manage.COMMANDS)
    for parser in found:
        assert parser.description
        for action in parser._actions:
            assert action.help or isinstance(action, argparse._SubParsersAction), action
    (sub,) = (a for a in found[0]._actions if isinstance(a, argparse._SubParsersAction))
    assert all(choice.help for choice in sub._choices_actions)


def test_help_from_another_folder_imports_nothing_heavy(tmp_path):
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(SCRIPT)!r}, 'promote', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    heavy = {'mlflow', 'pandas', 'numpy', 'sklearn', 'sqlalchemy', 'requests'}"
        " & set(sys.modules)\n"
        "    sys.exit(f'{end.code} {heavy}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr.strip() == "0 set()"
    assert "--model-name" in done.stdout


def test_the_script_works_from_another_folder_and_fails_with_one_line(registry, tmp_path):
    uri = f"sqlite:///{registry.root}/mlflow.db"
    command = [sys.executable, str(SCRIPT), "--tracking-uri", uri]
    listed = subprocess.run([*command, "list-models"], cwd=tmp_path, capture_output=True, text=True)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert NAME in listed.stdout
    failed = subprocess.run(
        [*command, "get-model", "--model-name", NAME, "--stage", "production"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert failed.returncode == 2
    assert failed.stderr == (
        "✗ unknown stage 'production' (did you mean 'Production'?);"
        " known: None, Staging, Production, Archived\n"
    )
