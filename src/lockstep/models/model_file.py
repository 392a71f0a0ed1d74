"""A model file: one pipeline as joblib, compressed by lz4."""

from __future__ import annotations

from io import BufferedWriter
from pathlib import Path
from typing import Any

import joblib
from lz4.frame import LZ4FrameFile

from lockstep.io import whole_file
from lockstep.joblib_files import write_joblib

BUFFER = 2**20
"""Bytes compressed at once."""


def write_pipeline(path: Path, pipeline: Any) -> None:
    """Write the pipeline as joblib: fixed protocol, fast compression."""
    with (
        whole_file(path) as part,
        LZ4FrameFile(part, "wb", compression_level=3) as packed,
        BufferedWriter(packed, BUFFER) as file,
    ):
        write_joblib(file, pipeline)


def read_pipeline(path: Path) -> Any:
    """Return the pipeline in a file. It is a pickle: check the file's digest before.

    lz4's reader flushes its file when it is freed. joblib, given a path, has closed the file by
    then, and Python 3.13 prints the error. Given an open file, the reader is freed first.
    """
    with path.open("rb") as file:
        return joblib.load(file)
