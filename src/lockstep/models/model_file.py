"""A model file: one pipeline as joblib, lz4 inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib

from lockstep.io import whole_file


def write_pipeline(path: Path, pipeline: Any) -> None:
    """Write the pipeline as joblib: fixed protocol, fast compression."""
    with whole_file(path) as part:
        joblib.dump(pipeline, part, compress=("lz4", 3), protocol=5)


def read_pipeline(path: Path) -> Any:
    """Return the pipeline in a file. It is a pickle: check the file's digest before.

    lz4's reader flushes its file when it is freed. joblib, given a path, has closed the file by
    then, and Python 3.13 prints the error. Given an open file, the reader is freed first.
    """
    with path.open("rb") as file:
        return joblib.load(file)
