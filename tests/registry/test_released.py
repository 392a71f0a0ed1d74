"""A workspace serves the old model or the new one, whole, whatever happens on the way."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.journey.faults import mounted

from lockstep.config.layout import ProblemLayout
from lockstep.errors import ArtifactError, UsageError
from lockstep.io import read_json, sha256_file, write_json
from lockstep.models import workspace as models_of_workspace
from lockstep.models.workspace import load_file
from lockstep.registry.artifact.released import Released, pointer_of, release, released_file

LINEAR, FOREST = "logistic_regression", "random_forest"
FACTS = {"name": "Accident_Prediction", "version": 7, "run_id": "r" * 32}
KILLED = 9


@pytest.fixture
def layout(workspace: Path) -> ProblemLayout:
    return ProblemLayout(workspace, "accidents")


def released(layout: ProblemLayout, kind: str, **facts: object) -> Released:
    return release(layout, kind, FACTS | facts, lambda model: None)


def digest(layout: ProblemLayout, kind: str) -> str:
    return read_json(layout.model_card(kind))["model_digest"]


def served(layout: ProblemLayout) -> str:
    """Return the digest of what is served, read as a server does: whole, by its card, or fail."""
    file = pointer_of(layout).resolve(strict=True)
    card = read_json(file.with_suffix(".json"))
    assert sha256_file(file) == card["file_sha256"]
    assert file.with_suffix(".yaml").is_file()
    return card["model_digest"]


def test_the_link_names_an_immutable_copy_that_says_which_version_it_is(
    layout: ProblemLayout,
) -> None:
    done = released(layout, LINEAR)
    name = digest(layout, LINEAR)
    assert os.readlink(pointer_of(layout)) == f"released/{name}.joblib"
    assert (done.file, done.before, done.changed) == (released_file(layout), None, True)
    files = sorted(done.file.parent.iterdir())
    assert [file.name for file in files] == [f"{name}.joblib", f"{name}.json", f"{name}.yaml"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o444}
    model = load_file(pointer_of(layout), layout.root)
    told = (model.name, model.version, model.run_id, model.digest, model.threshold)
    assert told == (*FACTS.values(), name, 0.4)
    assert not released(layout, LINEAR).changed


def test_what_is_served_outlives_what_it_was_copied_from(layout: ProblemLayout) -> None:
    released(layout, LINEAR)
    before = digest(layout, LINEAR)
    layout.model(LINEAR).write_bytes(b"another model")
    layout.model_card(LINEAR).unlink()
    assert served(layout) == before
    assert load_file(pointer_of(layout), layout.root).digest == before


def test_it_outlives_another_schema_of_the_package_too(
    layout: ProblemLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(layout, LINEAR)
    schema = models_of_workspace.load_schema("accidents")
    monkeypatch.setattr(
        models_of_workspace,
        "load_schema",
        lambda _: schema.model_copy(update={"unit": "x", "title": "y"}),
    )
    assert load_file(pointer_of(layout), layout.root).schema == schema


def test_the_same_model_with_another_threshold_is_another_release(layout: ProblemLayout) -> None:
    first = released(layout, LINEAR)
    card = read_json(layout.model_card(LINEAR))
    write_json(layout.model_card(LINEAR), card | {"threshold": 0.7}, digits=None)
    second = released(layout, LINEAR)
    assert (second.before, second.changed) == (first.file, True)
    assert second.file.name.startswith(f"{card['model_digest']}-")
    assert load_file(pointer_of(layout), layout.root).threshold == 0.7
    assert load_file(first.file, layout.root).threshold == 0.4
    assert released(layout, LINEAR).file == second.file


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([LINEAR, FOREST]), st.sampled_from([0.2, 0.4]), st.integers(1, 2)
        ),
        max_size=4,
    )
)
def test_the_last_release_is_served_and_no_earlier_one_ever_changes(
    layout: ProblemLayout, wanted: list[tuple[str, float, int]]
) -> None:
    kept: dict[Path, bytes] = {}
    for kind, threshold, version in wanted:
        card = read_json(layout.model_card(kind))
        write_json(layout.model_card(kind), card | {"threshold": threshold}, digits=None)
        file = released(layout, kind, version=version).file
        model = load_file(pointer_of(layout), layout.root)
        assert (model.type, model.threshold, model.version) == (kind, threshold, version)
        assert {path: path.read_bytes() for path in kept} == kept
        kept |= {
            path: path.read_bytes()
            for path in (file, file.with_suffix(".json"), file.with_suffix(".yaml"))
        }


def test_a_damaged_copy_is_mended(layout: ProblemLayout) -> None:
    file = released(layout, LINEAR).file
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="is not the file its card"):
        load_file(pointer_of(layout), layout.root)
    assert released(layout, LINEAR).file == file
    assert served(layout) == digest(layout, LINEAR)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444


def test_a_model_that_fails_its_check_is_not_served(layout: ProblemLayout) -> None:
    before = released(layout, LINEAR).file
    seen = []

    def refuse(model: object) -> None:
        seen.append(model)
        raise ArtifactError("golden rows")

    with pytest.raises(ArtifactError, match="golden rows"):
        release(layout, FOREST, FACTS, refuse)
    assert [model.digest for model in seen] == [digest(layout, FOREST)]
    assert released_file(layout) == before
    assert sorted(before.parent.glob(".*")) == []


def test_a_model_that_is_not_its_cards_is_not_served(layout: ProblemLayout) -> None:
    layout.model(LINEAR).write_bytes(layout.model(FOREST).read_bytes())
    with pytest.raises(
        ArtifactError, match="is not the file its card describes; run `dvc checkout`"
    ):
        released(layout, LINEAR)
    assert released_file(layout) is None


def test_somebodys_own_file_stays(layout: ProblemLayout) -> None:
    pointer_of(layout).write_bytes(b"mine")
    with pytest.raises(
        UsageError, match=r"production\.pkl is no link but somebody's own file; move it away"
    ):
        released(layout, LINEAR)
    assert pointer_of(layout).read_bytes() == b"mine"


def steps_survived(layout: ProblemLayout, kind: str, step: int) -> bool:
    """Release in a process that dies before its ``step``-th touch of disk; tell if it got by."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    touched = [0]

    def die(event: str, arguments: tuple) -> None:
        if event in (
            "open",
            "os.chmod",
            "os.link",
            "os.symlink",
            "os.rename",
            "os.mkdir",
            "shutil.copyfile",
        ):
            touched[0] += 1
            if touched[0] == step:
                os._exit(KILLED)

    sys.addaudithook(die)
    try:
        released(layout, kind)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_kill_between_any_two_steps_leaves_the_old_model_or_the_new_one(
    layout: ProblemLayout,
) -> None:
    released(layout, LINEAR)
    old, new, found = digest(layout, LINEAR), digest(layout, FOREST), []
    for step in range(1, 200):
        done = steps_survived(layout, FOREST, step)
        found.append(served(layout))
        if done:
            break
    changes = found.index(new)
    assert 10 < changes < len(found)
    assert set(found[:changes]) == {old}
    assert set(found[changes:]) == {new}
    assert released(layout, LINEAR).file.stem == old


@pytest.fixture
def small_disk(layout: ProblemLayout) -> Iterator[ProblemLayout]:
    models = layout.root / "models"
    kept = shutil.copytree(models, layout.root / "kept models")
    with mounted(models, "size=1m"):
        shutil.copytree(kept, models, dirs_exist_ok=True)
        yield layout


def test_a_full_disk_leaves_the_old_model_or_the_new_one(small_disk: ProblemLayout) -> None:
    released(small_disk, LINEAR)
    old, new, failed = digest(small_disk, LINEAR), digest(small_disk, FOREST), 0
    filler = small_disk.root / "models" / "filler"
    for spare in range(0, 200_000, 4096):
        with suppress(OSError), filler.open("wb", buffering=0) as stream:
            while stream.write(b"0" * 4096):
                pass
        os.truncate(filler, max(0, filler.stat().st_size - spare))
        with suppress(OSError):
            released(small_disk, FOREST)
            break
        failed += 1
        assert served(small_disk) in (old, new)
        assert list(small_disk.root.glob("models/accidents/released/.*")) == []
    assert failed
    assert served(small_disk) == new


def releasing(layout: ProblemLayout, kind: str, times: int) -> int:
    child = os.fork()
    if child:
        return child
    try:
        for number in range(times):
            released(layout, kind, version=number)
        os._exit(0)
    finally:
        os._exit(1)


def test_two_at_once_leave_one_of_the_two_at_every_moment(layout: ProblemLayout) -> None:
    released(layout, LINEAR)
    children = [releasing(layout, kind, 10) for kind in (LINEAR, FOREST, LINEAR, FOREST)]
    known, running, looked = {digest(layout, LINEAR), digest(layout, FOREST)}, set(children), 0
    while running:
        assert served(layout) in known
        looked += 1
        for child in tuple(running):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                running.discard(child)
                assert status == 0
    assert looked > 10
    cards = list(pointer_of(layout).parent.glob("released/*.json"))
    assert len(cards) == 20  # ten of each kind, whoever of two with the same card was first
    for card in cards:
        assert sha256_file(card.with_suffix(".joblib")) == read_json(card)["file_sha256"]


STAGE = """
stages:
  train:
    cmd: python train.py
    params: [kind]
    outs: [models/accidents/champion_model.joblib, models/accidents/champion_model.json]
"""
TRAIN = """
import shutil, pathlib, yaml
kind = yaml.safe_load(pathlib.Path("params.yaml").read_text())["kind"]
pathlib.Path("models/accidents").mkdir(parents=True, exist_ok=True)
for suffix in ("joblib", "json"):
    shutil.copyfile(f"made/{kind}_model.{suffix}", f"models/accidents/champion_model.{suffix}")
"""


@pytest.fixture
def project(layout: ProblemLayout, tmp_path: Path) -> ProblemLayout:
    """A git and DVC project whose one stage makes one of two models, as params.yaml says."""
    root = tmp_path / "project"
    shutil.copytree(layout.root / "models" / "accidents", root / "made")
    (root / "dvc.yaml").write_text(STAGE)
    (root / "train.py").write_text(TRAIN)
    shutil.copy(Path(__file__).parents[2] / ".gitignore", root)
    (root / "params.yaml").write_text(f"kind: {LINEAR}\n")
    for command in ("git init -q", "git config user.email a@b.c", "git config user.name a"):
        run(root, command)
    dvc(root, "init", "-q")
    return ProblemLayout(root, "accidents")


def run(root: Path, command: str) -> str:
    done = subprocess.run(
        command, shell=True, cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def dvc(root: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *words], cwd=root, check=True, capture_output=True)


def test_params_a_repro_a_branch_and_a_checkout_change_nothing_of_what_is_served(
    project: ProblemLayout,
) -> None:
    root = project.root
    dvc(root, "repro", "-q")
    run(root, "git add -A && git commit -qm one")
    before = released(project, "champion").file.stem
    assert run(root, "git status --porcelain") == ""
    run(root, "git checkout -qb other")
    (root / "params.yaml").write_text(f"kind: {FOREST}\n")
    dvc(root, "repro", "-q")
    assert digest(project, "champion") != before
    assert served(project) == before
    run(root, "git commit -qam two && git checkout -q -")
    dvc(root, "checkout", "-q")
    assert (served(project), digest(project, "champion")) == (before, before)
    run(root, "git checkout -q other")
    dvc(root, "checkout", "-q")
    dvc(root, "gc", "-w", "-f", "-q")
    assert served(project) == before
    assert load_file(pointer_of(project), root).digest == before
    listed = run(root, "git ls-files models && git check-ignore models/accidents/*")
    assert "production.pkl" in listed
    assert ".gitignore" in listed.splitlines()[0]
