"""The wheel: the package, its data files and its licenses, and nothing else."""

import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOOK = {"base.html", "charts.js", "style.css", "vega.js"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    """Build it as `pip wheel . --no-deps` does, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    built = subprocess.run(
        [*command, "--no-index", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_it_holds_the_package_only(wheel):
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"lockstep"}
    files = {name for name in wheel.namelist() if name.startswith("lockstep/")}
    source = ROOT / "src"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "lockstep"],
        cwd=source,
        capture_output=True,
        check=True,
    )
    known = {name for name in listed.stdout.decode().split("\0") if name}
    assert files == {name for name in known if (source / name).is_file()}
    assert {f"lockstep/reports/look/{name}" for name in LOOK} <= files


def test_it_holds_the_licenses_and_says_what_it_is(wheel):
    info = next(name for name in wheel.namelist() if name.endswith("/METADATA")).partition("/")[0]
    licenses = f"{info}/licenses/"
    kept = {name.removeprefix(licenses) for name in wheel.namelist() if name.startswith(licenses)}
    assert kept == {"LICENSE", "src/lockstep/reports/look/LICENSE-vega"}
    said = message_from_string(wheel.read(f"{info}/METADATA").decode())
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Author"] == "the Lockstep authors"
    assert set(said.get_all("Provides-Extra")) == {"serve", "s3", "spark", "dev"}
