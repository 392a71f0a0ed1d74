"""Two versions of a small real problem: from the stages to what is said of them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from sklearn.metrics import roc_auc_score

from lockstep.commands.manage_registry import main
from lockstep.config.layout import ProblemLayout
from lockstep.config.params import Preprocess, Sample
from lockstep.data.preprocess import tidy
from lockstep.errors import RegistryError, UsageError
from lockstep.evaluation.paired_comparison import measured
from lockstep.features import build_features
from lockstep.features.matrix_columns import GROUP, TARGET
from lockstep.io import read_json, read_parquet, write_json, write_parquet
from lockstep.models import train_multi_model
from lockstep.problems.accidents.sample import write_sample
from lockstep.problems.schema import load_schema
from lockstep.promotion.compare_versions import compare_versions
from lockstep.promotion.holdout import holdout, seen_by
from lockstep.registry.artifact.files import ROWS_FILE
from lockstep.registry.artifact.model_cache import CACHE, cached_name
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.opening import open_registry
from lockstep.registry.trained_models import register_models

PROJECT = Path(__file__).parents[2]
ACCIDENTS, NAME, LINEAR = (
    "accidents",
    "Accident_Prediction_LightGBM",
    "Accident_Prediction_Logistic_Regression",
)
TYPES = ("lightgbm", "logistic_regression")


def train(root: Path, model_type: str, **params) -> None:
    """Change a training's parameters and train it."""
    path = root / "params.yaml"
    content = yaml.safe_load(path.read_text())
    content["train"][f"{ACCIDENTS}-{model_type}"]["params"] |= params
    path.write_text(yaml.safe_dump(content))
    train_multi_model.run(root, ACCIDENTS, model_type)


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A workspace after the stages, with two versions of one type and one of another."""
    root = tmp_path_factory.mktemp("compared") / "a project"
    layout = ProblemLayout(root, ACCIDENTS)
    write_sample(Sample(units=700, seed=1), layout.raw)
    for name in ("dvc.yaml", "requirements.lock"):
        (root / name).write_text((PROJECT / name).read_text())
    content = yaml.safe_load((PROJECT / "params.yaml").read_text())
    section = content["problems"][ACCIDENTS] | {"model_types": list(TYPES)}
    section["compare"]["resamples"] = 200
    trainings = {f"{ACCIDENTS}-{name}": content["train"][f"{ACCIDENTS}-{name}"] for name in TYPES}
    (root / "params.yaml").write_text(
        yaml.safe_dump({"problems": {ACCIDENTS: section}, "train": trainings})
    )
    write_parquet(layout.tidy, tidy(layout.raw, "sample", load_schema(ACCIDENTS), Preprocess())[0])
    build_features.run(root, ACCIDENTS)
    (root / "mlflow.db").write_bytes(empty_store.read_bytes())
    train(root, "logistic_regression")
    train(root, "lightgbm", n_estimators=1, num_leaves=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr("lockstep.reports.plots.draw", lambda *_: None)
        patch.setattr("lockstep.reports.plots.save", lambda *_: None)
        register_models(root, ACCIDENTS)
        train(root, "lightgbm", n_estimators=60, num_leaves=7)
        register_models(root, ACCIDENTS)
    return root


@pytest.fixture
def root(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(registered)
    return registered


@pytest.fixture
def client(root: Path):
    return open_registry(root)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    main(["compare", "--model-name", NAME, "--version", "2", "--against", "1", *arguments])
    return capsys.readouterr().out


def test_a_version_carries_what_it_was_fitted_and_tuned_on(root, client) -> None:
    layout = ProblemLayout(root, ACCIDENTS)
    for version in get_model(client, NAME).versions:
        seen = seen_by(client, version, root)
        assert version.tag("seen_digest") == seen.digest
        groups = {
            part: set(read_parquet(layout.matrix(part), [GROUP])[GROUP].to_numpy() >> 24)
            for part in ("train", "stop", "choose", "test")
        }
        assert set(seen.keys.tolist()) == groups["train"] | groups["stop"] | groups["choose"]
    rows = holdout(client, root, ACCIDENTS, get_model(client, NAME).versions)
    assert set(rows.groups.tolist()) == groups["test"]
    assert rows.target.tolist() == read_parquet(layout.matrix("test"), [TARGET])[TARGET].tolist()


def test_metrics_of_both_are_those_of_the_same_rows(root, client) -> None:
    found = compare_versions(client, root, *get_model(client, NAME).versions[::-1])
    for number, version in enumerate((found.version, found.against)):
        figure = found.figures["roc_auc"][number]
        assert figure.value == pytest.approx(float(version.tag("test_roc_auc")), abs=1e-5)
        assert figure.low < figure.value < figure.high
    assert found.difference.wins
    assert found.difference.rows == len(read_parquet(ProblemLayout(root, ACCIDENTS).matrix("test")))


def test_swapped_sides_negate_the_difference(root, client) -> None:
    one, other = get_model(client, NAME).versions
    here, there = (
        compare_versions(client, root, one, other),
        compare_versions(client, root, other, one),
    )
    for metric, told in here.differences.items():
        back = there.differences[metric]
        assert (told.estimate, told.low, told.high) == pytest.approx(
            (-back.estimate, -back.high, -back.low)
        )
    assert {
        what: {n: p[::-1] for n, p in pairs.items()} for what, pairs in here.differs.items()
    } == there.differs


def test_what_differs_is_named(root, capsys) -> None:
    told = json.loads(said(capsys, "--json"))
    differs = told["differs"]
    assert differs["parameters"]["num_leaves"] == {"version": "7", "against": "2"}
    assert "reg_lambda" not in differs["parameters"]
    assert differs["data"] == differs["code"] == differs["environment"] == {}
    assert (told["verdict"], told["metric"]) == ("better", "roc_auc")
    assert told["difference"] == told["metrics"]["roc_auc"]["difference"]


def test_people_read_verdict_metrics_and_what_differs(root, capsys) -> None:
    text = said(capsys)
    lines = text.splitlines()
    assert "version 2 against Accident_Prediction_LightGBM version 1, on" in lines[0]
    assert lines[1].startswith("version 2 is better: roc_auc +0.")
    assert any(line.split()[:2] == ["METRIC", "VERSION"] for line in lines)
    assert any(line.split() == ["num_leaves", "7", "2"] for line in lines)
    assert "code: the same" in lines


def test_a_model_of_another_name_but_one_problem(root, capsys) -> None:
    assert "METRIC             LIGHTGBM 2                LOGISTIC_REGRESSION 1 " in said(
        capsys, "--against-name", LINEAR
    )
    told = json.loads(said(capsys, "--against-name", LINEAR, "--json"))
    assert told["against"]["name"] == LINEAR
    assert told["differs"]["parameters"]["type"] == {
        "version": "lightgbm",
        "against": "logistic_regression",
    }
    assert told["differs"]["environment"]["lightgbm"]["against"] is None


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (["--against", "2"], UsageError, "is compared with itself; give another --against"),
        (["--against", "0"], UsageError, "'0' is no version number"),
        (["--against", "7"], RegistryError, "has no version 7; there are: 1, 2"),
        (
            ["--against-name", "Accident_Prediction_LightGMB"],
            RegistryError,
            "did you mean '" + NAME,
        ),
    ],
)
def test_what_cannot_be_meant_is_told(root, capsys, arguments, error, match) -> None:
    with pytest.raises(error, match=match):
        said(capsys, *arguments)


def test_versions_of_two_problems_are_not_compared(root, client) -> None:
    other = get_model(client, NAME).version(2)
    client.set_model_version_tag(NAME, "1", "lockstep.problem", "credit_risk")
    try:
        moved = get_model(client, NAME).version(1)
        with pytest.raises(
            RegistryError, match=r"is a model of accidents, .* of credit_risk; compare versions of"
        ):
            compare_versions(client, root, other, moved)
    finally:
        client.set_model_version_tag(NAME, "1", "lockstep.problem", "accidents")


def test_a_version_of_this_workspaces_data_needs_no_groups_of_its_own(root, client) -> None:
    """Registered before versions carried them, or where the data were not at hand."""
    version = get_model(client, NAME).version(1)
    before = seen_by(client, version, root)
    client.delete_model_version_tag(NAME, "1", "lockstep.seen_digest")
    try:
        assert seen_by(client, get_model(client, NAME).version(1), root).digest == before.digest
    finally:
        client.set_model_version_tag(NAME, "1", "lockstep.seen_digest", before.digest)


def test_a_closure_that_was_altered_says_nothing(root, client, capsys) -> None:
    run = client.get_run(get_model(client, NAME).version(1).run_id)
    path = Path(run.info.artifact_uri.removeprefix("file://")) / "lineage" / "closure.json"
    whole = read_json(path)
    write_json(path, whole | {"environment": {"python": "2.7"}}, digits=None)
    try:
        differs = json.loads(said(capsys, "--json"))["differs"]
    finally:
        write_json(path, whole, digits=None)
    assert differs["code"] == {"input closure": {"version": "recorded", "against": None}}
    assert "python" not in differs["environment"]


def test_a_run_that_mlflow_gc_removed_says_nothing(
    registered, tmp_path, monkeypatch, capsys
) -> None:
    root = tmp_path / "a project"
    shutil.copytree(registered, root)
    monkeypatch.chdir(root)
    client = open_registry(root)
    run_id = get_model(client, NAME).version(1).run_id
    client.delete_run(run_id)
    client._tracking_client.store._hard_delete_run(run_id)  # what `mlflow gc` calls
    told = json.loads(said(capsys, "--json"))
    assert told["verdict"] == "better"
    assert told["differs"]["parameters"]["num_leaves"] == {"version": "7", "against": None}


def test_figures_are_scikit_learns(root, client) -> None:
    rng = np.random.default_rng(0)
    from lockstep.evaluation.metrics import Scored

    target = (rng.random(300) < 0.4).astype(np.int8)
    one, other = (Scored(target, rng.random(300) + target * 0.3, 0.5) for _ in range(2))
    figures, differences = measured(one, other, np.arange(300) // 3, 50, 0)
    assert figures["roc_auc"][0].value == pytest.approx(roc_auc_score(target, one.score))
    assert differences["roc_auc"].groups == 100


def test_damaged_groups_are_mended_by_registering_again(root, client) -> None:
    """The last test: it leaves one version more."""
    version = get_model(client, LINEAR).version(1)
    model_id = version.source.removeprefix("models:/")
    folder = Path(client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    (folder / ROWS_FILE).write_bytes(b"no set")
    cached = root / CACHE / cached_name(version)
    (cached / ROWS_FILE).unlink(missing_ok=True)
    with pytest.raises(
        RegistryError,
        match=f"registered: {ROWS_FILE}; register it again with `dvc repro -s register`",
    ):
        seen_by(client, version, root)
    register_models(root, ACCIDENTS)
    mended = get_model(client, LINEAR).newest
    assert mended.version == 2
    assert seen_by(client, mended, root).digest == version.tag("seen_digest")
