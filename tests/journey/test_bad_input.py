"""What a user meets when something is wrong.

That is one clear line with the fix, nothing half-written, and a way on.
"""

import json
import pickle
import signal
import socket
import time
from pathlib import Path

import pytest
from tests.journey.faults import (
    DVC_FAILED,
    MANAGE,
    NAME,
    bare,
    fault,
    left_over,
    mounted,
    stopped,
    versions,
)

RECORD = "src/models/test_features.json"
PREDICT = "python src/models/predict_model.py"
MAKE_FAILED = 2


# ---- params.yaml --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "replacement", "told"),
    [
        (
            "sample: {units:",
            "sample: {unit:",
            "'problems.accidents.source.sample.unit' (did you mean 'units'?)",
        ),
        (
            "external: data",
            "externl: data",
            "'problems.accidents.source.externl' (did you mean 'external'?)",
        ),
        (
            "forest, xgboost,",
            "forest, xgbost,",
            "'accidents-xgbost', which has no section in train",
        ),
        (
            "    type: xgboost",
            "    type: xgbost",
            "type 'xgbost', but must hold what its name says (did you mean 'accidents-xgboost'?)",
        ),
        ("metric: roc_auc", "metric: roc_aux", "'roc_aux' (did you mean 'roc_auc'?)"),
    ],
)
def test_a_slip_in_params_is_told_before_anything_runs(
    trained, tmp_path, pattern, replacement, told
):
    copy = bare(trained, tmp_path / "bare")
    copy.edit("params.yaml", pattern, replacement)
    output = copy.run("python -m lockstep.commands.train", code=1)
    assert told in fault(output)
    assert "Running stage" not in output


# ---- raw files ----------------------------------------------------------------------------------


def _every_grav_unhurt(line: bytes) -> bytes:
    cells = line.split(b";")
    return b";".join([*cells[:6], b'"1"', *cells[7:]])


def _one_class(content: bytes) -> bytes:
    header, *rows = content.splitlines()
    assert header.split(b";")[6] == b'"grav"'
    return b"\n".join([header, *map(_every_grav_unhurt, rows)])


RAW_FAULTS = {
    "one class": (_one_class, "the target grav has one class only (0)"),
    "renamed": (
        lambda b: b.replace(b'"grav"', b'"gravite"', 1),
        "'grav' (did you mean 'gravite'?)",
    ),
    "truncated": (lambda b: b[: len(b) // 2], "the file is truncated; fetch or copy it again"),
}


@pytest.mark.long
def test_faulty_raw_files_end_in_one_line_and_the_way_back_is_open(own, tmp_path):
    before = own.run(
        "dvc repro preprocess@accidents && sha256sum data/accidents/tidy.parquet"
    ).split()[-2]
    raw = own.folder / "data" / "accidents" / "raw"
    content = {p.name: p.read_bytes() for p in raw.iterdir() if p.name != "true_probability.csv"}
    for name, (change, told) in RAW_FAULTS.items():
        given = tmp_path / name
        given.mkdir()
        for file, kept in content.items():
            (given / file).write_bytes(change(kept) if file.startswith("usagers") else kept)
        own.run(f"make add-data PROBLEM=accidents FROM='{given}'")
        output = own.run("dvc repro preprocess@accidents", code=DVC_FAILED)
        assert told in fault(output)
        assert not (own.folder / "data" / "accidents" / "tidy.parquet").exists()
        assert left_over(own.folder) == []
    own.run("git checkout -q params.yaml dvc.lock")
    own.run("dvc repro preprocess@accidents")
    assert own.run("sha256sum data/accidents/tidy.parquet").split()[0] == before


# ---- records ------------------------------------------------------------------------------------


def test_a_record_that_does_not_fit_names_every_fault(trained, tmp_path):
    record = json.loads((trained.folder / RECORD).read_text())
    record = dict(record[0] if isinstance(record, list) else record)
    record["lumm"] = record.pop("lum")
    record["victim_age"] = 1000
    (tmp_path / "record.json").write_text(json.dumps(record))
    ask = f"{PREDICT} '{tmp_path / 'record.json'}' --model-path models/xgboost_model.joblib"
    told = fault(trained.run(f"{ask} --output '{tmp_path / 'out.json'}'", code=1))
    assert "missing lum" in told
    assert "no feature is called lumm (did you mean 'lum'?)" in told
    assert not (tmp_path / "out.json").exists()


# ---- models and registry ------------------------------------------------------------------------


def artifact(project) -> Path:
    """Return the one xgboost artifact in the store."""
    (found,) = [
        f
        for f in (project.folder / "mlruns").rglob("model.skops")
        if b"xgboost.sk" in f.read_bytes()
    ]
    return found


def test_a_damaged_artifact_is_refused_and_registered_anew(own):
    ask = f"{PREDICT} {RECORD} --model-name {NAME} --version"
    artifact(own).write_bytes(pickle.dumps({"not": "skops"}))
    told = fault(own.run(f"rm -rf .lockstep/cache; {ask} 1", code=1))
    assert "changed or swapped after it was registered" in told
    assert "dvc repro -s register" in told
    output = own.run("dvc repro -s register")
    assert f"{NAME} version 1: its artifact" in output
    assert [(v["version"], v["stage"]) for v in versions(own)] == [(2, "None"), (1, "None")]
    assert "PROBABILITY" in own.run(f"{ask} 2")
    assert "version 2  None  known" in own.run("dvc repro -s register")


def test_a_model_file_that_was_changed_is_not_opened(own):
    file = own.folder / "models" / "accidents" / "xgboost_model.joblib"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:2000] + b"x" + content[2001:])
    ask = f"{PREDICT} {RECORD} --model-path"
    assert "SHA-256 differs" in fault(own.run(f"{ask} models/xgboost_model.joblib", code=1))
    assert "is a folder" in fault(own.run(f"{ask} models/accidents", code=1))


def test_unknown_names_come_with_the_nearest(trained):
    assert "did you mean 'promote'?" in fault(trained.run(f"{MANAGE} promot", code=2))
    asked = f"{MANAGE} get-model --stage Production --model-name Accident_Prediction_XGBost"
    assert f"did you mean '{NAME}'?" in fault(trained.run(asked, code=1))


def test_a_store_that_is_a_folder_is_told(own):
    (own.folder / "mlflow.db").unlink()
    (own.folder / "mlflow.db").mkdir()
    assert "move it away" in fault(own.run("dvc repro -s register", code=DVC_FAILED))
    assert left_over(own.folder) == []


def test_a_server_that_never_answers_is_left_in_time(trained):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        told = fault(trained.run(f"{MANAGE} list-models", code=1, MLFLOW_TRACKING_URI=uri))
    assert "did not answer" in told
    assert time.monotonic() - started < 20


# ---- disk ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"), [("size=64k", "the disk is full"), ("ro", "no permission to write")]
)
def test_a_full_or_read_only_disk(trained, tmp_path, options, told):
    copy = bare(trained, tmp_path / "bare")
    data = copy.folder / "data" / "accidents"
    with mounted(data, options):
        output = copy.run("python -m lockstep.data.import_raw --problem accidents", code=1)
        assert told in fault(output)
        assert list(data.iterdir()) == []


def test_an_output_below_a_file(trained, tmp_path):
    (tmp_path / "file").write_text("")
    ask = f"{PREDICT} {RECORD} --model-path models/xgboost_model.joblib --output"
    assert "file" in fault(trained.run(f"{ask} '{tmp_path / 'file' / 'out.json'}'", code=1))


# ---- Ctrl-C -------------------------------------------------------------------------------------


@pytest.mark.long
def test_ctrl_c_while_training_leaves_nothing_half_done(own, tmp_path):
    own.edit("params.yaml", r"(accidents-xgboost:\n(?:.*\n){4,8}?.*max_depth: )\d+", r"\g<1>3")
    log = tmp_path / "terminal.txt"
    code, output = stopped(
        own, "make run-train", log, lambda: "accidents xgboost  " in log.read_text()
    )
    assert code in (MAKE_FAILED, -signal.SIGINT)
    assert "Traceback" not in output, output
    assert "interrupted" in output
    assert left_over(own.folder) == []
    assert [v["version"] for v in versions(own)] == [1]
    output = own.run("make run-train")
    assert "What to do next" in output
    assert [v["version"] for v in versions(own)] == [2, 1]
