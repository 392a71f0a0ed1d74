"""Batch scoring in real Spark tasks: as predictions answer, in whole files, resumed after kills."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.models.served import pipeline_of, rows_of, schema_of
from tests.shared.denied import deny

from lockstep.commands import predict_model, score_spark
from lockstep.data.record_columns import ColumnReader
from lockstep.data.records import records_to_table, table_records
from lockstep.engines.score_files import BATCH_ROWS, FileScores, InputFile, loaded, score_file, ship
from lockstep.engines.scoring import (
    check_inputs,
    check_places,
    find_inputs,
    finish,
    prepare_output,
    score,
)
from lockstep.engines.session import spark_session
from lockstep.errors import ArtifactError, DataError, RegistryError, UsageError
from lockstep.models.artifact import ENCODER_SOURCE, canonical_bytes, digest_of
from lockstep.models.golden_rows import golden_rows
from lockstep.models.scoring.prediction import Model, predict
from lockstep.problems.schema import Schema, load_schema
from lockstep.registry.lifecycle.moves import promote

DOOR = Path(__file__).parents[2] / "src" / "models" / "score_spark.py"
NAME, OTHER = "Accident_Prediction_XGBoost", "Accident_Prediction_Random_Forest"
CODE = ENCODER_SOURCE.read_bytes()
INTERVAL = {"coverage": 0.9, "edges": [0.0], "half_widths": [11.5, 20.25], "low": -90.0}
COSTS = {str(label): {"13": 0.2} for label in (3, 5, 8)}
KINDS = {
    "binary": ("xgboost", "sigmoid", {"threshold": 0.4}),
    "multiclass": ("lightgbm", "temperature", {"threshold": None, "costs": COSTS}),
    "regression": ("ridge", "none", {"threshold": None, "interval": INTERVAL}),
}


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    """Hold a session of two slots, which commands of this process use; a task has four tries."""
    with spark_session("local[2,4]") as session:
        yield session


def model_of(task: str) -> tuple[Model, bytes]:
    """Return a small model of a task, and its artifact's bytes."""
    kind, method, facts = KINDS[task]
    pipeline = pipeline_of(task, kind, method)
    content = canonical_bytes(pipeline)
    named = {"name": "Lending", "version": 3, "digest": digest_of(content)}
    return Model(pipeline, schema_of(task), **named, **facts), content


def fitting(schema: Schema, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that fit a schema."""
    cells = {name: pa.array(rows[name]) for name in rows}
    _, fits = ColumnReader(schema, list(rows), "rows").read(cells, len(rows))
    return rows[fits].reset_index(drop=True)


def written(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(path, index=False)
    return rows


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all Parquet files below a folder."""
    paths = sorted(folder.rglob("*.parquet"))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def is_worker(process: psutil.Process) -> bool:
    """Return whether a process runs Python tasks; the first of them starts the others."""
    return "pyspark.daemon" in process.cmdline()


def any_scores(folder: Path) -> bool:
    return any(folder.glob("*.parquet"))


@pytest.mark.parametrize("task", list(KINDS))
def test_rows_get_what_a_prediction_answers_and_bad_rows_its_reason(spark, tmp_path, task):
    model, content = model_of(task)
    rows = rows_of(task, 300, seed=4).assign(id=range(300))
    written(rows.head(200), tmp_path / "in" / "a.parquet")
    written(rows.tail(100), tmp_path / "in" / "b" / "c.parquet")
    files, output = find_inputs(tmp_path / "in"), tmp_path / "out"
    check_inputs(files, model, None)
    shipped = ship(model, content, CODE, None)
    prepare_output(output, shipped, overwrite=False)
    found = score(shipped, files, output, None)
    assert [(one.name, one.rows) for one in found] == [("a.parquet", 200), ("b/c.parquet", 100)]
    for one, part in zip(found, (rows.head(200), rows.tail(100)), strict=True):
        compare(model, part, output, tmp_path / "in", one.name)
    assert finish(output, shipped, found, 1.0)["rows_rejected"] > 50


def compare(model: Model, rows: pd.DataFrame, output: Path, source: Path, name: str) -> None:
    """Compare a file of scores and its rejected rows with a prediction of each row alone."""
    scored = pd.read_parquet(output / name)
    answers = scored.set_index("id").drop(columns=model.schema.feature_names).to_dict("index")
    rejected = pd.read_parquet(output / "_rejected" / name)
    reasons = dict(zip(rejected["id"], rejected["reason"], strict=True))
    assert set(rejected.dtypes.astype(str)) == {"str"}
    for number, record in enumerate(table_records(source / name, model.schema), start=1):
        row = record.pop("id")
        if row in reasons:
            with pytest.raises(DataError) as caught:
                predict(model, [record])
            said = str(caught.value).replace("the record", f"record {number}", 1)
            assert reasons.pop(row) == said
        else:
            (answer,) = predict(model, [record])
            assert answers.pop(int(row)) == columns_of(answer)
    assert not answers
    assert not reasons
    passed = rows[rows["id"].isin(scored["id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(scored[list(rows)], passed)


def columns_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of a prediction as columns of a table."""
    chances = {f"probability_{k}": v for k, v in answer.get("probabilities", {}).items()}
    names = ("probability", "decision", "prediction", "low", "high")
    return chances | {name: answer[name] for name in names if name in answer}


@pytest.fixture
def registry(home, pipeline, other_pipeline) -> Any:
    """Version 1 of a model in Production, 2 in no stage; another model nowhere."""
    home.register(NAME, pipeline, type="xgboost")
    home.register(NAME, other_pipeline, type="xgboost")
    home.register(OTHER, pipeline, type="random_forest")
    promote(home.client, NAME, 1)
    return home


@pytest.fixture
def source(tmp_path) -> Path:
    """Days of accidents in Hive's folders; the hour is in the name of the folder."""
    rows = accidents(600)
    for hour, part in rows.groupby("hour"):
        plain = part.drop(columns="hour")
        written(plain, tmp_path / "in" / f"hour={int(hour)}" / "part 0.parquet")
    assert len(find_inputs(tmp_path / "in")) == 6
    return tmp_path / "in"


def test_what_is_in_production_scores_hive_partitions(spark, registry, source, tmp_path, capsys):
    output = tmp_path / "out"
    run(source, output, "--model-name", NAME, "--stage", "Production", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((output / "_lockstep.json").read_text())
    assert (told["model_name"], told["model_version"], told["rows"]) == (NAME, 1, 600)
    assert (output / "_SUCCESS").exists()
    assert not (output / "_rejected").exists()
    one = output / "hour=7" / "part 0.parquet"
    notes = parquet.read_metadata(one).metadata
    assert (notes[b"model_name"], notes[b"model_version"]) == (NAME.encode(), b"1")
    read = spark.read.parquet(str(output))
    assert read.count() == 600
    assert {"hour", "probability", "decision", "row"} <= set(read.columns)
    compare_with_predict_model(source, output, tmp_path, capsys)


def compare_with_predict_model(source: Path, output: Path, folder: Path, capsys: Any) -> None:
    """Compare with predict_model on the same rows in one table."""
    table = pd.read_parquet(source / "hour=7" / "part 0.parquet")
    features = table.drop(columns="row").assign(hour=7)
    features.to_parquet(folder / "table.parquet")
    predict_model.main([str(folder / "table.parquet"), "--model-name", NAME, "--json"])
    answers = json.loads(capsys.readouterr().out)
    scored = pd.read_parquet(output / "hour=7" / "part 0.parquet")
    for name in ("probability", "decision"):
        assert scored[name].tolist() == [answer[name] for answer in answers]


def test_a_second_run_scores_only_what_is_new_or_changed(spark, registry, source, tmp_path, capsys):
    output = tmp_path / "out"
    arguments = (source, output, "--model-name", NAME)
    run(*arguments)
    before = {p: p.stat().st_mtime_ns for p in output.rglob("*.parquet")}
    changed, new = source / "hour=3" / "part 0.parquet", source / "hour=3" / "more.parquet"
    shutil.copy(changed, new)
    written(pd.read_parquet(changed).assign(vma=50.0), changed)
    (source / "hour=4" / "part 0.parquet").unlink()
    (output / "hour=5" / "part 0.parquet").write_bytes(b"PAR1 damaged PAR1")
    capsys.readouterr()
    run(*arguments)
    out, err = capsys.readouterr()
    assert f"in {len(before)} files, {len(before) - 3} of them done before; none rej" in out
    assert "note: hour=4/part 0.parquet in" in err
    after = {p: p.stat().st_mtime_ns for p in output.rglob("*.parquet")}
    again = {p.relative_to(output).as_posix() for p in after if before.get(p) != after[p]}
    assert again == {"hour=3/part 0.parquet", "hour=3/more.parquet", "hour=5/part 0.parquet"}


def test_scores_of_two_models_or_settings_do_not_mix(spark, registry, source, tmp_path, capsys):
    output = tmp_path / "out"
    run(source, output, "--model-name", NAME)
    before = contents(output)
    for extra, message in {
        ("--version", "2"): f"out holds scores of {NAME} version 1; choose another folder or",
        ("--threshold", "0.9"): rf"{NAME} version 1 with other settings \(threshold\); choose",
        ("--keep", "row"): rf"{NAME} version 1 with other settings \(columns\); choose",
    }.items():
        with pytest.raises(DataError, match=message):
            run(source, output, "--model-name", NAME, *extra)
    assert contents(output) == before
    assert (output / "_SUCCESS").exists()
    run(source, output, "--model-name", NAME, "--version", "2", "--keep", "row", "--overwrite")
    (output / "_SUCCESS").unlink()
    scored = parquet.read_table(output / "hour=7" / "part 0.parquet")
    assert scored.column_names == ["row", "probability", "decision"]
    assert scored.schema.metadata[b"model_version"] == b"2"


@pytest.mark.long
def test_a_killed_command_goes_on_to_the_same_bytes(spark, registry, tmp_path):
    rows = accidents(2_000)
    for number in range(40):
        written(rows, tmp_path / "in" / f"{number:03}.parquet")
    arguments = (tmp_path / "in", tmp_path / "killed", "--model-name", NAME)
    command = subprocess.Popen([sys.executable, str(DOOR), *map(str, arguments)],
                               cwd=registry.root, stderr=subprocess.PIPE)  # fmt: skip
    wait_until(lambda: any_scores(tmp_path / "killed") or command.poll() is not None)
    children = psutil.Process(command.pid).children(recursive=True)
    command.kill()
    command.communicate()
    assert not psutil.wait_procs(children, timeout=30)[1]
    left = contents(tmp_path / "killed")
    assert 0 < len(left) < 40
    assert not (tmp_path / "killed" / "_SUCCESS").exists()
    run(*arguments)
    run(tmp_path / "in", tmp_path / "whole", "--model-name", NAME)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert contents(tmp_path / "killed").items() >= left.items()
    assert not list((tmp_path / "killed").rglob(".*.part"))


def test_nothing_in_production_is_one_line(spark, registry, source, tmp_path):
    with pytest.raises(RegistryError, match=f"{OTHER} has no .*Production"):
        run(source, tmp_path / "out", "--model-name", OTHER)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say which model"),
        (["--model-name", NAME, "--threshold", "2"], "no probability"),
        (["--model-name", NAME, "--max-rejected", "5"], "5 is no share"),
        (["--model-name", NAME, "--keep", ","], "names no column"),
        (["--stage", "Production"], "--model-name NAME; give that too"),
    ],
)
def test_impossible_options_are_usage_errors(tmp_path, monkeypatch, arguments, message):
    monkeypatch.delenv("USE_BEST_MODEL", raising=False)
    monkeypatch.delenv("USE_MLFLOW_PRODUCTION", raising=False)
    with pytest.raises(UsageError, match=message):
        run(tmp_path, tmp_path / "out", *arguments)


def test_an_address_is_no_path(tmp_path):
    with pytest.raises(UsageError, match=r"s3://bucket/in is an address, no path; mount it"):
        score_spark.main(["s3://bucket/in", str(tmp_path), "--model-name", NAME])


def run(source: Path, output: Path, *arguments: str) -> None:
    score_spark.main([str(source), str(output), *arguments])


def accidents(count: int) -> pd.DataFrame:
    """Return so many rows of accidents that fit, numbered in a column of their own."""
    schema = load_schema("accidents")
    rows = fitting(schema, golden_rows(schema, 3000, seed=1)).query("3 <= hour < 9")
    return rows.sample(count, replace=True, random_state=0).assign(row=range(count))


def wait_until(is_true: Callable[[], Any], seconds: float = 150) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def model() -> tuple[Model, bytes]:
    return model_of("binary")


@pytest.fixture
def scored(spark, model, tmp_path) -> Callable[..., Any]:
    """Return what scores a folder as the command does."""

    def run(keep: list[str] | None = None, most: float = 1.0) -> Any:
        files, output = find_inputs(tmp_path / "in"), tmp_path / "out"
        check_inputs(files, model[0], keep)
        shipped = ship(*model, CODE, keep)
        prepare_output(output, shipped, overwrite=False)
        return finish(output, shipped, score(shipped, files, output, None), most)

    return run


@pytest.fixture
def rows() -> pd.DataFrame:
    return fitting(schema_of("binary"), rows_of("binary", 300, seed=6)).assign(id="é")


@pytest.mark.soak
def test_a_killed_worker_is_replaced_and_the_bytes_are_the_same(spark, scored, rows, tmp_path):
    many = pd.concat([rows] * 20)
    for number in range(40):
        written(many, tmp_path / "in" / f"{number:02}.parquet")
    killed: list[int] = []

    def kill() -> None:
        wait_until(lambda: any_scores(tmp_path / "out"))
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # Spark starts short-lived helpers, too
                if is_worker(process) and is_worker(process.parent()):
                    process.kill()
                    killed.append(process.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    assert scored()["files"] == 40
    thread.join()
    assert killed
    assert not list((tmp_path / "out").rglob(".*.part"))
    after = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert scored()["files_done_before"] == 0
    assert contents(tmp_path / "out") == after


def test_scores_go_where_this_process_means_an_output_to_be(
    spark, model, rows, tmp_path, monkeypatch
):
    """The workers of a session have a working folder of their own, as those of a cluster have."""
    written(rows, tmp_path / "in" / "a.parquet")
    monkeypatch.chdir(tmp_path)
    shipped, output = ship(*model, CODE, None), Path(f"out of {tmp_path.name}")
    prepare_output(output, shipped, overwrite=False)
    found = score(shipped, find_inputs(Path("in")), output, None)
    assert finish(output, shipped, found, 1.0)["rows"] == len(rows)
    assert contents(tmp_path / output).keys() == {"a.parquet"}


def test_too_many_rejected_rows_fail_at_the_end(scored, rows, tmp_path):
    written(rows.assign(age=[17.0] * 9 + list(rows["age"][9:])), tmp_path / "in" / "a.parquet")
    said = r"9 of \d+ rows were rejected .*--max-rejected 0.05 .*_rejected, e.g. a.parquet: "
    with pytest.raises(DataError, match=said + r"record 1 .*age = 17 is not among"):
        scored(most=0.05)
    assert len(pd.read_parquet(tmp_path / "out" / "a.parquet")) == len(rows) - 9
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    (tmp_path / "out" / "_rejected" / "a.parquet").unlink()
    assert scored(most=0.5)["files_done_before"] == 0
    assert pd.read_parquet(tmp_path / "out" / "_rejected")["id"].tolist() == ["é"] * 9
    written(rows, tmp_path / "in" / "a.parquet")
    assert scored(most=0.05)["rows_rejected"] == 0
    assert not (tmp_path / "out" / "_rejected" / "a.parquet").exists()


def test_a_damaged_file_is_named_and_the_others_are_scored(scored, rows, tmp_path):
    for name in "abc":
        written(rows, tmp_path / "in" / f"{name}.parquet")
    path = tmp_path / "in" / "b.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)  # pages, not the list of columns at the end
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"b.parquet is no readable .*1 of 3 files failed"):
        scored()
    assert contents(tmp_path / "out").keys() == {"a.parquet", "c.parquet"}
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    written(rows, path)
    assert scored()["files_done_before"] == 2


def test_a_place_that_cannot_be_written_is_named(scored, rows, tmp_path):
    written(rows, tmp_path / "in" / "day" / "a.parquet")
    scored()
    shutil.rmtree(tmp_path / "out" / "day")
    (tmp_path / "out" / "day").write_text("in the way")
    with pytest.raises(DataError, match=r"out/day/a.parquet.* Not a directory.*; see that"):
        scored()


def test_files_are_scored_in_batches_of_bounded_memory(model, rows, tmp_path):
    repeats = BATCH_ROWS // len(rows) + 2
    large = pd.concat([rows] * repeats, ignore_index=True)
    large.loc[BATCH_ROWS + 1, "age"] = 5.0
    path = tmp_path / "large.parquet"
    written(large, path)
    file = InputFile(str(path), "large.parquet", {})
    found = score_file(ship(*model, CODE, None), tmp_path / "out", file)
    assert (found.rows, found.rejected) == (len(large), 1)
    assert parquet.read_metadata(tmp_path / "out" / "large.parquet").num_row_groups == 2
    (reason,) = pd.read_parquet(tmp_path / "out" / "_rejected" / "large.parquet")["reason"]
    assert reason.startswith(f"record {BATCH_ROWS + 2} does not fit")


def test_files_without_rows_and_columns_of_any_type(scored, rows, tmp_path):
    table, count = pa.Table.from_pandas(rows, preserve_index=False), len(rows)
    table = table.append_column("list", pa.array([[1, 2]] * count))
    table = table.append_column("bytes", pa.array([b"\xff"] * count))
    table = table.set_column(table.column_names.index("age"), "age", pa.array([90] * count))
    low = table.set_column(0, "amount", pa.array([-1] * count))
    (tmp_path / "in").mkdir()
    for name, content in {"a": table, "none": table.slice(0, 0), "bad": low}.items():
        parquet.write_table(content, tmp_path / "in" / f"{name}.parquet")
    facts = scored()
    assert (facts["rows_scored"], facts["rows_rejected"]) == (count, count)
    a, none = (parquet.read_table(tmp_path / "out" / f"{n}.parquet") for n in ("a", "none"))
    passed = a.select(table.column_names)
    assert passed.equals(table)
    assert none.schema.equals(a.schema)
    refused = parquet.read_table(tmp_path / "out" / "_rejected" / "bad.parquet")
    assert refused["list"][0].as_py() == "[1, 2]"


def test_partitions_are_read_as_text_and_may_be_empty(scored, rows, tmp_path):
    plain = rows.drop(columns=["grade"]).head(3)
    for folder in ("grade=A", "grade=%41", "grade=__HIVE_DEFAULT_PARTITION__", "grade=Z"):
        written(plain, tmp_path / "in" / folder / "x.parquet")
    facts = scored()
    assert (facts["rows_scored"], facts["rows_rejected"]) == (9, 3)
    one, other, none = (pd.read_parquet(tmp_path / "out" / f"grade={name}" / "x.parquet")
                        for name in ("A", "%41", "__HIVE_DEFAULT_PARTITION__"))  # fmt: skip
    assert one["probability"].tolist() == other["probability"].tolist()
    table = records_to_table(schema_of("binary"), plain.drop(columns="id").assign(grade=None)
                             .to_dict("records"))  # fmt: skip
    assert none["probability"].tolist() == model_of("binary")[0].score(table).tolist()


@pytest.mark.parametrize(
    ("change", "keep", "message"),
    [
        ({"age": None}, None, "a.parquet lacks age; add it"),
        ({"probability": 1.0}, None, "a column probability, as the scores are called"),
        ({"reason": "x"}, None, "a column reason, which rejected rows get"),
        ({"zone": "x"}, None, "a.parquet has zone twice"),
        ({}, ["id", "nobody"], "a.parquet lacks nobody, which --keep names"),
    ],
)
def test_columns_that_cannot_be_scored_or_written_are_refused_first(
    model, rows, tmp_path, change, keep, message
):
    written(rows.assign(**change).dropna(axis=1, how="all"), tmp_path / "zone=7" / "a.parquet")
    with pytest.raises(DataError, match=message):
        check_inputs(find_inputs(tmp_path), model[0], keep)


def test_what_is_no_parquet_is_named_with_the_fix(rows, tmp_path):
    (tmp_path / "_hidden").mkdir()
    (tmp_path / "_hidden" / "x.csv").write_text("a")
    with pytest.raises(DataError, match=r"holds no Parquet file; give"):
        find_inputs(tmp_path)
    (tmp_path / "x.csv").write_text("a,b")
    with pytest.raises(DataError, match=r"holds x.csv, and only Parquet is scored; write"):
        find_inputs(tmp_path)
    with pytest.raises(DataError, match=r"holds x.csv, and only Parquet is scored; write"):
        find_inputs(tmp_path / "x.csv")
    with pytest.raises(DataError, match=r"nowhere is missing; give a Parquet file"):
        find_inputs(tmp_path / "nowhere")


def test_links_are_followed_and_loops_are_not(rows, tmp_path):
    written(rows, tmp_path / "in" / "day=1" / "a.parquet")
    written(rows, tmp_path / "elsewhere" / "b.parquet")
    for day in (2, 3):
        (tmp_path / "in" / f"day={day}").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "elsewhere" / "above").symlink_to(tmp_path)
    found = [file.name for file in find_inputs(tmp_path / "in")]
    assert found == ["day=1/a.parquet", "day=2/b.parquet", "day=3/b.parquet"]


def test_what_cannot_be_read_is_named(rows, tmp_path, monkeypatch):
    written(rows, tmp_path / "in" / "a.parquet")
    (tmp_path / "in" / "nowhere").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds nowhere, and only Parquet is scored; write"):
        find_inputs(tmp_path / "in")
    (tmp_path / "in" / "nowhere").unlink()
    (tmp_path / "in" / "day").mkdir()
    deny(monkeypatch, "day")
    with pytest.raises(DataError, match=r"the folder .*in/day can't be read .*; make it readable"):
        find_inputs(tmp_path / "in")


def test_scores_on_another_disk_are_no_success(model, tmp_path):
    shipped, output = ship(*model, CODE, None), tmp_path / "out"
    prepare_output(output, shipped, overwrite=False)
    (output / "a.parquet").touch()
    found = [FileScores("a.parquet", rows=3), FileScores("b.parquet", rows=3)]
    said = r"out/b.parquet is not here, .*; mount .*; 1 of 2 files failed, the others have"
    with pytest.raises(DataError, match=said):
        finish(output, shipped, found, 1.0)
    assert not (output / "_SUCCESS").exists()


def test_folders_that_would_mix_are_refused(model, tmp_path):
    shipped, home = ship(*model, CODE, None), tmp_path / "in"
    home.mkdir()
    for output in (home, home / "out", tmp_path):
        with pytest.raises(DataError, match="lie in one another"):
            check_places(home, output)
    (home / "x.parquet").touch()
    check_places(home / "x.parquet", home / "out")
    with pytest.raises(DataError, match=r"x.parquet is a file; give a folder"):
        check_places(tmp_path / "other", home / "x.parquet")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="in holds other files than scores; give a new"):
            prepare_output(home, shipped, overwrite)
    assert (home / "x.parquet").exists()


def test_a_model_that_changes_on_its_way_is_not_loaded(spark, model, rows, tmp_path):
    written(rows, tmp_path / "in" / "a.parquet")
    shipped = replace(ship(*model, CODE, None), code=CODE + b"\n", keep=("id",))
    (one,) = score(shipped, find_inputs(tmp_path / "in"), tmp_path / "out", None)
    assert "has digest" in one.fault
    assert not (tmp_path / "out").exists()
    twisted = shipped.golden[1][::-1]
    shipped = replace(shipped, code=CODE, golden=(shipped.golden[0], twisted), keep=("age",))
    with pytest.raises(ArtifactError, match="Lending on an executor does not repeat"):
        loaded(shipped)
