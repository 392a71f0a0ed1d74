"""Draws that are the same on every machine: integers are compared with integers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

MILLION = 1_000_000

Columns = dict[str, np.ndarray]
"""Columns of one table, all of one length."""


@cache
def figures(path: Path) -> dict[str, Any]:
    """Return the figures that a sample is drawn from: a JSON file beside its code."""
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Draws:
    """Uniform numbers by name: one stream does not move when another grows."""

    seed: int

    def uniform(self, name: str, size: int) -> np.ndarray:
        """Return ``size`` integers drawn evenly from 0 to 999,999."""
        bits = np.random.PCG64([self.seed, crc32(name.encode())])
        return np.random.Generator(bits).integers(0, MILLION, size)

    def normal(self, name: str, size: int) -> np.ndarray:
        """Return ``size`` standard normal numbers: sums of twelve uniform ones."""
        parts = self.uniform(name, 12 * size).reshape(12, size)
        return parts.sum(axis=0) / MILLION - 6.0

    def chance(self, name: str, probability: np.ndarray | float, size: int) -> np.ndarray:
        """Return whether each of ``size`` draws falls below its probability."""
        return self.uniform(name, size) < millionths(probability)


def millionths(probability: np.ndarray | float) -> np.ndarray:
    """Return probabilities as whole millionths."""
    return np.round(np.asarray(probability, dtype=float) * MILLION).astype(np.int64)
