import json
import marshal
import struct
import subprocess
import sys
from importlib.util import MAGIC_NUMBER, cache_from_source

import pytest
from tests.registry.loaded import load_version
from tests.registry.populated_registry import NAME, files, flip, stock

import lockstep.features
from lockstep.audit import bundle
from lockstep.audit.bundle import export
from lockstep.audit.bundle_checks import verify_folder, version_of
from lockstep.audit.findings import healthy, report
from lockstep.audit.verify import verify
from lockstep.checks import FAILED
from lockstep.commands import manage_registry as manage
from lockstep.errors import ArtifactError, DataError, UsageError
from lockstep.features import columns_v1
from lockstep.io import sha256_file
from lockstep.models.golden_rows import golden_rows
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.files import SHIPPED_CODE, added_on_loading
from lockstep.registry.artifact.loading import open_folder
from lockstep.registry.artifact.model_cache import CACHE, Located, cached_name
from lockstep.registry.lifecycle import moves as lifecycle
from lockstep.registry.record.events import Who


@pytest.fixture
def filled(request, monkeypatch):
    made = stock(request)
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def exported(filled, tmp_path):
    """A bundle of version 2 in Production."""
    lifecycle.promote(filled.client, NAME, 2)
    export(
        filled.client,
        filled.root,
        NAME,
        tmp_path / "out",
        stage="Production",
        who=Who("ann", "a release"),
    )
    return tmp_path / "out"


def failed(folder):
    return {f.name: f.message for f in verify_folder(folder) if f.verdict == FAILED}


def test_a_bundle_holds_the_artifact_as_it_is_and_all_one_needs(filled, exported):
    kept = filled.folder(2)
    assert files(exported / "model") == files(kept)
    assert all(
        (exported / "model" / f).read_bytes() == (kept / f).read_bytes() for f in files(kept)
    )
    assert (exported / "schema.yaml").read_bytes() == (kept / "schema.yaml").read_bytes()
    assert (exported / "lineage" / "closure.json").is_file()
    lines = (exported / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("scikit-learn==") for line in lines)
    assert all("==" in line and "lockstep" not in line for line in lines)
    told = json.loads((exported / "bundle.json").read_text())
    version = filled.model.version(2)
    assert (told["name"], told["version"], told["stage"]) == (NAME, 2, "Production")
    assert (told["run_id"], told["threshold"]) == (version.run_id, 0.4)
    assert told["model_digest"] == version.tag("model_digest")
    assert told["tags"]["lockstep.closure_digest"] == version.tag("closure_digest")
    assert told["metrics"]["validation_roc_auc"] == 0.81
    assert (told["exported"]["by"], told["exported"]["reason"]) == ("ann", "a release")


def test_its_sums_are_what_sha256sum_checks(exported):
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=exported,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(files(exported)) - 1


def test_its_dockerfile_installs_checks_and_serves_as_a_user(exported):
    lines = (exported / "Dockerfile").read_text().splitlines()
    said = [line.split()[0] for line in lines if line and not line.startswith("#")]
    assert said[0] == "FROM"
    assert lines[2] == "FROM python:{}.{}-slim".format(*sys.version_info)
    assert said.index("USER") > said.index("COPY")
    assert "sha256sum --check --quiet SHA256SUMS" in "\n".join(lines)
    command = json.loads(lines[-1].removeprefix("CMD "))
    assert command[:3] == ["mlflow", "models", "serve"]
    assert command[command.index("--env-manager") + 1] == "local", "nothing is fetched at start"


def test_verify_finds_a_bundle_well_without_registry_or_project(
    filled, exported, monkeypatch, tmp_path, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert manage.main(["verify", "--folder", str(exported), "--json"]) == 0
    told = {f["check"]: f["verdict"] for f in json.loads(capsys.readouterr().out)}
    assert told.pop("commit") == "not recorded"
    assert set(told.values()) == {"ok"}
    assert {"bundle", "files", "digest", "types", "schema", "golden rows", "closure"} <= set(told)


def test_a_byte_changed_in_any_file_of_it_is_found_and_the_file_named(exported):
    assert healthy(verify_folder(exported))
    for name in files(exported):
        before = (exported / name).read_bytes()
        flip(exported / name)
        told = failed(exported)
        assert name == "SHA256SUMS" or name in told["bundle"], name
        assert "bundle" in told
        (exported / name).write_bytes(before)
    assert healthy(verify_folder(exported))


def test_a_missing_and_an_added_file_are_found(exported):
    (exported / "model" / "code" / "evil.py").write_text("")
    assert failed(exported)["bundle"] == "added: model/code/evil.py"
    assert failed(exported)["files"] == "added: code/evil.py"
    (exported / "model" / "code" / "evil.py").unlink()
    (exported / "link").symlink_to(exported / "bundle.json")
    assert failed(exported) == {"bundle": "added: link"}
    (exported / "link").unlink()
    (exported / "lineage" / "closure.json").unlink()
    assert failed(exported) == {
        "bundle": "missing: lineage/closure.json",
        "closure": "lineage/closure.json is missing",
    }


def test_sums_made_anew_do_not_hide_another_model(exported):
    flip(exported / "model" / "model.skops")
    sums = bundle.bundle_sums(exported)
    (exported / "SHA256SUMS").write_text(
        "".join(f"{digest}  {name}\n" for name, digest in sums.items())
    )
    assert {"files", "digest"} <= failed(exported).keys()
    assert "bundle" not in failed(exported)


def test_a_bundle_that_does_not_say_what_it_is_is_no_crash(exported, tmp_path):
    (exported / "bundle.json").write_text("{")
    assert failed(exported).keys() == {"bundle", "bundle.json"}
    (exported / "bundle.json").write_text('{"name": "x"}')
    assert failed(exported).keys() == {"bundle", "bundle.json"}
    (exported / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="is no exported bundle: it holds no SHA256SUMS"):
        verify_folder(exported)
    with pytest.raises(DataError, match="is no exported bundle"):
        verify_folder(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="either --folder DIR or --model-name"):
        manage.main(["verify", "--folder", str(exported), "--model-name", NAME])


def test_an_export_is_on_record_with_the_digest_of_its_sums(filled, exported):
    event = filled.model.record.last
    assert (event.action, event.version, event.done) == ("export", 2, True)
    assert event.details["bundle_digest"] == sha256_file(exported / "SHA256SUMS")
    assert event.who == Who("ann", "a release")
    assert filled.failed(2) == {}


def test_a_folder_that_is_there_is_refused_and_left_alone(filled, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").touch()
    with pytest.raises(UsageError, match="exists already"):
        export(filled.client, filled.root, NAME, tmp_path / "out", version=1)
    assert files(tmp_path / "out") == ["precious"]


@pytest.mark.parametrize("options", [[], ["--stage", "Production", "--version", "1"]])
def test_one_of_stage_and_version_is_needed(filled, tmp_path, options):
    with pytest.raises(UsageError, match="either --stage STAGE or --version N"):
        manage.main(["export", "--model-name", NAME, "--output", str(tmp_path / "out"), *options])


@pytest.mark.parametrize("name", ["model.skops", "MLmodel", "requirements.txt", "golden.json"])
def test_a_damaged_version_is_not_exported(filled, tmp_path, name):
    flip(filled.folder(1) / name)
    with pytest.raises(
        ArtifactError, match=rf"version 1 is not exported: its files failed .*{name}"
    ):
        export(filled.client, filled.root, NAME, tmp_path / "out", version=1)
    assert not (tmp_path / "out").exists()
    assert filled.model.record.last.action == "register"


def test_what_cannot_be_written_leaves_nothing(filled, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"directory|exists"):
        export(filled.client, filled.root, NAME, tmp_path / "file" / "out", version=1)
    assert filled.model.record.last.action == "register"


def test_a_folder_that_came_there_meanwhile_is_left_alone_and_the_export_on_record_as_dropped(
    filled, tmp_path, monkeypatch
):
    def slow(*arguments):
        describe(*arguments)
        (tmp_path / "out" / "precious").mkdir(parents=True)

    describe = bundle.describe
    monkeypatch.setattr(bundle, "describe", slow)
    with pytest.raises(OSError, match="not empty"):
        export(filled.client, filled.root, NAME, tmp_path / "out", version=1)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["precious"]
    assert not list(tmp_path.glob(".out.*"))
    event = filled.model.record.last
    assert (event.action, event.end.outcome) == ("export", "dropped")


class Killed(BaseException):
    pass


def test_an_export_that_was_killed_is_ended_by_the_next_move(filled, tmp_path, monkeypatch):
    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(bundle.Path, "rename", die)
        with pytest.raises(Killed):
            export(filled.client, filled.root, NAME, tmp_path / "out", version=1)
    assert not (tmp_path / "out").exists()
    assert filled.model.record.open[0].action == "export"
    lifecycle.archive(filled.client, NAME, 1)
    event = next(e for e in filled.model.record.events if e.action == "export")
    assert (event.end.outcome, bool(event.end.mended_by)) == ("dropped", True)
    assert filled.failed() == {}


ALONE = """
import sys, warnings
warnings.simplefilter("ignore")
sys.path = [p for p in sys.path if p != {source!r}]
sys.meta_path = [f for f in sys.meta_path if "editable" not in repr(f).lower()]
import importlib.util, json
assert importlib.util.find_spec("lockstep") is None, "this project must not be importable here"
import mlflow.pyfunc, mlflow.sklearn, pandas as pd
golden = json.load(open({model!r} + "/golden.json"))
rows = pd.DataFrame(golden["rows"], columns=golden["columns"])
rows = rows.astype({{c: "float64" for c in rows.columns \
if pd.to_numeric(rows[c], errors="coerce").notna().any()}})
pipeline = mlflow.sklearn.load_model({model!r})
assert max(abs(pipeline.predict_proba(rows)[:, 1] - golden["outputs"])) <= 1e-6
served = mlflow.pyfunc.load_model({model!r})
assert max(abs(served.predict(rows)[:, 1] - golden["outputs"])) <= 1e-6
import lockstep
print("from", *lockstep.__path__)
for name in [name for name in sys.modules if name.partition(".")[0] == "lockstep"]:
    del sys.modules[name]
sys.path = [path for path in sys.path if path != {model!r} + "/code"]
mlflow.set_tracking_uri({store!r})
pipeline = mlflow.sklearn.load_model({registered!r})
assert max(abs(pipeline.predict_proba(rows)[:, 1] - golden["outputs"])) <= 1e-6
import lockstep
print("from", *lockstep.__path__)
"""


def test_mlflow_loads_a_bundle_and_a_version_in_place_without_this_project_and_that_is_no_damage(
    filled, tmp_path, encoded
):
    encoded(filled)
    out, stored = tmp_path / "out", filled.folder(5)
    export(filled.client, filled.root, NAME, out, version=5)
    source = str(bundle.Path(lockstep.__file__).parents[1])
    store, registered = f"sqlite:///{filled.root}/mlflow.db", f"models:/{NAME}/5"
    code = ALONE.format(source=source, model=str(out / "model"), store=store, registered=registered)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    places = [f"{folder}/code/lockstep" for folder in (out / "model", stored)]
    assert [line.removeprefix("from ") for line in done.stdout.splitlines()] == places
    added = added_on_loading(stored)
    assert [name for name in added if not name.endswith(".pyc")] == ["registered_model_meta"]
    assert len(added_on_loading(out / "model")) == len(added) - 1 == 3, (
        "three source files, compiled"
    )
    assert filled.failed(5) == {}
    assert healthy(verify_folder(out))
    export(filled.client, filled.root, NAME, tmp_path / "again", version=5)
    assert files(tmp_path / "again") == sorted(
        set(files(out)) - {f"model/{name}" for name in added}
    )
    load_version(filled.client, filled.root, NAME, version=5)
    cached = filled.root / CACHE / cached_name(filled.model.version(5))
    assert set(files(stored)) - set(files(cached)) == set(added)


def test_planted_compiled_code_is_told_not_exported_and_never_run_here(
    filled, tmp_path, encoded, monkeypatch
):
    encoded(filled)
    stored, out, proof = filled.folder(5), tmp_path / "out", tmp_path / "run"
    name = plant(stored, proof)
    found = filled.found(5)
    assert (found["files"].verdict, found["leftovers"].verdict) == ("ok", "not checked")
    assert name in found["leftovers"].message
    assert name in report(verify(filled.client, filled.root, NAME)), (
        "also where what is well is shortened"
    )
    export(filled.client, filled.root, NAME, out, version=5)
    assert not list(out.rglob("*.pyc"))
    plant(out / "model", proof)
    monkeypatch.setattr(
        lockstep.features, "columns_v1", columns_v1
    )  # as it was, for the tests after this
    for load in (
        lambda: load_version(filled.client, filled.root, NAME, version=5),
        lambda: open_folder(Located(version_of(out), out / "model")),
    ):
        monkeypatch.delitem(sys.modules, columns_v1.__name__)
        load()
        assert sys.modules[columns_v1.__name__].__file__ == columns_v1.__file__
    assert not proof.exists()
    code = f"import sys; sys.path.insert(0, {str(stored / 'code')!r}); import {columns_v1.__name__}"
    subprocess.run([sys.executable, "-S", "-c", code], check=True)
    assert proof.exists(), "Python runs it where the folder is on its path"


def plant(folder, proof):
    """Replace a model's compiled code by code that makes a folder; Python finds it up to date."""
    source = folder / SHIPPED_CODE
    path = bundle.Path(cache_from_source(str(source)))
    path.parent.mkdir(exist_ok=True)
    header = MAGIC_NUMBER + struct.pack(
        "<III", 0, int(source.stat().st_mtime), source.stat().st_size
    )
    code = compile(f"import os; os.mkdir({str(proof)!r})", str(source), "exec")
    path.write_bytes(header + marshal.dumps(code))
    return path.relative_to(folder).as_posix()


def test_what_only_resembles_what_loading_adds_stays_damage(exported):
    for name in (
        "code/registered_model_meta",
        "code/__pycache__/evil.cpython-311.pyc",
        "code/lockstep/__pycache__/columns_v1.cpython-311.pyc",
        "code/lockstep/features/columns_v1.pyc",
        "code/lockstep/features/__pycache__/columns_v1.py",
        "code/lockstep/features/__pycache__/more/columns_v1.cpython-311.pyc",
        "__pycache__/columns_v1.cpython-311.pyc",
    ):
        path = exported / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert failed(exported) == {"bundle": f"added: model/{name}", "files": f"added: {name}"}
        path.unlink()


@pytest.fixture
def encoded():
    """Return what publishes a pipeline with this project's own transformer, as version 5."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import Pipeline

    from lockstep.config.layout import ProblemLayout
    from lockstep.config.params import load_params
    from lockstep.features.encoder import encoder_of
    from lockstep.io import read_json, write_json
    from lockstep.models.artifact import model_digest
    from lockstep.registry.train_stage import publish_training

    def publish(filled):
        import joblib

        schema = load_schema("accidents")
        rows = golden_rows(schema, seed=5)
        target = (rows["hour"].fillna(0) > 12).astype(int)
        encoder = encoder_of(schema, load_params(filled.root).problem("accidents").features)
        pipeline = Pipeline(
            [
                ("encoder", encoder),
                ("model", RandomForestClassifier(1, max_depth=3, random_state=0)),
            ]
        )
        pipeline.fit(rows, target)
        layout = ProblemLayout(filled.root, "accidents")
        joblib.dump(pipeline, layout.model("logistic_regression"), compress=("lz4", 3), protocol=5)
        path = layout.model_card("logistic_regression")
        digests = {
            "model_digest": model_digest(pipeline),
            "file_sha256": sha256_file(layout.model("logistic_regression")),
        }
        write_json(path, read_json(path) | digests, digits=None)
        assert publish_training(filled.root, "accidents", "logistic_regression").version == 5

    return publish
