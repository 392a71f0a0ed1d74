"""`pip install .` brings what training and the registry need; the rest is an extra."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lockstep.errors import ConfigError
from lockstep.extras import PACKAGES, require_extra

ROOT = Path(__file__).parents[2]
OF_EXTRAS = ("uvloop", "httptools", "swagger_ui_bundle", "dvc_s3", "s3fs", "boto3", "pyspark")
"""fastapi and uvicorn come with MLflow, which needs them itself."""
SERVE_ALONE = {
    "lockstep.serving.app": "httptools",
    "lockstep.serving.connection_limits": "httptools",
    "lockstep.serving.server": "httptools",
    "lockstep.serving.static_files": "swagger_ui_bundle",
}


def needed(name: str, extra: str = "", known: set[str] | None = None) -> set[str]:
    """Return the installed distributions that one needs, directly or not."""
    known = set() if known is None else known
    for line in importlib.metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            found = canonicalize_name(requirement.name) + (f"[{wanted}]" if wanted else "")
            if found not in known:
                known.add(found)
                needed(requirement.name, wanted, known)
    return known


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> Path:
    """A folder with the packages of `pip install .` alone: links to those of this environment."""
    folder = tmp_path_factory.mktemp("core")
    for name in {"lockstep", *(name.partition("[")[0] for name in needed("lockstep"))}:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or []} - {"..", "__pycache__"}:
            link = folder / top
            if not link.exists():
                link.symlink_to(distribution.locate_file(top))
    return folder


def run(core: Path, *arguments: str, code: int = 0, folder: Path = ROOT) -> str:
    """Run Python with these packages and this source only; its output where it ends so."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("LOCKSTEP", "MLFLOW"))}
    done = subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=folder,
        env={**plain, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{core}"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.mark.long
def test_all_but_serving_and_spark_works_without_the_extras(core):
    assert [name for name in OF_EXTRAS if (core / name).exists()] == []
    script = str(Path(__file__).parent / "import_all.py")
    found = json.loads(run(core, script, str(ROOT / "src")).splitlines()[-1])
    spark = {name for name, lacks in found.items() if "pyspark" in lacks}
    assert {name: lacks for name, lacks in found.items() if name not in spark} == SERVE_ALONE
    of_spark = re.compile(r"lockstep\.(engines|commands\.(score|train|version_on)_?\w*)")
    assert [name for name in spark if not of_spark.match(name)] == []


def test_serving_without_its_extra_is_one_line_with_the_fix(core, tmp_path):
    told = run(core, "-m", "lockstep.serving", "--port", "0", code=1, folder=tmp_path)
    assert told == (
        "✗ serving needs packages that are not installed: uvloop, httptools, swagger_ui_bundle; "
        "run `make env`, or `pip install '.[serve]'` in the project's folder\n"
    )


@pytest.mark.parametrize("action", ["set", "pull"])
def test_a_remote_on_s3_without_its_extra_is_one_line_with_the_fix(core, tmp_path, action):
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text("")
    (tmp_path / ".dvc").mkdir()
    config = "[core]\n    no_scm = true\n"
    if action == "pull":
        config += "    remote = storage\n['remote \"storage\"']\n    url = s3://bucket/data\n"
    (tmp_path / ".dvc" / "config").write_text(config)
    arguments = ["set", "s3://bucket/data"] if action == "set" else ["pull"]
    told = run(core, "-m", "lockstep.commands.dvc_remote", *arguments, code=1, folder=tmp_path)
    assert told.splitlines()[-1] == (
        "✗ a DVC remote on S3 needs packages that are not installed: dvc_s3; "
        "run `make env`, or `pip install '.[s3]'` in the project's folder"
    )
    assert (tmp_path / ".dvc" / "config").read_text() == config


def test_what_is_installed_is_no_error(monkeypatch):
    for extra in PACKAGES:
        require_extra(extra, "this")
    monkeypatch.setitem(PACKAGES, "serve", ("fastapi", "no_such_package"))
    with pytest.raises(ConfigError, match=r"^this needs .*: no_such_package; run `make env`"):
        require_extra("serve", "this")


def test_each_extras_packages_are_those_of_pyproject():
    listed = importlib.metadata.requires("lockstep") or []
    for extra, packages in PACKAGES.items():
        of_extra = [
            requirement.name
            for requirement in map(Requirement, listed)
            if requirement.marker and f'extra == "{extra}"' in str(requirement.marker)
        ]
        assert {canonicalize_name(name) for name in packages} == set(of_extra)
