"""Fetch files over HTTP: interrupted downloads resume, and only complete files count.

In the cache, a file NAME is a `.part` while it is fetched. A note beside each holds the server's
ETag, date and length, so that a part never continues with the bytes of another revision.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock
from requests import Response, Session
from requests.exceptions import ChunkedEncodingError, ProxyError, SSLError
from tqdm import tqdm

from lockstep.errors import DataError
from lockstep.io import read_json, sha256_file, write_json
from lockstep.network import Proxy, proxy_of
from lockstep.problems.source_files import RemoteFile

BLOCK = 1 << 13
LONGEST_PAUSE = 30.0
BY_HAND = "fetch the files by hand and give them with `make add-data PROBLEM=… FROM=FOLDER`"
_PASSING = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)
"""Errors that another try may repair."""
_MARKUP = (b"<!doctype html", b"<html", b"<?xml", b"<head")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, in seconds, and how many tries in a row may bring no byte."""

    connect: float = 10.0
    read: float = 30.0
    tries: int = 5
    pause: float = 1.0


@dataclass(frozen=True)
class Spot:
    """Place of one file in the cache; one address, one spot."""

    whole: Path

    @property
    def part(self) -> Path:
        """The file with the bytes that have arrived."""
        return self.whole.with_name(self.whole.name + ".part")

    @property
    def size(self) -> int:
        """The number of bytes that have arrived so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget_part(self) -> None:
        """Remove the bytes that have arrived, so that the next try starts anew."""
        self.part.unlink(missing_ok=True)
        note_of(self.part).unlink(missing_ok=True)


class Cut(Exception):
    """A try ended early, for a reason that another try may repair."""


def fetch_all(files: list[RemoteFile], cache: Path, patience: Patience | None = None) -> list[Path]:
    """Return the cached copies of all files, in their order, fetching what the cache lacks.

    One process at a time: experiments that run beside each other share the cache.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache.with_suffix(".lock")), requests.Session() as session:
        return [fetch(file, cache, session, patience or Patience()) for file in files]


def fetch(file: RemoteFile, cache: Path, session: Session, patience: Patience) -> Path:
    """Return the cached copy of one file, complete and with the pinned sum, or raise DataError.

    A copy with the pinned sum costs no request; without a pin the server says if it changed.
    """
    spot = spot_of(file, cache)
    if file.sha256 and spot.whole.exists() and sha256_file(spot.whole) == file.sha256:
        return spot.whole
    if spot.whole.exists() and not file.sha256:  # the old copy will do: no need to insist
        patience = replace(patience, tries=min(patience.tries, 2))
    try:
        _persist(file, spot, session, patience)
    except Cut as cut:
        _settle_for_old_copy(file, spot, cut)
    return spot.whole


def spot_of(file: RemoteFile, cache: Path) -> Spot:
    """Return the place in the cache of the file of this name from this address."""
    address = hashlib.sha256(file.url.encode()).hexdigest()[:12]
    return Spot(cache / f"{address}-{file.name}")


def note_of(path: Path) -> Path:
    """Return the path of the note on a cached file."""
    return path.with_name(path.name + ".json")


def _persist(file: RemoteFile, spot: Spot, session: Session, patience: Patience) -> None:
    """Try until it is done or enough tries in a row brought no byte; then raise the last Cut."""
    furthest, failures = spot.size, 0
    while True:
        try:
            return _attempt(file, spot, session, patience)
        except Cut as cut:
            failures = 1 if spot.size > furthest else failures + 1
            furthest = max(furthest, spot.size)
            if failures >= patience.tries:
                raise
            print(f"{file.name}: {cut}; trying again", file=sys.stderr)
            time.sleep(min(patience.pause * 2 ** (failures - 1), LONGEST_PAUSE))


def _settle_for_old_copy(file: RemoteFile, spot: Spot, cut: Cut) -> None:
    """Use an earlier run's copy while the server is away, with a warning; else raise DataError."""
    if not spot.whole.exists() or file.sha256:
        raise DataError(
            f"{file.name} could not be fetched from {file.url}: {cut}; "
            f"run the command again to go on where it stopped, or {BY_HAND}"
        ) from None
    print(f"⚠ {file.name}: {cut}; going on with the copy fetched earlier", file=sys.stderr)


def _attempt(file: RemoteFile, spot: Spot, session: Session, patience: Patience) -> None:
    have, note = _resumable(spot)
    old = {} if file.sha256 else _read_note(spot.whole)
    if have and have == note.get("length"):
        return _finish(file, spot)
    waits = (patience.connect, patience.read)
    headers = _headers(have, note, old)
    with (
        _faults(file, spot),
        session.get(file.url, headers=headers, stream=True, timeout=waits) as answer,
    ):
        if answer.status_code == 304 and old:
            return None
        _check_status(file, answer)
        _save(file, spot, answer, _start(spot, answer, have, note))
    return _finish(file, spot)


@contextmanager
def _faults(file: RemoteFile, spot: Spot) -> Iterator[None]:
    """Translate errors of requests into a Cut, where another try may help, or a DataError."""
    try:
        yield
    except SSLError as error:
        fix = f"set REQUESTS_CA_BUNDLE ({error})"
        raise DataError(f"{file.url}: its certificate is refused; {fix}") from error
    except _PASSING as error:
        raise Cut(_reason(error, spot, proxy_of(file.url))) from error
    except requests.RequestException as error:
        raise DataError(f"{file.url} is no address to fetch {file.name} from ({error})") from error


def _resumable(spot: Spot) -> tuple[int, dict[str, Any]]:
    """Return how many bytes can be continued, and their note; a part without a note is removed."""
    note = _read_note(spot.part)
    if spot.size and note.get("length") and spot.size <= note["length"]:
        return spot.size, note
    spot.forget_part()
    return 0, {}


def _read_note(path: Path) -> dict[str, Any]:
    note = note_of(path)
    return read_json(note) if path.exists() and note.exists() else {}


def _headers(have: int, note: dict[str, Any], old: dict[str, Any]) -> dict[str, str]:
    # Compressed answers have other lengths and ranges than the file.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        etag = note.get("etag")  # If-Range takes a strong ETag or the date
        validator = etag if etag and not etag.startswith("W/") else note.get("modified")
        return {**headers, "If-Range": validator} if validator else headers
    conditions = {"If-None-Match": old.get("etag"), "If-Modified-Since": old.get("modified")}
    return headers | {name: value for name, value in conditions.items() if value}


def _check_status(file: RemoteFile, answer: Response) -> None:
    """Pass 200, 206 and 416; raise Cut for temporary failures, DataError for lasting ones."""
    status = answer.status_code
    if status in (200, 206, 416):
        return
    if status >= 500 or status in (408, 425, 429):
        raise Cut(f"the server answered {status} {answer.reason}")
    hint = "its address has changed" if status in (404, 410) else "the server refuses it"
    raise DataError(
        f"{file.name}: {file.url} answered {status} {answer.reason}: {hint}; "
        f"set source.download.base_url to a mirror, or {BY_HAND}"
    )


def _start(spot: Spot, answer: Response, have: int, note: dict[str, Any]) -> int:
    """Return the offset of the answer's first byte: the part's end, or 0 for the whole file."""
    if answer.status_code == 200:
        return 0
    expected = f"bytes {have}-{note.get('length', 0) - 1}/{note.get('length')}"
    if answer.status_code == 416 or answer.headers.get("Content-Range") != expected:
        spot.forget_part()
        raise Cut("the server has another revision than the part that had arrived")
    return have


def _save(file: RemoteFile, spot: Spot, answer: Response, start: int) -> None:
    length = _length(answer, start)
    _refuse_markup(file, answer.headers.get("Content-Type", "").encode())
    if start == 0:
        _note_answer(spot, answer, length)
    bar = tqdm(total=length, initial=start, desc=file.name, unit="B", unit_scale=True, disable=None)
    with bar, spot.part.open("ab" if start else "wb") as out:
        for block in answer.iter_content(BLOCK):
            if out.tell() == 0:
                _refuse_markup(file, block)
            out.write(block)
            bar.update(len(block))
    if length is not None and spot.size != length:
        raise Cut(f"{spot.size:,} of {length:,} bytes came")


def _length(answer: Response, start: int) -> int | None:
    """Return the length of the whole file in bytes, where the server gives it."""
    length = answer.headers.get("Content-Length", "")
    if not length.isdigit() or answer.headers.get("Content-Encoding", "identity") != "identity":
        return None
    return start + int(length)


def _refuse_markup(file: RemoteFile, seen: bytes) -> None:
    head = seen.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if head.startswith((b"text/html", *_MARKUP)):
        raise DataError(
            f"{file.name}: {file.url} sent a web page in place of the file (a portal, login or "
            "error page); open the address in a browser to see it, set source.download.base_url "
            f"to a mirror, or {BY_HAND}"
        )


def _note_answer(spot: Spot, answer: Response, length: int | None) -> None:
    # The note goes first: bytes without a note are dropped, a note without bytes does no harm.
    spot.forget_part()
    headers = answer.headers
    note = {"etag": headers.get("ETag"), "modified": headers.get("Last-Modified"), "length": length}
    write_json(note_of(spot.part), note)


def _finish(file: RemoteFile, spot: Spot) -> None:
    """Check the sum and give the part its name; a wrong sum removes it."""
    if not spot.size:
        spot.forget_part()
        fault = "sent an empty file; look at the address, then run it again"
        raise DataError(f"{file.name}: {file.url} {fault}")
    got = sha256_file(spot.part) if file.sha256 else None
    if got != file.sha256:
        spot.forget_part()
        raise DataError(
            f"{file.name} has the SHA-256 {got}, pinned is {file.sha256}; it was removed: run this "
            "again, and if the sum stays, the publisher revised it: pin the new one in "
            "source.download.sha256"
        )
    note_of(spot.whole).unlink(missing_ok=True)
    spot.part.replace(spot.whole)
    note_of(spot.part).replace(note_of(spot.whole))


def _reason(error: Exception, spot: Spot, proxy: Proxy | None) -> str:
    if proxy and (isinstance(error, ProxyError) or not spot.size):
        return f"{proxy} cannot be reached, or does not reach the server; {proxy.fix}"
    if isinstance(error, requests.ConnectTimeout):
        return "the server cannot be reached in time"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"the server fell silent after {spot.size:,} bytes"
    if spot.size:
        return f"the connection was cut after {spot.size:,} bytes"
    return "the server cannot be reached, or cuts the connection at once"
