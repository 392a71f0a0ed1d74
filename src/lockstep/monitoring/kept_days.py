"""Counts of days that the prediction log may have deleted since: one file a version and month."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.console import warn
from lockstep.io import whole_file
from lockstep.monitoring.reference import Reference
from lockstep.monitoring.window import Window, by_month

_FAULTS = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
DAMAGED = ".damaged"


def with_kept(folder: Path, reference: Reference, days: dict[int, Window]) -> dict[int, Window]:
    """Return days with those that the log no longer has in full, and keep all of them.

    Of a day that is known twice, the counts with more rows are taken; of equal rows those with more
    labels, which the log may have deleted. Counts against another reference are ignored.
    """
    kept: dict[int, Window] = {}
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
    found = {
        day: max(
            (one[day] for one in (days, kept) if day in one),  # of equal ones, the log's
            key=lambda window: (window.rows, int(window.labelled.sum())),
        )
        for day in sorted(kept.keys() | days.keys())
    }
    folder.mkdir(parents=True, exist_ok=True)
    for month, own in by_month(found).items():
        if month in unread:
            continue
        with whole_file(folder / f"{month}.npz") as part:
            part.write_bytes(_content(own))
    return found


def _content(days: dict[int, Window]) -> bytes:
    windows = list(days.values())
    arrays: dict[str, Any] = {
        "day": np.array(list(days)),
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


def _read(path: Path, reference: Reference) -> dict[int, Window]:
    """Return the days of a file; none if its bins are not the reference's."""
    empty = Window.empty(reference)
    with np.load(path, allow_pickle=False) as arrays:
        features = {name: arrays[f"feature {name}"] for name in reference.features}
        alike = all(f.shape[1:] == empty.features[n].shape for n, f in features.items())
        if not alike or arrays["labelled"].shape[1:] != empty.labelled.shape:
            return {}
        new = json.loads(str(arrays["new"]))
        rows, scores, labelled = arrays["rows"], arrays["scores"], arrays["labelled"]
        sums = arrays["sums"]
        return {
            int(day): Window(
                int(rows[n]),
                {name: counts[n] for name, counts in features.items()},
                scores[n],
                labelled[n],
                {name: Counter(dict(map(tuple, own))) for name, own in new[n].items()},
                sums[n],
            )
            for n, day in enumerate(arrays["day"])
        }
