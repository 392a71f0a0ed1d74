"""What runs hold besides models: analyses of served versions, and small text files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from lockstep.errors import ArtifactError
from lockstep.registry.store.names import MONITORED_TAG
from lockstep.registry.store.opening import source_of

if TYPE_CHECKING:
    from lockstep.registry.store.opening import Registry

LONGEST_TEXT = 2**20
"""Bytes of the longest file that is read as text."""


@dataclass(frozen=True)
class AnalysisRun:
    """A run of monitoring: when (milliseconds since 1970), and its tags."""

    time: int
    tags: dict[str, str]


def newest_analyses(client: Registry) -> dict[tuple[str, int], AnalysisRun]:
    """Return the newest analysis of each watched version by name and number, in one query.

    A server is asked for its newest 1,000 analyses; older ones are not known here.
    """
    return newest_of(AnalysisRun(*one) for one in source_of(client).analyses())


def newest_of(runs: Iterable[AnalysisRun]) -> dict[tuple[str, int], AnalysisRun]:
    """Return the newest run of each version that a run's tag names."""
    found: dict[tuple[str, int], AnalysisRun] = {}
    for run in sorted(runs, key=lambda one: one.time):
        name, _, number = run.tags.get(MONITORED_TAG, "").rpartition("/")
        if name and number.isdecimal():
            found[name, int(number)] = run
    return found


def run_text(client: Registry, run_id: str, path: str) -> str:
    """Return a small text file of a run; ArtifactError where there is none that can be read."""
    uri = source_of(client).artifact_uri(run_id)
    local = local_folder(uri)
    if local is not None:
        return _text_of(local / path)
    # A file of a local store needs no MLflow.
    from lockstep.registry.store.artifact_store import fetched_text

    tracking = getattr(client, "tracking_uri", None)
    return fetched_text(uri, path, tracking, _text_of)


def local_folder(uri: str) -> Path | None:
    """Return the folder that an artifact's address names; None for any other store."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(uri) if uri.startswith("/") else None


def _text_of(file: Path) -> str:
    """Return a file's text; ArtifactError for one that is missing, too long or no text."""
    try:
        if file.stat().st_size > LONGEST_TEXT:
            raise ArtifactError(f"{file} is longer than {LONGEST_TEXT:,} bytes")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file} cannot be read ({error})") from error
