import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serving.conftest import NAME, PROJECT, RECORD

from lockstep.config.settings import CONFIG_FILE
from lockstep.errors import LockstepError, UsageError
from lockstep.serving.deployment import (
    PACKAGES,
    ask,
    check_answers,
    check_decision,
    requirements,
    started,
    write_deployment,
)


@pytest.fixture
def bundle(root: Path) -> Path:
    from lockstep.audit.bundle import export
    from lockstep.config.settings import load_settings
    from lockstep.registry.store.connection import connect

    client = connect(load_settings(root, environ={}), root)
    return export(client, root, NAME, root / "bundle", version=2).folder


@pytest.fixture
def own_decision(tmp_path: Path) -> Path:
    """A workspace whose API decides by a threshold and band of its own, and not by the model's."""
    root = tmp_path / "deciding"
    config = root / CONFIG_FILE
    config.parent.mkdir(parents=True)
    config.write_text(
        "serving: {decisions: {accidents: {threshold: 0.321, approval_band: 0.02}}}\n"
    )
    shutil.copyfile(PROJECT / "requirements.lock", root / "requirements.lock")
    return root


def test_a_deployment_serves_with_nothing_but_its_own_folder(bundle, own_decision, tmp_path):
    output = tmp_path / "elsewhere" / "deployment"
    write_deployment(bundle, output, own_decision)
    assert not list(output.rglob("*.pyc"))
    with started(output, Path(sys.executable)) as address:
        told, version = ask(f"{address}/predict", RECORD), ask(f"{address}/version")
    content = json.loads((bundle / "bundle.json").read_text())
    assert (told["version"], told["run_id"]) == (2, content["run_id"])
    assert version["model_digest"] == content["model_digest"]
    assert (version["threshold"], version["approval_band"], told["threshold"]) == (
        0.321,
        0.02,
        0.321,
    )
    check_decision(version, output)
    with pytest.raises(LockstepError, match=r"not by threshold 0\.321 and band 0\.02"):
        check_decision(version | {"approval_band": 0}, output)
    with pytest.raises(UsageError, match="exists already"):
        write_deployment(bundle, output, PROJECT)


def test_what_to_install_is_pinned_and_holds_both_the_models_packages_and_the_apis(bundle):
    pins = requirements(bundle, PROJECT)
    names = [pin.partition("==")[0] for pin in pins]
    assert set(PACKAGES) <= set(names)
    assert set((bundle / "requirements.txt").read_text().split("\n")) - {""} <= set(pins)
    assert all("==" in pin for pin in pins)


def test_a_deployment_that_answers_with_another_model_fails_its_check():
    told = {"model_digest": "a", "run_id": "r"}
    good = {
        "probability": 0.5,
        "run_id": "r",
        "base": 1.0,
        "contributions": {"x": 0.5},
        "margin": 1.5,
    }
    check_answers(good, good, {"model_digest": "a"}, told)
    for predicted, explained, digest, message in (
        (good, good, "b", "another model"),
        (good, {**good, "probability": 0.6}, "a", "give different answers"),
        (good, {**good, "margin": 2.0}, "a", "miss the margin"),
    ):
        with pytest.raises(LockstepError, match=message):
            check_answers(predicted, explained, {"model_digest": digest}, told)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    command = [sys.executable, "-m", "lockstep.serving.deploy", "--bundle", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert "is no exported bundle" in ended.stderr
