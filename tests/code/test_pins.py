"""requirements.lock, read as it was written on any machine."""

from pathlib import Path

import pytest

from lockstep.code.pins import BUILDS, DISTRIBUTIONS, normalized, read_pins
from lockstep.errors import ConfigError

OWN_LOCK = (Path(__file__).parents[2] / "requirements.lock").read_text(encoding="utf-8")
LOCK = """\
joblib==1.6.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via scikit-learn
numpy==2.4.6 \\
    --hash=sha256:cc
    # via
    #   project (pyproject.toml)
    #   scikit-learn
    #   scipy
scikit-learn==1.9.1 \\
    --hash=sha256:dd
    # via project (pyproject.toml)
scipy==1.16.0 ; python_full_version < '3.12' \\
    --hash=sha256:ee
    # via scikit-learn
scipy==1.17.1 ; python_full_version >= '3.12' \\
    --hash=sha256:ff
    # via scikit-learn
uvicorn==0.54.0 \\
    --hash=sha256:00
    # via project (pyproject.toml)
"""


def test_a_distribution_comes_with_all_that_it_needs_and_nothing_else():
    pins = read_pins(LOCK)
    assert pins.with_needs([pins.of("sklearn", "a.py")]) == {
        "joblib": "1.6.0",
        "numpy": "2.4.6",
        "scikit-learn": "1.9.1",
        "scipy": "1.16.0 ; python_full_version < '3.12', 1.17.1 ; python_full_version >= '3.12'",
    }
    assert pins.with_needs(["numpy"]) == {"numpy": "2.4.6"}
    assert pins.with_needs([]) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("uvicorn==0.54.0", "uvicorn==9.9.9"),
        ("sha256:dd", "sha256:99"),
        ("joblib==1.6.0", "# words\njoblib==1.6.0"),
    ],
)
def test_what_is_not_needed_does_not_count(old, new):
    assert old in LOCK
    before, after = read_pins(LOCK), read_pins(LOCK.replace(old, new))
    assert after.with_needs(["scikit-learn"]) == before.with_needs(["scikit-learn"])


def test_an_import_without_a_pin_is_one_line_with_the_nearest_and_the_fix():
    told = r"^src/a\.py imports torch, but requirements\.lock has no pin of torch; add it to pyproj"
    with pytest.raises(ConfigError, match=told):
        read_pins(LOCK).of("torch", "src/a.py")
    with pytest.raises(ConfigError, match=r"no pin of uvicor \(did you mean 'uvicorn'\?\)"):
        read_pins(LOCK).of("uvicor", "src/a.py")


def test_a_lock_that_does_not_say_what_needs_what_is_refused():
    text = "\n".join(line for line in LOCK.splitlines() if "#" not in line)
    with pytest.raises(ConfigError, match="run `make lock`"):
        read_pins(text)


BOOSTED = """\
numpy==2.4.6 \\
    --hash=sha256:cc
    # via
    #   {first}
    #   {second}
{pins}
"""
MACS, OTHERS = "sys_platform == 'darwin'", "sys_platform != 'darwin'"


def boosted(*pins: str) -> str:
    """Return a lock with the pins of xgboost, each of which needs numpy."""
    return BOOSTED.format(first="xgboost", second="xgboost-cpu", pins="\n".join(pins))


@pytest.mark.parametrize(
    ("pins", "version"),
    [
        ([f"xgboost==3.2.0 ; {MACS}", f"xgboost-cpu==3.2.0 ; {OTHERS}"], "3.2.0"),
        ([f"xgboost-cpu==3.2.0 ; {OTHERS}", f"xgboost==3.2.0 ; {MACS}"], "3.2.0"),
        (["xgboost-cpu==3.2.0"], "3.2.0"),
        (["xgboost==3.2.0"], "3.2.0"),
        (
            [f"xgboost==3.1.9 ; {MACS}", f"xgboost-cpu==3.2.0 ; {OTHERS}"],
            f"3.1.9 ; {MACS}, 3.2.0 ; {OTHERS}",
        ),
        (
            ["xgboost-cpu==3.1 ; python_full_version < '3.12'",
             "xgboost-cpu==3.1 ; python_full_version >= '3.12'"],
            "3.1 ; python_full_version < '3.12', 3.1 ; python_full_version >= '3.12'",
        ),
    ],
    ids=["both", "the other order", "cpu only", "plain only", "two versions", "one name"],
)  # fmt: skip
def test_builds_of_one_package_count_as_one_while_their_versions_agree(pins, version):
    read = read_pins(boosted(*pins))
    name = read.of("xgboost", "src/a.py")
    assert read.with_needs([name]) == {"numpy": "2.4.6", "xgboost-cpu": version}
    assert sorted(read.lines[name]) == sorted(pins), "an installer still gets every build"


def test_the_digest_of_a_training_is_that_of_a_lock_without_the_builds_for_macs():
    """What was trained before macOS had a pin is not trained again."""
    before = read_pins(OWN_LOCK.replace("xgboost==", "other=="))
    after = read_pins(OWN_LOCK)
    assert before.versions["xgboost-cpu"].endswith(OTHERS), "the lock has a pin for macOS"
    assert after.versions["xgboost-cpu"] == before.versions["xgboost-cpu"].partition(" ")[0]
    assert after.needs == before.needs


def test_the_project_s_own_lock_is_understood():
    pins = read_pins(OWN_LOCK)
    assert {*DISTRIBUTIONS.values(), *BUILDS.values()} <= set(pins.versions)
    assert pins.needs["pandas"] >= {"numpy", "python-dateutil"}
    assert "uvicorn" in pins.with_needs(["mlflow"])
    assert "uvicorn" not in pins.with_needs(["scikit-learn", "xgboost-cpu", "lightgbm", "skops"])
    assert "via" not in pins.needs


def test_names_are_compared_as_lock_files_write_them():
    assert normalized("Ruamel.YAML_x--y") == "ruamel-yaml-x-y"
