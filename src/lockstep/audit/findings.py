"""What checks find: one finding a check, how it is told, and how a check over damaged content ends as one too."""

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
from lockstep.errors import LockstepError
from lockstep.io import sha256_file
from lockstep.registry.store.versions import Version

KEYS = {
    "name": "subject",
    "version": "version",
    "check": "name",
    "verdict": "verdict",
    "what": "message",
}
"""The keys of a finding in JSON and in the table."""
_SHOWN_FILES = 5
BROKEN = (
    LockstepError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What readers raise over bytes that somebody changed; here it is a finding, not a crash."""

Told = tuple[str, str]
"""A check's verdict, and what it is about."""


# ---------------------------------------------------------------- one check


def tried(version: Version, check: str, run: Callable[..., Told], *arguments: Any) -> CheckResult:
    """Run one check; whatever damaged content makes it raise is its finding."""
    try:
        verdict, what = run(version, *arguments)
    except BROKEN as error:
        folder = next((a for a in arguments if isinstance(a, Path)), None)
        verdict, what = FAILED, told_of(error, folder)
    return finding(version, check, verdict, what)


def finding(version: Version, check: str, verdict: str, what: str) -> CheckResult:
    """Return what a check of one version found."""
    return CheckResult(check, verdict, what, version.name, version.version)


def told_of(error: Exception, folder: Path | None) -> str:
    """Return an error as one line, without the temporary folder in which it was met."""
    if isinstance(error, FileNotFoundError) and folder is not None:
        return f"missing: {Path(str(error.filename)).name}"
    text = " ".join(str(error).split()) or type(error).__name__
    return (
        text.replace(f"{folder}/", "")
        if isinstance(error, LockstepError)
        else f"unreadable ({text[:200]})"
    )


def compared(told: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Name the files that were changed, are missing or came on top, in one line a kind."""
    kinds = {
        "changed": [name for name in told if name in found and found[name] != told[name]],
        "missing": [name for name in told if name not in found],
        "added": [name for name in found if name not in told],
    }
    return [f"{kind}: {named(names)}" for kind, names in kinds.items() if names]


def sums_below(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder by its path there; a dangling link is an error that names it."""
    files = {
        p.relative_to(folder).as_posix(): p
        for p in folder.rglob("*")
        if p.is_file() or p.is_symlink()
    }
    return {name: sha256_file(files[name]) for name in sorted(files)}


def named(names: list[str]) -> str:
    """Name some files, the rest of many by their number."""
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return ", ".join(sorted(names)[:_SHOWN_FILES]) + more


# ---------------------------------------------------------------- all of them


def healthy(findings: Sequence[CheckResult]) -> bool:
    """Tell whether no check failed; what was never recorded, or cannot be known here, is no fault."""
    return not failures(findings)


def report(findings: Sequence[CheckResult]) -> str:
    """Return findings as a table for people, with one line that sums them up."""
    wrong = failures(findings)
    subjects = len({(f.subject, f.version) for f in findings if f.version is not None})
    count = f"{len(findings)} checks of {subjects} version{'s' * (subjects != 1)}"
    last = (
        f"✗ {len(wrong)} of {count} failed"
        if wrong
        else f"✓ {count}: none failed{_left_open(findings)}"
    )
    rows = findings if subjects == 1 else _shortened(findings)
    return (
        "\n".join([aligned(contents(rows, KEYS)), last])
        if findings
        else "there is nothing to verify yet"
    )


def _left_open(findings: Sequence[CheckResult]) -> str:
    """Say how many checks neither passed nor failed."""
    counts = Counter(f.verdict for f in findings if f.verdict not in (OK, FAILED))
    return (
        f" ({', '.join(f'{count} {verdict}' for verdict, count in counts.items())})"
        if counts
        else ""
    )


def _shortened(findings: Sequence[CheckResult]) -> list[CheckResult]:
    """Return findings with those that are well in one line a version."""
    rows: list[CheckResult] = []
    for (name, version), some in groupby(findings, key=lambda f: (f.subject, f.version)):
        told = list(some)
        well = [f.name for f in told if f.passed]
        rows += [CheckResult(", ".join(well), OK, "", name, version)] if well else []
        rows += [f for f in told if not f.passed]
    return rows
