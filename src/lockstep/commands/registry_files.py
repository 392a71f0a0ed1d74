"""Commands on a version's files: export and prune."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from lockstep.audit.bundle import MODEL_FOLDER
from lockstep.audit.bundle import export as export_bundle
from lockstep.commands.registry_moves import who_of
from lockstep.config.layout import project_root
from lockstep.console import aligned
from lockstep.errors import UsageError
from lockstep.registry.lifecycle.prune import KEPT, Choice, Pruned
from lockstep.registry.lifecycle.prune import prune as prune_files
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import SCRIPT
from lockstep.termination import terminated_as_error

Answer = tuple[Any, str]
_UNITS = ("bytes", "KB", "MB", "GB", "TB")


def export(client: Client, options: argparse.Namespace) -> Answer:
    """Write a version's bundle, and name the next commands."""
    output = Path(options.output)
    name, who = options.model_name, who_of(options)
    stage, version, root = options.stage, options.version, project_root()
    with terminated_as_error(f"{output} was not made"):
        done = export_bundle(client, root, name, output, stage, version, who)
    version = done.version
    content = {
        "name": version.name,
        "version": version.version,
        "stage": version.stage,
        "folder": str(done.folder),
        "files": done.files,
        "bytes": done.bytes,
        "bundle_digest": done.sums_digest,
        "event": done.event,
    }
    lines = [
        f"✓ {version.title} ({version.stage}) is in {done.folder}: {done.files} files, "
        f"{amount(done.bytes)}",
        f"  digest of its sums  {done.sums_digest}",
        f"  check it            {SCRIPT} verify --folder {done.folder}",
        "  serve it            PYTHONDONTWRITEBYTECODE=1 mlflow models serve --env-manager local "
        f"-m {done.folder}/{MODEL_FOLDER}",
        f"  as a container      docker build -t model {done.folder}",
    ]
    return content, "\n".join(lines)


def prune(client: Client, options: argparse.Namespace) -> Answer:
    """Show which versions lose their files and which keep them; with --yes delete them."""
    keep = KEPT if options.keep is None else int(_amount("--keep", options.keep, whole=True))
    days = 0.0 if options.older_than is None else _amount("--older-than", options.older_than)
    done = prune_files(client, options.model_name, keep, days, options.yes, who_of(options))
    return _facts(done), "\n".join(_lines(done))


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
    size = {"files": choice.files, "bytes": choice.bytes}
    return plain | (size if choice.goes else {"why": choice.reason})


def _lines(done: Pruned) -> list[str]:
    if not done.choices:
        return [f"{done.name} has no Archived version with files"]
    verb = "deleted" if done.done else "would go"
    rows = []
    for choice in done.choices:
        files, size = (verb, amount(choice.bytes)) if choice.goes else ("stay", "")
        number = choice.version.version
        rows.append({"version": number, "files": files, "size": size, "why": choice.reason})
    count, size = len(done.going), amount(sum(c.bytes for c in done.going))
    total = f"{count} version{'s' * (count != 1)}, {size}"
    last = f"nothing was deleted; with --yes: {total}"
    if done.done:
        last = f"✓ files deleted: {total}; the versions, their tags and their record stay"
    return [aligned(rows), last]


def amount(count: float) -> str:
    """Return a number of bytes as people read it."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count, unit = count / 1000, unit + 1
    digits = 0 if unit == 0 or (count >= 10 and unit < len(_UNITS) - 1) else 1
    return f"{count:.{digits}f} {_UNITS[unit]}"
