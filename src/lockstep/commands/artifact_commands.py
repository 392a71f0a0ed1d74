"""The commands verify, export and prune: options in, an answer for programs and people out."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import project_root
from lockstep.console import aligned
from lockstep.errors import ConfigError, UsageError
from lockstep.registry.store.names import check_version

if TYPE_CHECKING:
    from lockstep.registry.lifecycle.prune import Choice, Pruned
    from lockstep.registry.record.events import Who
    from lockstep.registry.store.connection import Client

Answer = tuple[Any, str, int]
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def checked(client: Client | None, options: argparse.Namespace) -> Answer:
    """Verify what was asked for; the exit code is 1 where any check fails."""
    from lockstep.audit.bundle_checks import verify_folder
    from lockstep.audit.findings import healthy, report
    from lockstep.audit.verify import verify

    if options.folder is not None and (options.model_name or options.version):
        raise UsageError("verify takes either --folder DIR or --model-name NAME (with --version N)")
    if options.version is not None and options.model_name is None:
        raise UsageError("--version needs --model-name NAME")
    if client is None:
        found = verify_folder(Path(options.folder), _root())
    else:
        number = None if options.version is None else check_version(options.version)
        found = verify(client, project_root(), options.model_name, number)
    return [asdict(finding) for finding in found], report(found), 0 if healthy(found) else 1


def _root() -> Path | None:
    """Return the project's folder, whose repository may know a bundle's commit; None outside of any."""
    try:
        return project_root()
    except ConfigError:
        return None


def exported(client: Client, options: argparse.Namespace, who: Who) -> Answer:
    """Export a version, and say what to do with the folder."""
    from lockstep.audit.bundle import MODEL_FOLDER, export

    output = Path(options.output)
    done = export(
        client, project_root(), options.model_name, output, options.stage, options.version, who
    )
    content = {
        "name": done.version.name,
        "version": done.version.version,
        "stage": done.version.stage,
        "folder": str(done.folder),
        "files": done.files,
        "bytes": done.bytes,
        "bundle_digest": done.sums_digest,
        "event": done.event,
    }
    lines = [
        f"✓ {done.version.name} version {done.version.version} ({done.version.stage}) is in {done.folder}: "
        f"{done.files} files, {amount(done.bytes)}",
        f"  digest of its sums  {done.sums_digest}",
        f"  check it            python scripts/manage_model_registry.py verify --folder {done.folder}",
        "  serve it            PYTHONDONTWRITEBYTECODE=1 mlflow models serve --env-manager local "
        f"-m {done.folder}/{MODEL_FOLDER}",
        f"  as a container      docker build -t model {done.folder}",
    ]
    return content, "\n".join(lines), 0


def pruned(client: Client, options: argparse.Namespace, who: Who) -> Answer:
    """Show whose files go and whose stay, and with --yes delete them."""
    from lockstep.registry.lifecycle.prune import KEPT, prune

    keep = KEPT if options.keep is None else int(_amount("--keep", options.keep, whole=True))
    days = 0.0 if options.older_than is None else _amount("--older-than", options.older_than)
    done = prune(client, options.model_name, keep, days, options.yes, who)
    return _facts(done), "\n".join(_lines(done)), 0


def _amount(option: str, text: str, whole: bool = False) -> float:
    try:
        value = float(int(text) if whole else text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e6:
        raise UsageError(f"{option} takes a{' whole' * whole} number from 0 up, not '{text}'")
    return value


def _facts(done: Pruned) -> dict[str, Any]:
    return {
        "name": done.name,
        "deleted" if done.done else "would_delete": [_choice(choice) for choice in done.going],
        "kept": [_choice(choice) for choice in done.choices if not choice.goes],
        "bytes": sum(choice.bytes for choice in done.going),
        "events": list(done.events),
    }


def _choice(choice: Choice) -> dict[str, Any]:
    plain = {"version": choice.version.version, "model_digest": choice.version.tag("model_digest")}
    return plain | (
        {"files": choice.files, "bytes": choice.bytes} if choice.goes else {"why": choice.reason}
    )


def _lines(done: Pruned) -> list[str]:
    if not done.choices:
        return [f"{done.name} has no Archived version with files"]
    verb = "deleted" if done.done else "would go"
    rows = [
        {
            "version": c.version.version,
            "files": verb if c.goes else "stay",
            "size": amount(c.bytes) if c.goes else "",
            "why": c.reason,
        }
        for c in done.choices
    ]
    total = f"{len(done.going)} version{'s' * (len(done.going) != 1)}, {amount(sum(c.bytes for c in done.going))}"
    if done.done:
        return [
            aligned(rows),
            f"✓ files deleted: {total}; the versions, their tags and their record stay",
        ]
    return [aligned(rows), f"nothing was deleted; with --yes: {total}"]


def amount(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return (
                f"{count:.0f} {unit}" if unit == "bytes" or count >= 10 else f"{count:.1f} {unit}"
            )
        count /= 1000
    return f"{count:.1f} {_UNITS[-1]}"
