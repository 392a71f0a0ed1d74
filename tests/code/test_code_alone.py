"""A stage runs in a folder with its closure alone: its imports, files and packages are complete."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lockstep.code.closure import Code
from lockstep.code.files import Files
from lockstep.dvc.graph import Graph

PROJECT = Path(__file__).parents[2]
PROBLEM = "california_housing"
ALONGSIDE = {"charset-normalizer", "cloudpickle", "lz4", "psutil", "rich", "setuptools"}
"""What packages import only where it happens to be installed, and what no result depends on."""
MAIN = f"import sys; sys.argv = ['stage', '--problem', '{PROBLEM}']; from {{}} import main; main()"
TRAIN = (
    "from pathlib import Path; from lockstep.models.train_multi_model import run; "
    f"run(Path.cwd(), '{PROBLEM}', 'ridge')"
)
"""Its last step, which logs the training, is left out on purpose: it changes no result."""
STAGES = {
    f"import_raw@{PROBLEM}": MAIN.format("lockstep.data.import_raw"),
    f"preprocess@{PROBLEM}": MAIN.format("lockstep.data.preprocess"),
    f"features@{PROBLEM}": MAIN.format("lockstep.features.build_features"),
    f"train_multi_model@{PROBLEM}-ridge": TRAIN,
    f"compare@{PROBLEM}": MAIN.format("lockstep.models.compare_models"),
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A workspace without any code; what a stage writes stays for the next."""
    root = tmp_path_factory.mktemp("workspace")
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    section = params["problems"][PROBLEM]
    section["source"]["sample"]["units"] = 400
    section["model_types"] = ["ridge"]
    key = f"{PROBLEM}-ridge"
    small = {"problems": {PROBLEM: section}, "train": {key: params["train"][key]}}
    (root / "params.yaml").write_text(yaml.safe_dump(small))
    (root / "dvc.yaml").write_text("stages: {}\n")
    return root


def test_each_stage_runs_with_its_code_alone(workspace):
    code, graph = Code(Files.of_folder(PROJECT)), Graph.read(PROJECT)
    for stage, statement in STAGES.items():
        parts = code.of_command(graph.one(stage).cmd)
        put_code(workspace, parts)
        program = Path(__file__).with_name("run_alone.py")
        done = subprocess.run(
            [sys.executable, "-W", "ignore", program, statement],
            cwd=workspace,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(workspace / "src")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (stage, done.stderr)
        pinned = {name.partition(":")[2] for name in parts if name.startswith("requirements.lock:")}
        loaded = set(json.loads(done.stdout.splitlines()[-1]))
        assert loaded - pinned - ALONGSIDE == set(), stage


def put_code(root: Path, parts: dict[str, str]) -> None:
    """Put these files of the project below ``root`` in place of all code that is there."""
    shutil.rmtree(root / "src", ignore_errors=True)
    for name in parts:
        if name.startswith("src/"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, root / name)
    package = root / "src/lockstep"
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()  # one of words alone means nothing, but it must be there


def test_where_a_run_is_logged_is_no_part_of_a_training():
    code = Code(Files.of_folder(PROJECT))
    graph = Graph.read(PROJECT)
    for stage in (graph.one(name) for name in graph.names):
        if stage.code:
            names = " ".join(code.of_command(stage.cmd))
            assert not [word for word in ("/registry/", "/reports/", "mlflow") if word in names]
