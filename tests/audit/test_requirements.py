"""What a bundle has installed is complete: pip would add nothing of its own choice."""

import json
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.registry.populated_registry import NAME, stock

from lockstep.audit import bundle
from lockstep.audit.bundle import export
from lockstep.audit.requirements import closed
from lockstep.code.pins import read_pins
from lockstep.io import sha256_file, write_json, write_text
from lockstep.registry.artifact.packaging import requirements
from lockstep.registry.store.names import CLOSURE
from lockstep.registry.store.versions import Version

LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text()
SMALL = """\
a==1 \\
    --hash=sha256:00
    # via project (pyproject.toml)
b-c==2 ; python_full_version < '3.12' \\
    --hash=sha256:01
    # via
    #   a
    #   d
b-c==3 ; python_full_version >= '3.12' \\
    --hash=sha256:02
    # via
    #   a
    #   d
d==4
    # via b-c
e==5
    # via project (pyproject.toml)
"""


def needed(pins):
    """Return what these pins' installed packages need by their own metadata, extras followed."""
    left = [(canonicalize_name(name), frozenset()) for name in pins]
    seen = set()
    while left:
        name, extras = left.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        told = map(Requirement, requires(name) or [])
        meant = [
            r
            for r in told
            if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in {"", *extras})
        ]
        left += [(canonicalize_name(r.name), frozenset(r.extras)) for r in meant]
    return {name for name, _ in seen}


def applying(pins):
    """Return the version of each pin that applies to this Python."""
    told = [Requirement(pin) for pin in pins]
    return {r.name: str(r.specifier)[2:] for r in told if r.marker is None or r.marker.evaluate()}


@pytest.mark.parametrize("content", [b"", b'"xgboost.core.Booster"', b'"lightgbm.basic.Booster"'])
def test_all_that_is_needed_is_pinned_at_what_is_installed(content):
    direct = requirements(content)
    pins = applying(closed(direct, LOCK))
    assert needed(applying(direct)) - pins.keys() == set()
    assert {name: version(name) for name in pins} == pins
    assert len(pins) < len(read_pins(LOCK).versions), "dvc and the like are not needed to serve"
    assert not {"dvc", "optuna", "lockstep"} & pins.keys()


@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "sklearn"])
def test_an_artifact_needs_one_build_of_its_library_on_each_system(library, system):
    told = map(Requirement, requirements(f'"{library}.core.Booster"'.encode()))
    needed_there = [
        (canonicalize_name(r.name), str(r.specifier))
        for r in told
        if r.marker is None or r.marker.evaluate({"sys_platform": system})
    ]
    builds = [one for one in needed_there if one[0].startswith(("xgboost", "lightgbm"))]
    names = {"xgboost": "xgboost" if system == "darwin" else "xgboost-cpu", "lightgbm": "lightgbm"}
    installed = "xgboost-cpu" if library == "xgboost" else library
    wanted = [(names[library], f"=={version(installed)}")] if library in names else []
    assert builds == wanted


def test_markers_stay_circles_end_and_others_are_left_out():
    assert closed(["a==1"], SMALL) == [
        "a==1",
        "b-c==2 ; python_full_version < '3.12'",
        "b-c==3 ; python_full_version >= '3.12'",
        "d==4",
    ]


BUILDS = ("xgboost==3 ; sys_platform == 'darwin'", "xgboost-cpu==3 ; sys_platform != 'darwin'")


@pytest.mark.parametrize("registered", [["xgboost-cpu==3"], ["xgboost==3"], BUILDS])
def test_a_package_with_a_build_for_some_systems_is_pinned_for_all(registered):
    mac, other = BUILDS
    lock = f"{mac} \\\n    --hash=sha256:00\n    # via p\n{other}\n    # via p\n"
    assert closed(registered, lock) == [mac, other]


@pytest.mark.parametrize(
    ("wanted", "lock"),
    [("a==2", SMALL), ("x==1", SMALL), ("a==1", "a==1\nd==4\n"), ("a==1", "")],
    ids=["another version", "not locked", "a lock without notes", "an empty lock"],
)
def test_what_a_lock_cannot_tell_is_not_made_up(wanted, lock):
    assert closed([wanted], lock) == []


def test_a_bundle_pins_all_by_the_lock_its_version_was_made_with(request, tmp_path):
    filled = stock(request)
    for name, lock in (("made with it", None), ("another since", "a==1\n")):
        if lock is not None:
            (filled.root / "requirements.lock").write_text(lock)
        export(filled.client, filled.root, NAME, tmp_path / name, version=2)
    full, direct = (
        (tmp_path / n / "requirements.txt").read_text() for n in ("made with it", "another since")
    )
    assert applying(full.splitlines()).keys() > {"mlflow", "scikit-learn", "sqlalchemy", "flask"}
    assert direct == (tmp_path / "another since" / "model" / "requirements.txt").read_text()
    assert "://" not in full, "no index is named"
    told = [
        json.loads((tmp_path / n / "bundle.json").read_text())
        for n in ("made with it", "another since")
    ]
    assert [t["requirements"].split(":")[0] for t in told] == ["all", "direct only"]


def test_requirements_with_markers_are_pinned_with_what_they_need(tmp_path):
    direct = requirements(b'"xgboost.core.Booster"')
    assert any(" " in line for line in direct), "a blank before a marker"
    write_text(tmp_path / "requirements.lock", LOCK)
    digest = sha256_file(tmp_path / "requirements.lock")
    write_json(tmp_path / CLOSURE, {"environment": {"requirements.lock": digest}})
    write_text(tmp_path / "model" / "requirements.txt", "".join(f"{line}\n" for line in direct))
    bundle._pin(tmp_path, Version(NAME, 1, 0, None, "", "None", {}), tmp_path)
    pins = (tmp_path / "requirements.txt").read_text().splitlines()
    assert pins == closed(direct, LOCK)
    assert len(pins) > len(direct)
