"""A clean copy of a commit in a temporary folder, and one training run again in it through DVC.

The copy shares git's objects with the project and nothing else: it has a cache of its own, so that
everything is made again. It is removed when the work ends, is interrupted or fails. The project
itself is only read.
"""

from __future__ import annotations

import filecmp
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockstep.audit.packages import differing
from lockstep.audit.provenance import has_commit
from lockstep.code.files import LOCK, REPOSITORY_VARIABLES, SPARK_LOCK
from lockstep.config.layout import engine_of
from lockstep.dvc.command import cache_folder, default_remote, dvc_folder, run_dvc
from lockstep.dvc.git import NO_REPOSITORY, UNREADABLE, git, read_head
from lockstep.dvc.graph import CODE, SPARK_FOLDER, Graph, dvc_sum, lock_text, tracked
from lockstep.dvc.lineage import used_params, with_params
from lockstep.errors import ConfigError, DataError, LockstepError, listed
from lockstep.io import parse_yaml, read_utf8, sha256_file, yaml_text
from lockstep.termination import terminated_as_error

ENVIRONMENT_SECONDS = 3600
"""How long the building of an environment may take."""
CACHE_REMOTE = "lockstep-cache"
LOST = "is missing or altered; commit those inputs and train it again"
_OURS = ("DVC_", "MLFLOW_", "LOCKSTEP_", "DAGSHUB_", *REPOSITORY_VARIABLES)
"""Variables of the caller that must not reach the copy."""
_END_SECONDS = 10


@dataclass(frozen=True)
class Tree:
    """A copy of a project: ``root`` is the project's folder in it, ``python`` what runs there."""

    top: Path
    root: Path
    python: Path
    environment: str = "this one: its requirements.lock is the recorded one"

    def run(self, *command: str, seconds: float | None = None) -> int:
        """Run a command, and end all that it started; its output goes to stderr."""
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
        )
        try:
            return process.wait(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            took = f"took longer than {seconds:.0f} s and was ended"
            raise ConfigError(f"`{' '.join(command)}` {took}") from error
        finally:
            _end(process)

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there and return what it printed."""
        return subprocess.run(
            command, cwd=self.root, env=self.variables, capture_output=True, text=True, check=False
        )

    def dvc(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a DVC command there and return what it printed."""
        return self.ask(str(self.python), "-m", "dvc", *arguments)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of commands: this copy's own code and tools, and nothing is published."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        return {
            **plain,
            "PATH": f"{self.python.parent}{os.pathsep}{os.environ.get('PATH', '')}",
            # An editable install points at the project's own source.
            "PYTHONPATH": str(self.root / "src"),
            "LOCKSTEP_PUBLISH": "0",
            "DVC_NO_ANALYTICS": "true",
            "DVC_SITE_CACHE_DIR": str(self.top / "site"),
        }


@contextmanager
def clean_tree(root: Path, commit: str, keep: bool = False) -> Iterator[Tree]:
    """Yield a clean copy of a commit with an empty DVC cache; it is removed unless ``keep``."""
    top = Path(tempfile.mkdtemp(prefix="lockstep-reproduce-")).resolve()
    if keep:
        progress(f"the copy is made in {top} and stays there")
    try:
        with terminated_as_error("nothing of the copy was kept"):
            yield _checked_out(root, commit, top)
    finally:
        if not keep:
            shutil.rmtree(top, ignore_errors=True)


def check_commit(root: Path, commit: str | None, where: str) -> str:
    """Return a version's commit; ConfigError with the fix where the repository here lacks it."""
    head = read_head(root)
    if head.commit in UNREADABLE:
        raise ConfigError(head.reason)
    if head.commit == NO_REPOSITORY:
        fix = f"run reproduce in a clone of the one that {where} was trained in"
        raise ConfigError(f"{root} is in no git repository; {fix}")
    if commit is None or not commit.isalnum():
        reason = commit or "it carries no tag lockstep.git_commit"
        fault = f"{where} was made outside of git's history ({reason}), so there is no commit"
        raise ConfigError(f"{fault} to rebuild it from; commit its inputs and train it again")
    if not has_commit(root, commit):
        shallow = git(root, "rev-parse", "--is-shallow-repository") == "true"
        fetch = "git fetch --unshallow" if shallow else "git fetch"
        fault = f"the repository here has no commit {commit}, which {where} was made from"
        fix = f"`{fetch}` may bring it, or run reproduce in the clone that it was trained in"
        raise ConfigError(f"{fault}; {fix}")
    return commit


def _checked_out(root: Path, commit: str, top: Path) -> Tree:
    """Clone the repository without copying its objects, and check the commit out."""
    above = Path(git(root, "rev-parse", "--show-toplevel") or root)
    copy, outside = top / "tree", Tree(top, top, Path(sys.executable))
    command = ("git", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false")
    for arguments in (
        ("clone", "--quiet", "--shared", "--no-checkout", str(above), str(copy)),
        ("-C", str(copy), "checkout", "--quiet", "--detach", commit),
    ):
        done = outside.ask(*command, *arguments)
        if done.returncode:
            raise ConfigError(f"git can't copy commit {commit[:12]}: {_last_line(done.stderr)}")
    tree = replace(outside, root=copy / root.relative_to(above.resolve()))
    if not (tree.root / "dvc.yaml").is_file():
        fault = f"commit {commit[:12]} has no dvc.yaml"
        raise ConfigError(f"{fault}, so nothing can be rebuilt from it")
    for lock in ("dvc.lock", f"{SPARK_FOLDER}/dvc.lock"):
        (tree.root / lock).unlink(missing_ok=True)  # without it DVC makes everything
    # The project's settings, as a remote may have moved since, but with a cache of its own.
    for name in ("config", "config.local"):
        if (own := dvc_folder(root) / name).is_file():
            shutil.copyfile(own, dvc_folder(tree.root) / name)
    _set(tree, "config", "--local", "cache.dir", str(tree.top / "cache"))
    return tree


# ---------------------------------------------------------------- what goes into it


def put_inputs(tree: Tree, kept: dict[str, str | None], folder: Path, where: str) -> None:
    """Put a dirty version's changed files over the commit's, and remove those that it had deleted.

    DataError for a file whose sum is not the version's: altered code is not run.
    """
    for name, digest in kept.items():
        source, target = folder / name, tree.root / name
        if not target.resolve().is_relative_to(tree.root.resolve()):
            outside = f"a file outside of the project ({name})"
            raise DataError(f"{where} has {outside}; it is not rebuilt")
        if digest is None:
            target.unlink(missing_ok=True)
            continue
        if not source.is_file() or sha256_file(source) != digest:
            made = f"{where} was made with a changed {name}"
            raise DataError(f"{made}, and its run's copy of it {LOST}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def put_params(tree: Tree, closure: dict[str, Any]) -> None:
    """Set the parameters that the training depends on to their recorded values."""
    path = tree.root / "params.yaml"
    before = parse_yaml(read_utf8(path), path.name) or {}
    after = with_params(before, used_params(closure))
    if after != before:
        path.write_text(yaml_text(after), encoding="utf-8")


def with_environment(tree: Tree, root: Path, model_type: str = "") -> Tree:
    """Return the tree with its Python: this one if the locked requirements are the same, else new.

    Building that takes minutes; it is the commit's own `make env`, for a type of Spark with
    `make setup-spark`.
    """
    spark = bool(engine_of(model_type)[0])
    locks, targets = ((LOCK, SPARK_LOCK), ("env", "setup-spark")) if spark else ((LOCK,), ("env",))
    other = [name for name in locks if not _same_file(tree.root / name, root / name)]
    if not other:
        check_installed(root, locks)
        return tree
    command = f"make {' '.join(targets)}"
    building = f"building that environment with `{command}` …"
    progress(f"{other[0]} is another than this project's: {building}")
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base = Path(sys.base_prefix) / "bin" / version
    python = f"PYTHON={base if base.exists() else version}"
    words = ("--no-print-directory", *targets, python)
    failed = tree.run("make", *words, seconds=ENVIRONMENT_SECONDS)
    built = tree.root / ".venv" / "bin" / "python"
    if failed or not built.exists():
        raise ConfigError(
            f"the environment of that commit can't be built (`{command}` ended with exit code "
            f"{failed}, its message is above); if its packages are no longer in the index, check "
            "the commit out where they are installed"
        )
    return replace(tree, python=built, environment=f"built from that commit's own {other[0]}")


def check_installed(root: Path, locks: Sequence[str]) -> None:
    """Raise ConfigError if the packages installed here are not those of the lock files."""
    for lock in locks:
        if differ := differing(root / lock):
            fault = f"the packages installed here are not those of {lock}: {listed(differ)}"
            command = "make setup-spark" if lock == SPARK_LOCK else "make env"
            raise ConfigError(f"{fault}; run `{command}`")


def _same_file(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def fetch_data(tree: Tree, root: Path, problem: str, closure: dict[str, Any] | None) -> str:
    """Fetch the data that no stage can make from the cache or the remote; return from where."""
    graph = Graph.read(tree.root)
    stage = graph.one(f"import_raw@{problem}")
    targets = [name for path in stage.deps if (name := tracked(tree.root, path))]
    if targets:
        return _pulled(tree, root, targets)
    sources = [value for value in graph.values(stage).values() if "kind" in (value or {})]
    kind = str(sources[0]["kind"]) if sources else "unknown"
    if kind == "download":
        return _raw_files(tree, root, problem, closure)
    return f"source {kind}, made again"


def _pulled(tree: Tree, root: Path, targets: list[str]) -> str:
    """Pull tracked files from the project's cache, else from its remote; DataError without them."""
    if found := _pull(tree, root, targets):
        return found
    names = ", ".join(target.removesuffix(".dvc") for target in targets)
    fix = "there is no DVC remote either: set one with `make dvc-remote URL=…`"
    fix += ", or run `dvc pull` where there is"
    if remote := default_remote(root):
        fix = "run `dvc push` where they are, or put them back with `make add-data`"
        fix += f" (remote: {remote})"
    fault = f"the data of that commit ({names}) are not in DVC's cache here"
    raise DataError(f"{fault}; {fix}, then run this again")


def _pull(tree: Tree, root: Path, targets: list[str]) -> str:
    """Pull targets from the project's cache, else from its remote; return which had them, or ""."""
    cache = str(cache_folder(root))
    _set(tree, "remote", "add", "--local", "--force", CACHE_REMOTE, cache)
    if not tree.dvc("pull", "--quiet", "--remote", CACHE_REMOTE, *targets).returncode:
        return "DVC's cache"
    remote = default_remote(root)
    if remote is None:
        return ""
    # A path is relative to the project, not to the copy.
    url = run_dvc(root, "config", f"remote.{remote}.url")
    _set(tree, "remote", "modify", "--local", remote, "url", url)
    failed = tree.dvc("pull", "--quiet", "--remote", remote, *targets).returncode
    return "" if failed else "the DVC remote"


def _raw_files(tree: Tree, root: Path, problem: str, closure: dict[str, Any] | None) -> str:
    """Take a publisher's files from DVC's cache or remote, else the stage downloads them again."""
    name = f"import_raw@{problem}"
    entry = (closure or {}).get("stages", {}).get(name)
    lock = tree.root / "dvc.lock"
    if entry is not None:
        code = Graph.read(tree.root).one(name).code
        deps = {**entry["deps"], **({code: dvc_sum(tree.root / code)} if code else {})}
        lock.write_text(lock_text({name: {**entry, "deps": deps}}), encoding="utf-8")
        if found := _pull(tree, root, [name]):
            return found
        lock.unlink()
    downloads = Path(".lockstep") / "downloads"
    if (root / downloads).is_dir():
        shutil.copytree(root / downloads, tree.root / downloads)
    return "source download, fetched again"


# ---------------------------------------------------------------- the work


def write_code(tree: Tree) -> None:
    """Run the copy's own stage `code`, which older commits don't have."""
    if CODE in Graph.read(tree.root).names:
        repro(tree, CODE)


def repro(tree: Tree, stage: str) -> None:
    """Run a stage again, and all that it needs."""
    code = tree.run(str(tree.python), "-m", "dvc", "repro", "--quiet", "--no-run-cache", stage)
    if code:
        fault = f"`dvc repro {stage}` ended with exit code {code} in a clean copy of the commit"
        raise LockstepError(f"{fault}; its own message is above (--keep keeps the copy)")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate a process and those it started; kill what has not ended in time."""
    if process.poll() is not None:
        return
    with suppress(subprocess.TimeoutExpired):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=_END_SECONDS)
    with suppress(ProcessLookupError, PermissionError):  # macOS may not signal what has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _set(tree: Tree, *arguments: str) -> None:
    done = tree.dvc(*arguments)
    if done.returncode:
        raise ConfigError(f"`dvc {' '.join(arguments)}` failed: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it gave no reason"


def progress(text: str) -> None:
    """Print progress on stderr: stdout is for the command's answer."""
    print(text, file=sys.stderr, flush=True)
