"""joblib files whose bytes depend on the values alone."""

from __future__ import annotations

import sys
from typing import IO, Any

from joblib.numpy_pickle import NumpyPickler


class _PicklerByValue(NumpyPickler):
    """Write equal strings once.

    A pickle stores one object once. Whether two equal strings are one object depends on the modules
    imported before and on Python's version.
    """

    def save(self, obj: Any) -> None:
        super().save(sys.intern(obj) if type(obj) is str else obj)


def write_joblib(file: IO[bytes], value: Any) -> None:
    """Write what ``joblib.load`` reads."""
    _PicklerByValue(file, protocol=5).dump(value)
