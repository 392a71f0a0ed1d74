import csv
import io
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest

from lockstep.commands import model_lookup
from lockstep.commands import predict_model as predict
from lockstep.commands.second_process import started
from lockstep.errors import (
    ArtifactError,
    ConfigError,
    DataError,
    LockstepError,
    RegistryError,
    UsageError,
)
from lockstep.registry.lifecycle.moves import promote
from lockstep.registry.store.names import NotRegistered

PROJECT = Path(__file__).parents[2]
DOOR = PROJECT / "src" / "models" / "predict_model.py"
RECORD = str(PROJECT / "src" / "models" / "test_features.json")
XGBOOST, FOREST = "Accident_Prediction_XGBoost", "Accident_Prediction_Random_Forest"


@pytest.fixture(autouse=True)
def _here(monkeypatch):
    """Ask a server in this process: a second one is tested on its own below."""
    monkeypatch.delenv("USE_BEST_MODEL", raising=False)
    monkeypatch.delenv("USE_MLFLOW_PRODUCTION", raising=False)
    monkeypatch.setattr(
        model_lookup, "started", lambda work, *given: nullcontext(lambda: work(*given))
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory, new_home, empty_store, pipeline, other_pipeline):
    """Hold XGBoost 1 (Production) and 2 (Staging), and a better Random_Forest in Production."""
    home = new_home(tmp_path_factory.mktemp("filled") / "a project", empty_store)
    same = {"data_digest": "same rows"}
    home.register(XGBOOST, pipeline, type="xgboost", validation_roc_auc=0.8, **same)
    home.register(XGBOOST, other_pipeline, type="xgboost", stage="Staging", **same)
    home.register(
        FOREST, other_pipeline, type="random_forest", validation_roc_auc=0.9, threshold=0.3, **same
    )
    promote(home.client, XGBOOST, 1)
    promote(home.client, FOREST, 1)
    return home


@pytest.fixture
def registry(filled, home_like):
    """A copy of that registry for one test."""
    return home_like(filled)


def answer(capsys, *arguments, file=RECORD):
    predict.main([file, *arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def model_of(capsys, *arguments):
    (row,) = answer(capsys, *arguments)
    return row["model"], row["version"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--use-best-model"], (FOREST, 1)),
        (["--use-mlflow-production"], (XGBOOST, 1)),
        (["--model-name", XGBOOST], (XGBOOST, 1)),
        (["--model-name", XGBOOST, "--stage", "Staging"], (XGBOOST, 2)),
        (["--model-name", XGBOOST, "--version", "2"], (XGBOOST, 2)),
    ],
)
def test_each_option_means_its_model(registry, capsys, arguments, expected):
    assert model_of(capsys, *arguments) == expected


def test_a_run_means_its_version(registry, capsys):
    run = registry.client.get_model_version(XGBOOST, "2").run_id
    assert model_of(capsys, "--run-id", run) == (XGBOOST, 2)


def test_a_run_without_a_version_is_named(registry):
    for name, called in (("a trial", "a trial"), (None, r"\w+-\w+-\d+")):
        run = registry.client.create_run("0", run_name=name).info.run_id
        with pytest.raises(NotRegistered, match=rf"{run} \({called}\) made no registered version"):
            predict.main([RECORD, "--run-id", run])


@pytest.mark.parametrize(
    ("variables", "arguments", "expected"),
    [
        ({"USE_BEST_MODEL": "true"}, [], (FOREST, 1)),
        ({"USE_MLFLOW_PRODUCTION": "true"}, [], (XGBOOST, 1)),
        ({"USE_BEST_MODEL": "1", "USE_MLFLOW_PRODUCTION": "1"}, [], (FOREST, 1)),
        ({"USE_BEST_MODEL": "false", "USE_MLFLOW_PRODUCTION": "yes"}, [], (XGBOOST, 1)),
        ({"USE_BEST_MODEL": "true"}, ["--use-mlflow-production"], (XGBOOST, 1)),
        ({"USE_BEST_MODEL": "true"}, ["--model-name", XGBOOST, "--version", "2"], (XGBOOST, 2)),
    ],
)
def test_variables_mean_the_same_and_options_win(
    registry, capsys, monkeypatch, variables, arguments, expected
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert model_of(capsys, *arguments) == expected


def test_variables_are_read_from_the_env_file_too(registry, capsys, monkeypatch):
    (registry.root / ".env").write_text("USE_BEST_MODEL=true\n")
    assert model_of(capsys) == (FOREST, 1)
    monkeypatch.setenv("USE_BEST_MODEL", "0")
    with pytest.raises(UsageError, match="say which model"):
        predict.main([RECORD])


def test_a_variable_that_is_no_switch_is_named(registry, monkeypatch):
    monkeypatch.setenv("USE_BEST_MODEL", "maybe")
    with pytest.raises(ConfigError, match="USE_BEST_MODEL='maybe'"):
        predict.main([RECORD])


def test_what_is_said_of_a_row(registry, capsys):
    (row,) = answer(capsys, "--use-best-model")
    assert row["threshold"] == 0.3
    assert row["stage"] == "Production"
    assert row["decision"] == int(row["probability"] >= 0.3)
    assert row["run_id"] == registry.client.get_model_version(FOREST, "1").run_id


def test_text_for_people_names_model_and_run(registry, capsys):
    predict.main([RECORD, "--use-best-model"])
    out, err = capsys.readouterr()
    head, line, origin = out.splitlines()
    titles = ["ROW", "PROBABILITY", "DECISION", "MEANING", "THRESHOLD", "MODEL", "VERSION", "STAGE"]
    assert head.split() == titles
    assert FOREST in line
    assert origin.startswith("run ")
    assert "best roc_auc 0.9000 of 2 in Production, recorded on the same rows" in err


def test_another_threshold(registry, capsys):
    (row,) = answer(capsys, "--use-best-model", "--threshold", "0")
    assert (row["decision"], row["threshold"]) == (1, 0)


def test_standard_input_and_csv(registry, capsys, monkeypatch):
    record = json.loads(Path(RECORD).read_text())
    text = f"{','.join(record)}\n{','.join(map(str, record.values()))}\n" * 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert answer(capsys, "--use-best-model", file="-") == answer(capsys, "--use-best-model")


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_output_is_written_whole_and_not_printed(registry, capsys, suffix):
    expected = answer(capsys, "--use-best-model")
    file = registry.root / f"out.{suffix}"
    predict.main([RECORD, "--use-best-model", "--output", str(file)])
    assert capsys.readouterr().out == ""
    text = file.read_text()
    read = list(csv.DictReader(io.StringIO(text))) if suffix == "csv" else json.loads(text)
    rows = read if isinstance(read, list) else [read]
    assert float(rows[0]["probability"]) == expected[0]["probability"]
    assert rows[0]["model"] == FOREST


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            [RECORD],
            UsageError,
            "say which model: --use-best-model, --use-mlflow-production, --model-name",
        ),
        ([], UsageError, "required: FILE"),
        ([RECORD, "--use-best-model", "--run-id", "a"], UsageError, "not allowed with"),
        (
            [RECORD, "--model-name", "X", "--stage", "Staging", "--version", "1"],
            UsageError,
            "not allowed",
        ),
        (
            [RECORD, "--use-best-model", "--stage", "Staging"],
            UsageError,
            "--model-name NAME; give that too",
        ),
        ([RECORD, "--model-name", "X", "--stage", "prod"], UsageError, "unknown stage 'prod'"),
        ([RECORD, "--model-name", "X", "--version", "latest"], UsageError, "is no version number"),
        ([RECORD, "--use-best-model", "--threshold", "1.2"], UsageError, "no probability"),
        ([RECORD, "--use-best-model", "--threshold", "nan"], UsageError, "no probability"),
        ([RECORD, "--use-best-model", "--threshold", "x"], UsageError, "invalid float value"),
        (
            [RECORD, "--use-best-model", "--output", "a.txt"],
            UsageError,
            "must end in .json, .jsonl, .csv",
        ),
        (
            [RECORD, "--use-best-model", "--problem", "accident"],
            UsageError,
            "did you mean 'accidents'",
        ),
        (["nowhere.json", "--use-best-model"], DataError, "nowhere.json is missing"),
        ([".", "--use-best-model"], DataError, "is a folder"),
        ([RECORD, "--model-name", "Accident_Prediction_XGBost"], NotRegistered, "did you mean"),
        (
            [RECORD, "--model-name", XGBOOST, "--version", "9"],
            NotRegistered,
            "has no version 9; there are",
        ),
        ([RECORD, "--run-id", "0123"], NotRegistered, "no run '0123' here"),
        ([RECORD, "--model-path", "models/x.joblib"], ArtifactError, "models/x.joblib is missing"),
        (
            [RECORD, "--use-best-model", "--tracking-uri", "file:./mlruns"],
            ConfigError,
            "plain file store",
        ),
        (
            [RECORD, "--use-best-model", "--tracking-uri", "http://127.0.0.1:9"],
            RegistryError,
            "refused",
        ),
    ],
)
def test_bad_input_is_one_line_with_the_fix(registry, arguments, error, message):
    with pytest.raises(LockstepError, match=message) as caught:
        predict.main(arguments)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)


def test_a_record_that_does_not_fit_is_refused_before_anything_is_written(registry, capsys):
    record = json.loads(Path(RECORD).read_text())
    bad = registry.root / "bad.json"
    bad.write_text(
        json.dumps({**{k: v for k, v in record.items() if k != "lum"}, "lumi": 1, "vma": -5})
    )
    with pytest.raises(DataError, match=r"missing lum .*no feature is called lumi .*vma = -5"):
        predict.main([str(bad), "--use-best-model", "--output", str(registry.root / "out.json")])
    assert not (registry.root / "out.json").exists()


@pytest.mark.parametrize("form", ["csv", "tsv", "parquet", "json", "-", "- parquet"])
def test_a_table_is_predicted_as_it_stands_and_its_other_columns_are_named(
    registry, capsys, monkeypatch, form
):
    record = json.loads(Path(RECORD).read_text())
    (expected,) = answer(capsys, "--use-best-model")
    cells = {name: "NA" if value is None else str(value) for name, value in record.items()}
    table = pd.DataFrame([{"accident_id": "7", **cells, "grav": "1"}])
    path = registry.root / f"rows.{form.split()[-1]}"
    if form.endswith("parquet"):
        table.to_parquet(path)
    elif form == "json":
        table.to_json(path, orient="records")
    else:
        table.to_csv(path, sep="\t" if form == "tsv" else ";", index=False)
    if form.startswith("-"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    predict.main(["-" if form.startswith("-") else str(path), "--use-best-model", "--json"])
    told = capsys.readouterr()
    assert json.loads(told.out) == [expected]
    assert "ignored, as no features: accident_id (group), grav (target)" in told.err.splitlines()


def test_no_registry_says_how_to_make_one(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RegistryError, match=r"no registry yet: .*make run-train"):
        predict.main([RECORD, "--use-mlflow-production"])


def run_door(root, *arguments):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    command = [sys.executable, str(DOOR), *arguments]
    return subprocess.run(command, cwd=root, env=clean, capture_output=True, text=True)


def test_a_registry_elsewhere_is_asked_in_a_second_process(registry, capsys, monkeypatch):
    monkeypatch.setattr(model_lookup, "is_local", lambda *_: False)
    monkeypatch.setattr(model_lookup, "started", started)
    assert model_of(capsys, "--use-best-model") == (FOREST, 1)
    with pytest.raises(NotRegistered, match="has no version 9"):
        predict.main([RECORD, "--model-name", XGBOOST, "--version", "9"])


@pytest.mark.parametrize("cached", [False, True])
def test_with_a_local_registry_mlflow_is_not_imported(registry, cached):
    if cached:
        predict.main([RECORD, "--use-best-model"])
    code = (
        "import sys\n"
        "from lockstep.commands.predict_model import main\n"
        f"main([{RECORD!r}, '--use-best-model', '--json'])\n"
        "print({'mlflow', 'sqlalchemy'} & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=registry.root, capture_output=True, text=True
    )
    assert json.loads(done.stdout)[0]["model"] == FOREST
    assert done.stderr.splitlines()[-1] == "set()"


def test_the_door_as_typed(registry):
    done = run_door(registry.root, RECORD, "--use-mlflow-production", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["model"] == XGBOOST
    failed = run_door(registry.root, RECORD, "--model-name", "XGBoost")
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith(
        "✗ unknown model 'XGBoost'; registered: Accident_Prediction_Random_Forest"
    )


def test_help_has_a_text_for_each_option_and_imports_nothing_heavy(tmp_path):
    assert all(action.help for action in predict.parser()._actions)
    code = (
        "import runpy, sys\n"
        f"sys.argv = [{str(DOOR)!r}, '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(DOOR)!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    heavy = {'mlflow', 'pandas', 'numpy', 'sklearn', 'requests', 'skops'}"
        " & set(sys.modules)\n"
        "    sys.exit(f'{end.code} {heavy}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr.strip() == "0 set()"


def test_what_loads_a_model_leaves_mlflow_to_the_process_that_asks_the_registry():
    code = (
        "import sys\n"
        "import lockstep.commands.predict_records, lockstep.registry.artifact.loading\n"
        "sys.exit(f\"{'mlflow' in sys.modules} {'sklearn' in sys.modules}\")\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == "False True"
