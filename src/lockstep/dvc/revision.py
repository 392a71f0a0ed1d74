"""A project as of a commit, read without a checkout, or as its folder is now."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from lockstep.code.closure import Code
from lockstep.code.files import Files
from lockstep.dvc.git import git, read_head, short
from lockstep.dvc.graph import Graph, Lock
from lockstep.errors import ConfigError, UsageError, nearest
from lockstep.io import decoded, parse_yaml, read_utf8

UNSHALLOW = "git fetch --unshallow origin '+refs/heads/*:refs/remotes/origin/*'"


@dataclass(frozen=True)
class Revision:
    """One state of the project; an empty ``commit`` means the files of its folder."""

    root: Path
    name: str
    commit: str = ""

    def text(self, path: str) -> str:
        """Return a file's text, empty if it is missing; ConfigError if it is not UTF-8."""
        if self.commit:
            text = git(self.root, "show", f"{self.commit}:./{path}") or ""
            return decoded(text.encode(errors="surrogateescape"), f"{path} of {self.name}")
        file = self.root / path
        return read_utf8(file) if file.is_file() else ""

    def yaml(self, path: str) -> dict[str, Any]:
        """Return a YAML file's content, empty if it is missing; a broken one is a ConfigError."""
        content = parse_yaml(self.text(path), f"{path} of {self.name}")
        return content if isinstance(content, dict) else {}

    @cached_property
    def graph(self) -> Graph:
        """The content of dvc.yaml and params.yaml."""
        return Graph(self.yaml("dvc.yaml"), self.yaml("params.yaml"))

    @cached_property
    def lock(self) -> Lock:
        """The content of dvc.lock."""
        return Lock.of(self.yaml("dvc.lock"))

    @cached_property
    def code(self) -> Code:
        """The code of the package."""
        if self.commit:
            return Code(Files.of_commit(self.root, self.commit))
        return Code(Files.of_folder(self.root))

    def tracked(self) -> dict[str, dict[str, Any]]:
        """Return the outputs of all `.dvc` files by path: DVC's sum, size and number of files."""
        found = {}
        for name in self._dvc_files():
            content, folder = self.yaml(name), PurePosixPath(name).parent
            for out in content.get("outs") or []:
                path = folder / content.get("wdir", ".") / out["path"]
                found[path.as_posix()] = out
        return found

    def _dvc_files(self) -> list[str]:
        if self.commit:
            listed = git(self.root, "ls-tree", "-r", "-z", "--name-only", self.commit)
        else:
            options = ("--cached", "--others", "--exclude-standard", "-z")
            listed = git(self.root, "ls-files", *options, "--", "*.dvc")
        return sorted({name for name in (listed or "").split("\0") if name.endswith(".dvc")})


def base_revision(root: Path, name: str) -> Revision:
    """Return the state at a branch, tag or commit; one that can't be compared is an error."""
    head = read_head(root)
    if head.reason:
        raise ConfigError(head.reason)
    commit = git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if not commit:
        raise _unknown(root, name)
    found = Revision(root, name, commit)
    if not found.text("dvc.lock"):
        fault = f"{name} ({short(commit)}) has no dvc.lock, so nothing was trained there"
        raise ConfigError(f"{fault}; choose another BASE, or run `dvc repro` there and commit")
    return found


def is_shallow(root: Path) -> bool:
    """Return whether this clone lacks older commits."""
    return git(root, "rev-parse", "--is-shallow-repository") == "true"


def commits_missing(root: Path, base: Revision) -> int:
    """Return how many commits of the base HEAD doesn't have; 0 where history is cut off."""
    if is_shallow(root):
        return 0
    return int(git(root, "rev-list", "--count", f"HEAD..{base.commit}") or 0)


def _unknown(root: Path, name: str) -> ConfigError | UsageError:
    if is_shallow(root):
        fault = f"there is no commit or branch '{name}' here, and this clone is shallow"
        fix = f"give actions/checkout `fetch-depth: 0`; elsewhere run `{UNSHALLOW}`"
        return ConfigError(f"{fault}; {fix}")
    listed = git(root, "for-each-ref", "--format=%(refname:short)") or ""
    known = listed.split()
    remote = [one for one in known if one.endswith(f"/{name}")]
    near = f" (did you mean '{remote[0]}'?)" if remote else nearest(name, known)
    fix = "see `git branch --all`; `git fetch` brings in the branches of others"
    return UsageError(f"there is no commit, branch or tag '{name}'{near}; {fix}")
