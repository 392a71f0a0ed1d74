"""Why a commit is not known: each reason has its own word, and git's own fix."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lockstep.code.files import Files
from lockstep.dvc.git import (
    FAILED,
    NO_COMMIT,
    NO_GIT,
    NO_REPOSITORY,
    REFUSED,
    GitError,
    changed_files,
    read_head,
    short,
)

OTHER_OWNER = "GIT_TEST_ASSUME_DIFFERENT_OWNER"
"""Git's own variable for tests: it takes every folder for another user's."""


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    command = ["git", *identity, *arguments]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "my project"
    folder.mkdir()
    (folder / "a.txt").write_text("a\n")
    git(folder, "init", "-q", "-b", "trunk")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def test_the_commit_of_head(root):
    assert read_head(root).commit == git(root, "rev-parse", "HEAD")
    assert read_head(root).reason == ""
    assert changed_files(root, "a.txt") == []


def test_a_folder_of_another_user_is_told_with_gits_own_fix(root, monkeypatch):
    monkeypatch.setenv(OTHER_OWNER, "1")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    head = read_head(root)
    assert head.commit == REFUSED == "git refuses"
    fix = f"git config --global --add safe.directory '{root}'"
    assert head.reason == f"git refuses this folder, which belongs to another user; run `{fix}`"
    with pytest.raises(GitError, match="git refuses this folder"):
        changed_files(root, "a.txt")


def test_the_fix_is_one_that_git_accepts(root, tmp_path, monkeypatch):
    monkeypatch.setenv(OTHER_OWNER, "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    command = read_head(root).reason.partition("`")[2].removesuffix("`")
    subprocess.run(["bash", "-c", command], check=True)
    assert read_head(root).reason == ""


def test_a_question_takes_no_lock_that_a_commit_needs(root):
    """`git status` would write the index anew, as the file's time is another."""
    os.utime(root / "a.txt", (1e9, 1e9))
    before = (root / ".git" / "index").read_bytes()
    assert changed_files(root, ".") == []
    assert (root / ".git" / "index").read_bytes() == before


def test_a_name_that_is_not_utf_8_is_told_before_it_is_recorded(root):
    try:
        (root / os.fsdecode(b"R\xe9sum\xe9.csv")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert changed_files(root, "a.txt") == []
    with pytest.raises(GitError, match=r"the name of R\\xe9sum\\xe9\.csv is not UTF-8; rename"):
        changed_files(root, ".")


@pytest.fixture
def other(tmp_path):
    """Another repository, as a hook of it names it in GIT_DIR."""
    folder = tmp_path / "other"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "trunk")
    git(folder, "commit", "-q", "--allow-empty", "-m", "of the other one")
    return folder


@pytest.mark.parametrize("place", ["", "below"])
def test_the_folder_says_which_repository_is_meant(root, other, monkeypatch, place):
    (root / "below").mkdir()
    head, folder = git(root, "rev-parse", "HEAD"), root / place
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git/index"))
    assert read_head(folder).commit == head
    assert changed_files(folder, ".") == []
    (folder / "new.txt").write_text("new\n")
    assert changed_files(folder, ".") == ["new.txt"]


def test_in_a_hook_git_dir_is_relative(root, monkeypatch):
    (root / "below").mkdir()
    head = git(root, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_PREFIX", "below/")
    assert read_head(root / "below").commit == head


def test_a_folder_without_a_repository_of_its_own_is_left_to_git_dir(root, tmp_path, monkeypatch):
    head = git(root, "rev-parse", "HEAD")
    (tmp_path / "plain").mkdir()
    (root / ".git").rename(tmp_path / "kept elsewhere")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "kept elsewhere"))
    assert read_head(tmp_path / "plain").commit == head


def test_the_code_of_a_commit_is_that_of_the_folders_own_repository(root, other, monkeypatch):
    for name in ("src/lockstep/a.py", "requirements.lock"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("1\n")
    git(root, "add", ".")
    git(root, "commit", "-qm", "code")
    head = git(root, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert "src/lockstep/a.py" in Files.of_commit(root, head).content


def test_without_a_repository(tmp_path):
    assert read_head(tmp_path).commit == NO_REPOSITORY
    assert "run `git init`" in read_head(tmp_path).reason


def test_before_the_first_commit(tmp_path):
    git(tmp_path, "init", "-q")
    assert read_head(tmp_path).commit == NO_COMMIT


def test_without_git(root, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_head(root) == type(read_head(root))(NO_GIT, "git is not installed; install it")
    with pytest.raises(GitError, match="git is not installed"):
        changed_files(root)


def cut_index(folder: Path) -> None:
    (folder / ".git/index").write_bytes(b"cut off")


def test_a_damaged_index_leaves_the_commit_and_is_no_clean_workspace(root):
    cut_index(root)
    assert read_head(root).reason == ""
    with pytest.raises(GitError, match="index file smaller than expected"):
        changed_files(root, "a.txt")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda git: (git / "HEAD").write_text("nonsense\n"), "not a git repository"),
        (lambda git: (git / "HEAD").unlink(), "not a git repository"),
        (lambda git: (git / "config").write_text("[core\n"), "bad config line 1"),
        (lambda git: shutil.rmtree(git / "objects"), "not a git repository"),
        (lambda git: [shutil.rmtree(p) for p in (git / "objects").glob("??")], "bad object HEAD"),
        (lambda git: (git / "refs/heads/trunk").write_text("zzz\n"), "appears to be broken"),
    ],
)
def test_a_damaged_repository_is_none_without_commits(root, damage, words):
    damage(root / ".git")
    head = read_head(root)
    assert head.commit == FAILED
    assert words in head.reason
    assert "\n" not in head.reason


def test_a_worktree_whose_repository_was_moved_away(root, tmp_path):
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"))
    root.rename(tmp_path / "elsewhere")
    assert read_head(tmp_path / "tree").commit == FAILED


def test_a_shallow_clone_and_a_worktree_of_a_bare_one_have_a_commit(root, tmp_path):
    git(root, "commit", "-q", "--allow-empty", "-m", "second")
    head = git(root, "rev-parse", "HEAD")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{root}", "shallow")
    git(tmp_path, "clone", "-q", "--bare", str(root), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "-q", str(tmp_path / "tree"), "trunk")
    for folder in (tmp_path / "shallow", tmp_path / "tree"):
        assert read_head(folder).commit == head


@pytest.mark.parametrize(
    ("commit", "shown"),
    [("0123456789abcdef" * 2, "012345678"), (REFUSED, "git refuses"), (NO_COMMIT, NO_COMMIT)],
)
def test_words_are_not_cut_off(commit, shown):
    assert short(commit) == shown
