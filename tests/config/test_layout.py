"""Which folder a call works in, and which holds the tracking store: never by DVC_ROOT."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.config.layout import main_tree, project_root
from lockstep.errors import ConfigError

PACKAGE = Path(__file__).parents[2] / "src" / "lockstep"


def project(folder: Path, *names: str) -> Path:
    """Make a project's folder with empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or ("dvc.yaml", "params.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("stages: {}\n" if name == "dvc.yaml" else "{}\n")
    return folder


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def committed(folder: Path) -> Path:
    git(folder, "init", "-q", "-b", "trunk")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture(autouse=True)
def other_repository(tmp_path, monkeypatch):
    """DVC names another repository in DVC_ROOT, as it does in a temporary tree."""
    monkeypatch.setenv("DVC_ROOT", str(project(tmp_path / "named by DVC")))


@pytest.mark.parametrize(
    ("here", "root"),
    [
        (".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/tmpabc"),
        (".dvc/tmp/exps/standalone/tmpabc/metrics", ".dvc/tmp/exps/standalone/tmpabc"),
        ("below/another", "below/another"),
        ("below/another/src/models", "below/another"),
        ("below", "."),
        ("metrics", "."),
    ],
)
def test_the_nearest_project_from_here_upwards_counts(tmp_path, monkeypatch, here, root):
    top = project(tmp_path / "top", "dvc.yaml", "params.yaml", "metrics/dvc.yaml")
    for inner in (".dvc/tmp/exps/tmpabc", ".dvc/tmp/exps/standalone/tmpabc", "below/another"):
        project(top / inner, "dvc.yaml", "params.yaml", "metrics/dvc.yaml")
    (top / here).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(top / here)
    assert project_root() == (top / root).resolve()


def test_a_project_without_parameters_is_still_the_one_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(project(tmp_path / "one", "dvc.yaml"))
    assert project_root() == tmp_path / "one"


def test_outside_of_any_project_the_installed_one_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_root() == PACKAGE.parents[1]
    monkeypatch.setattr("lockstep.config.layout._OWN", ())
    with pytest.raises(ConfigError, match=r"no dvc\.yaml here or above"):
        project_root()


@pytest.mark.parametrize("inner", [".", "sub", "deep/er"])
@pytest.mark.parametrize("dvc", [".", "sub"])
def test_the_store_of_a_temporary_tree_is_the_workspaces(tmp_path, inner, dvc):
    """DVC copies git's whole repository below the `.dvc` folder, wherever that is."""
    top = committed(project(tmp_path / "top")).resolve()
    workspace = project(top / inner)
    tree = top / dvc / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    (tree / ".git").mkdir(parents=True)
    assert main_tree(project(tree / inner)) == workspace.resolve()


def test_the_store_of_a_temporary_tree_in_a_worktree_is_the_main_trees(tmp_path):
    main = committed(project(tmp_path / "main"))
    git(main, "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    tree = project(tmp_path / "other" / ".dvc" / "tmp" / "exps" / "tmpabc")
    (tree / ".git").mkdir()
    assert main_tree(tree) == main.resolve()


def test_a_project_in_a_subfolder_of_a_worktree(tmp_path):
    project(tmp_path / "main" / "sub")
    main = committed(tmp_path / "main")
    git(main, "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    assert main_tree(tmp_path / "other" / "sub") == (main / "sub").resolve()


def test_a_submodule_has_a_store_of_its_own_and_lends_it_to_its_worktrees(tmp_path):
    library = committed(project(tmp_path / "library"))
    above = project(tmp_path / "above")
    git(above, "init", "-q")
    git(above, "submodule", "add", "-q", str(library), "inner")
    assert main_tree(above / "inner") == (above / "inner").resolve()
    git(above / "inner", "worktree", "add", "-q", "--detach", str(tmp_path / "other"))
    assert main_tree(tmp_path / "other") == (above / "inner").resolve()


def test_worktrees_of_a_bare_repository_have_stores_of_their_own(tmp_path):
    committed(project(tmp_path / "one"))
    git(tmp_path, "clone", "-q", "--bare", "one", "one.git")
    project(tmp_path)  # a project beside the bare repository is none of its trees
    git(tmp_path / "one.git", "worktree", "add", "-q", str(tmp_path / "tree"), "trunk")
    assert main_tree(tmp_path / "tree") == (tmp_path / "tree").resolve()


def test_a_separate_git_folder_is_no_worktree(tmp_path):
    folder = project(tmp_path / "one")
    git(folder, "init", "-q", "--separate-git-dir", str(tmp_path / "elsewhere"))
    assert main_tree(folder) == folder.resolve()


@pytest.fixture
def copy_of_the_code(tmp_path) -> Path:
    """A project with its own copy of the package, whose stage `code` says that it ran."""
    root = project(tmp_path / "with its own code", "dvc.yaml", "params.yaml", "requirements.lock")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, root / "src" / "lockstep", ignore=ignored)
    stage = root / "src" / "lockstep" / "dvc" / "write_code.py"
    text = stage.read_text()
    assert text.count("    root = stage_root()\n") == 1
    said = '    root = stage_root()\n    print("the code of this tree")\n'
    stage.write_text(text.replace("    root = stage_root()\n", said))
    return root


def run_stage(root: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-m", "lockstep.dvc.write_code"]
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, cwd=root, env=known | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("path", ["", str(PACKAGE.parent)])
def test_a_stage_runs_the_code_of_its_own_tree(copy_of_the_code, path):
    """The environment's package, or PYTHONPATH, names the code of the workspace."""
    done = run_stage(copy_of_the_code, PYTHONPATH=path)
    assert (done.returncode, done.stdout) == (0, "the code of this tree\n"), done.stderr


def test_a_script_of_another_tree_runs_that_trees_code(copy_of_the_code):
    """As in a git worktree, with the main tree's environment."""
    script = copy_of_the_code / "scripts" / "one.py"
    script.parent.mkdir()
    script.write_text(
        "from lockstep.config.layout import stage_root\n"
        "import lockstep, sys\nprint(stage_root())\nprint(lockstep.__file__, sys.argv[1:])\n"
    )
    command = [sys.executable, str(script), "--problem", "a b"]
    known = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=copy_of_the_code, env=known, capture_output=True, text=True, check=True
    )
    own = copy_of_the_code.resolve()
    assert done.stdout.splitlines() == [
        str(own),
        f"{own}/src/lockstep/__init__.py ['--problem', 'a b']",
    ]


def test_a_python_that_ignores_the_path_is_refused(copy_of_the_code):
    done = run_stage(copy_of_the_code, "-E", PYTHONPATH=str((copy_of_the_code / "src").resolve()))
    assert done.returncode == 1
    assert done.stderr.startswith(f"✗ {PACKAGE} is run in place of the code in ")
    assert done.stderr.count("\n") == 1
