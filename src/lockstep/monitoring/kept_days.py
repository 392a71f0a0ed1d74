"""Counts of days that the prediction log may have deleted since: one file a version and month.

They are kept by the log's files, so the counts of a day's deleted files and of those that are left
add up.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.console import warn
from lockstep.io import whole_file
from lockstep.monitoring.reference import Reference
from lockstep.monitoring.window import Window, add, month_name

Place = tuple[str, int]
"""A file of the prediction log, and a day since 1970."""
Places = dict[Place, Window]
_FAULTS = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
DAMAGED = ".damaged"
WHOLE_LOG = ""
"""In place of a file's name: the counts of a day over all files, as they were kept at first."""


def with_kept(
    folder: Path, reference: Reference, counted: Places, is_whole: Callable[[int], bool]
) -> dict[int, Window]:
    """Return the counts of days, with those of files that the log has deleted; keep all of them.

    Of a file that is counted twice, the counts with more rows are taken; of equal rows those with
    more labels, which the log may have deleted. A day that is not whole has the log's counts alone,
    and keeps none. Counts against another reference are ignored.
    """
    kept, unread = _kept(folder, reference)
    for place, window in counted.items():
        if is_whole(place[1]):
            kept[place] = max((window, kept.get(place, window)), key=_size)  # of equal, the log's
    folder.mkdir(parents=True, exist_ok=True)
    for month, own in _by_month(kept).items():
        if month in unread:
            continue
        with whole_file(folder / f"{month}.npz") as part:
            part.write_bytes(_content(own))
    part_days = {p: window for p, window in counted.items() if not is_whole(p[1])}
    return _days({p: window for p, window in kept.items() if is_whole(p[1])} | part_days)


def _size(window: Window) -> tuple[int, int]:
    return window.rows, int(window.labelled.sum())


def _days(places: Places) -> dict[int, Window]:
    """Return the counts of each day over all files of the log."""
    days: dict[int, Window] = {}
    for (file, day), window in places.items():
        if file != WHOLE_LOG:
            add(days, day, window)
    for (file, day), window in places.items():
        if file == WHOLE_LOG:
            days[day] = max((days.get(day, window), window), key=_size)
    return dict(sorted(days.items()))


def _by_month(places: Places) -> dict[str, Places]:
    found: dict[str, Places] = {}
    for place, window in places.items():
        found.setdefault(month_name(place[1]), {})[place] = window
    return found


def _kept(folder: Path, reference: Reference) -> tuple[Places, set[str]]:
    """Return the counts that are kept, and the months of files that can't be read."""
    kept: Places = {}
    unread = set()
    for path in sorted(folder.glob("*.npz")):
        try:
            kept |= _read(path, reference)
        except OSError as error:
            warn(f"{path} can't be read ({error}); its days are left out")
            unread.add(path.stem)
        except _FAULTS as error:
            aside = path.with_name(path.name + DAMAGED)
            with suppress(FileNotFoundError):  # another process has moved it
                path.replace(aside)
            lost = "days that the log no longer has are lost"
            warn(f"{path} is damaged ({error}), and is {aside.name} now; {lost}")
    return kept, unread


def _content(places: Places) -> bytes:
    windows = list(places.values())
    arrays: dict[str, Any] = {
        "log_file": np.array([file for file, _ in places]),
        "day": np.array([day for _, day in places]),
        "rows": np.array([window.rows for window in windows]),
        "scores": np.stack([window.scores for window in windows]),
        "labelled": np.stack([window.labelled for window in windows]),
        "sums": np.stack([window.sums for window in windows]),
        "new": np.array(json.dumps([_named(window.new) for window in windows])),
    }
    for name in windows[0].features:
        arrays[f"feature {name}"] = np.stack([window.features[name] for window in windows])
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def _named(new: dict[str, Counter[Any]]) -> dict[str, list[list[Any]]]:
    return {name: [[value, many] for value, many in own.items()] for name, own in new.items()}


def _read(path: Path, reference: Reference) -> Places:
    """Return the counts of a file; none if its bins are not the reference's."""
    empty = Window.empty(reference)
    with np.load(path, allow_pickle=False) as arrays:
        features = {name: arrays[f"feature {name}"] for name in reference.features}
        alike = all(f.shape[1:] == empty.features[n].shape for n, f in features.items())
        if not alike or arrays["labelled"].shape[1:] != empty.labelled.shape:
            return {}
        new = json.loads(str(arrays["new"]))
        rows, scores, labelled = arrays["rows"], arrays["scores"], arrays["labelled"]
        sums, days = arrays["sums"], arrays["day"]
        files = arrays["log_file"] if "log_file" in arrays else np.full(len(days), WHOLE_LOG)
        return {
            (str(file), int(day)): Window(
                int(rows[n]),
                {name: counts[n] for name, counts in features.items()},
                scores[n],
                labelled[n],
                {name: Counter(dict(map(tuple, own))) for name, own in new[n].items()},
                sums[n],
            )
            for n, (file, day) in enumerate(zip(files, days, strict=True))
        }
