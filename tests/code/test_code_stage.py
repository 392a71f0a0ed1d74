"""Edits of a real, small DVC repository, and which stages `dvc repro` runs after each."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STAGES = f"""
stages:
  code:
    cmd: {sys.executable} -m lockstep.dvc.write_code
    always_changed: true
    outs:
      - code:
          cache: false
  prepare:
    foreach: ${{problems}}
    do:
      cmd: 'cp in.txt table-${{key}} # python -m lockstep.prepare --problem ${{key}}'
      deps: [in.txt, "code/prepare@${{key}}.json"]
      outs: ["table-${{key}}"]
  train_multi_model:
    foreach: ${{train}}
    do:
      cmd: 'cp in.txt model-${{key}} # python -m lockstep.train --type ${{item.type}}'
      deps: ["table-${{item.problem}}", "code/train_multi_model@${{key}}.json"]
      params: ["train.${{key}}"]
      outs: ["model-${{key}}"]
"""
PARAMS = """
problems: {cars: {}}
train:
  cars-forest: {problem: cars, type: forest}
  cars-ridge: {problem: cars, type: ridge}
"""
LOCK = """\
numpy==2.4.6 \\
    # via scikit-learn
scikit-learn==1.9.1 \\
    # via project
uvicorn==0.54.0 \\
    # via project
"""
FILES = {
    ".gitignore": "/code/\n",
    "dvc.yaml": STAGES,
    "params.yaml": PARAMS,
    "in.txt": "1\n",
    "requirements.lock": LOCK,
    "src/lockstep/errors.py": '"""Words."""\nTEXT = "disk full"\n',
    "src/lockstep/prepare.py": "from lockstep.errors import TEXT\n"
    'CODE_FILES = {"{problem}.yaml": ("words",)}\n',
    "src/lockstep/cars.yaml": "words: some\nkind: numeric\n",
    "src/lockstep/metrics.py": "def rmse(): return 1\n",
    "src/lockstep/train.py": "from lockstep import metrics\n"
    'CODE_MODULES = ("lockstep.types.{type}",)\n',
    "src/lockstep/types/forest.py": "import sklearn.ensemble\n",
    "src/lockstep/types/ridge.py": "VALUE = 1\n",
}
PREPARE, FOREST, RIDGE = (
    "prepare@cars",
    "train_multi_model@cars-forest",
    "train_multi_model@cars-ridge",
)


def run(root: Path, *command: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("DVC_ROOT", "DVC_STAGE")}
    home = root.parent / "home"  # an experiment is a commit, whose author DVC takes from git
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[user]\nname = a\nemail = a@b\n")
    environment = inherited | {"DVC_NO_ANALYTICS": "true", "HOME": str(home)}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )


def git(root: Path, *arguments: str) -> str:
    done = run(root, "git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def dvc(root: Path, *arguments: str) -> str:
    done = run(root, sys.executable, "-m", "dvc", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def repro(root: Path, *targets: str) -> tuple[set[str], set[str]]:
    """Return the stages that `dvc repro` ran, without `code`, and those from its run cache."""
    told = dvc(root, "repro", *targets)
    assert "Running stage 'code'" in told
    ran = set(re.findall(r"Running stage '([^']+)'", told)) - {"code"}
    return ran, set(re.findall(r"Stage '([^']+)' is cached", told))


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("template")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q", "-b", "trunk")
    dvc(root, "init", "-q")
    assert repro(root)[0] == {PREPARE, FOREST, RIDGE}
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


@pytest.fixture
def root(template, tmp_path) -> Path:
    shutil.copytree(template, tmp_path / "a project", symlinks=True)
    return tmp_path / "a project"


def edit(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "ran"),
    [
        ("src/lockstep/errors.py", "TEXT", "# a comment\nTEXT", set()),
        ("src/lockstep/errors.py", '"""Words."""', '"""Other words."""', set()),
        ("src/lockstep/cars.yaml", "some", "other", set()),
        ("requirements.lock", "uvicorn==0.54.0", "uvicorn==0.55.0", set()),
        ("src/lockstep/errors.py", "disk full", "the disk is full", {PREPARE}),
        ("src/lockstep/cars.yaml", "numeric", "date", {PREPARE}),
        ("src/lockstep/types/forest.py", "ensemble", "tree", {FOREST}),
        ("src/lockstep/metrics.py", "return 1", "return 2", {FOREST, RIDGE}),
        ("requirements.lock", "scikit-learn==1.9.1", "scikit-learn==2.0", {FOREST}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_edit_reruns_what_means_something_else(root, name, old, new, ran):
    edit(root, name, old, new)
    assert repro(root) == (ran, set())
    changed = {name, "dvc.lock"} if ran else {name}
    assert {line[3:] for line in git(root, "status", "--porcelain").splitlines()} == changed


def test_one_stage_alone_runs_the_code_stage_first_and_the_old_code_comes_from_the_run_cache(root):
    edit(root, "src/lockstep/types/ridge.py", "1", "2")
    assert repro(root, FOREST) == (set(), set())
    assert repro(root, RIDGE) == ({RIDGE}, set())
    git(root, "checkout", "-q", "src")
    assert repro(root) == (set(), {RIDGE})
    assert git(root, "status", "--porcelain") == ""


def test_a_new_type_reruns_nothing_else(root):
    (root / "src/lockstep/types/trees.py").write_text("VALUE = 3\n")
    edit(
        root,
        "params.yaml",
        "  cars-ridge",
        "  cars-trees: {problem: cars, type: trees}\n  cars-ridge",
    )
    assert repro(root) == ({"train_multi_model@cars-trees"}, set())


def test_an_experiment_in_a_temporary_tree_sees_the_code_of_that_tree(root):
    edit(root, "src/lockstep/types/forest.py", "ensemble", "tree")
    told = dvc(root, "exp", "run", "--temp")
    assert set(re.findall(r"Running stage '([^']+)'", told)) == {"code", FOREST}
    assert "code/train_multi_model@cars-forest.json" in dvc(root, "exp", "show", "--csv")
    git(root, "checkout", "-q", "src")
    assert repro(root) == (set(), set())


def test_a_fresh_clone_with_the_cache_runs_nothing(root, tmp_path):
    git(tmp_path, "clone", "-q", str(root), "clone")
    dvc(tmp_path / "clone", "cache", "dir", "--local", str(root / ".dvc/cache"))
    dvc(tmp_path / "clone", "checkout", "-q")
    assert repro(tmp_path / "clone") == (set(), set())
    assert git(tmp_path / "clone", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("src/lockstep/metrics.py", "def", "def def", r"src/lockstep/metrics\.py, line 1: "),
        (
            "params.yaml",
            "type: forest",
            "type: forrest",
            r"forrest\.py \(did you mean 'forest'\?\)",
        ),
        ("requirements.lock", "scikit-learn==", "scikit-lern==", "no pin of scikit-learn"),
        (
            "src/lockstep/prepare.py",
            "problem}.yaml",
            "problem}.csv",
            r"cars\.csv, which is missing",
        ),
        (
            "src/lockstep/metrics.py",
            "def",
            "from lockstep.train import CODE_MODULES\ndef",
            "import each other in a circle",
        ),
    ],
)
def test_what_cannot_run_is_one_line(root, name, old, new, message):
    edit(root, name, old, new)
    done = run(root, sys.executable, "-m", "lockstep.dvc.write_code")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(rf"✗ (prepare|train_multi_model)@.*{message}.*\n", done.stderr)


def test_after_it_no_stage_starts(root):
    edit(root, "src/lockstep/metrics.py", "def", "def def")
    done = run(root, sys.executable, "-m", "dvc", "repro")
    assert done.returncode
    assert len([line for line in done.stderr.splitlines() if line.startswith("✗")]) == 1
    assert set(re.findall(r"Running stage '([^']+)'", done.stdout)) == {"code"}


def test_a_syntax_error_in_a_module_that_the_code_stage_needs_is_one_line(root):
    source = Path(__file__).parents[2] / "src/lockstep"
    shutil.copytree(source, root / "own/lockstep", ignore=shutil.ignore_patterns("__pycache__"))
    with (root / "own/lockstep/errors.py").open("a") as stream:
        stream.write("def (\n")
    command = ["env", f"PYTHONPATH={root / 'own'}", sys.executable, "-m", "lockstep.dvc.write_code"]
    done = run(root, *command)
    assert done.returncode == 1
    assert re.fullmatch(r"✗ \S.*errors\.py, line \d+: .*; no stage can run it\n", done.stderr)


def test_the_code_stage_imports_nothing_heavy(root):
    program = (
        "import sys; import lockstep.dvc.write_code; "
        "heavy = {'numpy', 'pandas', 'pydantic', 'mlflow', 'sklearn', 'dvc'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert run(root, sys.executable, "-c", program).stdout == "[]\n"
