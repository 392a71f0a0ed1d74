"""Kernels of OpenBLAS that this processor can run, to compare results between them."""

from __future__ import annotations

from pathlib import Path

_CPU = Path("/proc/cpuinfo")
ONE = "Haswell"
OTHER = "SkylakeX" if _CPU.is_file() and "avx512f" in _CPU.read_text() else "Nehalem"
"""Without AVX-512, one that uses fewer units than ``ONE``; it runs on every x86-64 processor."""
