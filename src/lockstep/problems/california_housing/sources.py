"""The publisher's archive, read by scikit-learn's own fetcher."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from sklearn.datasets import _california_housing as fetcher

from lockstep.errors import DataError
from lockstep.io import sha256_file, write_csv
from lockstep.problems.source_files import RemoteFile

FILE = "california_housing.csv"


def files_of_year(_: int) -> list[RemoteFile]:
    """Return the one archive of the census of 1990: address and sum of scikit-learn."""
    return [RemoteFile(fetcher.ARCHIVE.filename, fetcher.ARCHIVE.url, fetcher.ARCHIVE.checksum)]


def is_raw_name(_: str) -> bool:
    """Return whether this problem's code reads a file: never, the schema reads all forms."""
    return False


def write_raw(archives: list[Path], folder: Path) -> None:
    """Write what ``fetch_california_housing`` makes of the archive: nine columns as CSV.

    The fetcher asks no server where the archive in its data home has the right sum; another sum is
    a DataError.
    """
    (archive,) = archives
    found, wanted = sha256_file(archive), fetcher.ARCHIVE.checksum
    if found != wanted:
        raise DataError(
            f"{fetcher.ARCHIVE.filename} has the SHA-256 {found}, scikit-learn reads {wanted} "
            "only; remove the pin from source.download.sha256, or give the table with "
            "`make add-data PROBLEM=california_housing FROM=FILE`"
        )
    with tempfile.TemporaryDirectory() as home:
        shutil.copyfile(archive, Path(home) / fetcher.ARCHIVE.filename)
        frame = fetcher.fetch_california_housing(data_home=home, as_frame=True).frame
    write_csv(folder / FILE, frame, digits=17)
