"""Checks of stored content, of which damage is a finding and not a crash; and their report."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from lockstep.checks import FAILED, OK, CheckResult, contents, failures
from lockstep.console import aligned
from lockstep.errors import LockstepError, listed
from lockstep.io import sha256_file
from lockstep.registry.store.versions import Version

KEYS = {
    "name": "subject", "version": "version", "check": "name", "verdict": "verdict",
    "what": "message",
}  # fmt: skip
"""The keys of a finding in JSON and in the table."""
BROKEN = (
    LockstepError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
    TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What readers raise over bytes that somebody changed."""

Found = tuple[str, str]
"""A check's verdict, and what it found."""


def tried(version: Version, check: str, run: Callable[..., Found], *arguments: Any) -> CheckResult:
    """Run one check; an error that damaged content causes is its finding."""
    try:
        verdict, message = run(version, *arguments)
    except BROKEN as error:
        folder = next((a for a in arguments if isinstance(a, Path)), None)
        verdict, message = FAILED, fault_line(error, folder)
    return finding(version, check, verdict, message)


def finding(version: Version, check: str, verdict: str, message: str) -> CheckResult:
    """Return the result of a check of one version."""
    return CheckResult(check, verdict, message, version.name, version.version)


def fault_line(error: Exception, folder: Path | None) -> str:
    """Return an error as one line, without the temporary folder in which it occurred."""
    if isinstance(error, FileNotFoundError) and folder is not None:
        return f"missing: {Path(str(error.filename)).name}"
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, LockstepError):
        return text.replace(f"{folder}/", "")
    return f"unreadable ({text[:200]})"


def compared(noted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Name the files that were changed, are missing or were added, one line a kind."""
    kinds = {
        "changed": [name for name in noted if name in found and found[name] != noted[name]],
        "missing": [name for name in noted if name not in found],
        "added": [name for name in found if name not in noted],
    }
    return [f"{kind}: {listed(sorted(names))}" for kind, names in kinds.items() if names]


def sums_below(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder; a dangling link is an error."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in paths}


def healthy(findings: Sequence[CheckResult]) -> bool:
    """Tell whether no check failed; what was not recorded, or is unknown here, is no failure."""
    return not failures(findings)


def report(findings: Sequence[CheckResult]) -> str:
    """Return findings as a table for people, with a line that sums them up."""
    if not findings:
        return "there is nothing to verify yet"
    failed = len(failures(findings))
    subjects = len({(f.subject, f.version) for f in findings if f.version is not None})
    count = f"{len(findings)} checks of {subjects} version{'s' * (subjects != 1)}"
    last = f"✗ {failed} of {count} failed" if failed else f"✓ {count}: none failed{_open(findings)}"
    rows = findings if subjects == 1 else _shortened(findings)
    return f"{aligned(contents(rows, KEYS))}\n{last}"


def _open(findings: Sequence[CheckResult]) -> str:
    """Count the checks that neither passed nor failed."""
    counts = Counter(f.verdict for f in findings if f.verdict not in (OK, FAILED))
    shown = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f" ({shown})" if shown else ""


def _shortened(findings: Sequence[CheckResult]) -> list[CheckResult]:
    """Return findings with all passed checks of a version in one line."""
    rows: list[CheckResult] = []
    for (name, version), group in groupby(findings, key=lambda f: (f.subject, f.version)):
        results = list(group)
        passed = ", ".join(result.name for result in results if result.passed)
        rows += [CheckResult(passed, OK, "", name, version)] if passed else []
        rows += [result for result in results if not result.passed]
    return rows
