"""Each stage's declared code is what its module imports."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import stage_code  # noqa: E402


def test_dvc_yaml_names_the_code_of_every_stage():
    text = (ROOT / "dvc.yaml").read_text()
    assert set(stage_code.stages(text)) == {
        "import_raw",
        "preprocess",
        "features",
        "train_multi_model",
        "compare",
    }
    assert stage_code.with_code(text) == text, "run: python scripts/stage_code.py --write"


def test_a_missing_file_is_found_and_put_back():
    text = (ROOT / "dvc.yaml").read_text()
    line = next(ln for ln in text.splitlines() if ln.strip() == "- src/lockstep/io.py")
    assert stage_code.with_code(text.replace(line + "\n", "", 1)) == text


def test_the_registry_is_no_input_of_a_training():
    files = stage_code.code_of("lockstep.models.train_multi_model")
    assert "src/lockstep/errors.py" in files
    assert not [f for f in files if "/registry/" in f]


@pytest.mark.parametrize("room", ["data", "features", "models"])
def test_late_imports_count(room, tmp_path, monkeypatch):
    package = tmp_path / "lockstep" / room
    package.mkdir(parents=True)
    (package / "stage.py").write_text(f"def main():\n    from lockstep.{room} import helper\n")
    (package / "helper.py").write_text("VALUE = 1\n")
    monkeypatch.setattr(stage_code, "SOURCE", tmp_path)
    monkeypatch.setattr(stage_code, "ROOT", tmp_path)
    assert stage_code.code_of(f"lockstep.{room}.stage") == [
        f"lockstep/{room}/helper.py",
        f"lockstep/{room}/stage.py",
    ]


def test_the_command_says_how_to_mend(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "stage_code.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
