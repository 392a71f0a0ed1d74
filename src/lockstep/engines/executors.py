"""The executors of a session, and whether their packages are the driver's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pyspark import BarrierTaskContext
from pyspark.sql import SparkSession

from lockstep.errors import ConfigError, listed
from lockstep.models.types import local_types

PACKAGES = {
    "numpy": ("numpy",),
    "pandas": ("pandas",),
    "pyarrow": ("pyarrow",),
    "scikit-learn": ("scikit-learn",),
    **{kind.library: tuple(kind.distributions) for kind in local_types() if kind.distributions},
}
"""What tasks need, and the distributions that may bring it."""
Versions = dict[str, str]


@dataclass(frozen=True)
class Executor:
    """A registered executor: its host and port, and how many tasks it runs at once."""

    place: str
    slots: int


def executors(spark: SparkSession) -> list[Executor]:
    """Return the executors that are alive; a local session has none beside its driver."""
    found = spark.sparkContext._jsc.sc().statusStore().executorList(True)
    each = (found.apply(index) for index in range(found.size()))
    return [Executor(e.hostPort(), e.maxTasks()) for e in each if e.id() != "driver"]


def check_executors(spark: SparkSession) -> None:
    """Raise ConfigError if an executor's Python, code or packages differ from the driver's."""
    own = _reader(PACKAGES)()
    found = _versions_of_all(spark)
    faults = {place: differences(own, there) for place, there in found.items() if there != own}
    if faults:
        place = min(faults)
        raise ConfigError(
            f"the executor at {place} has {listed(faults[place], 8)}; {len(faults)} of "
            f"{len(found)} executors differ: install the driver's versions there (docs/spark.md)"
        )


def _versions_of_all(spark: SparkSession) -> dict[str, Versions]:
    """Return the versions by executor: barrier tasks run all at once, so each executor gets one."""
    read = _reader(PACKAGES)

    def task(_: Iterable[int]) -> Iterable[tuple[str, Versions]]:
        context = BarrierTaskContext.get()
        yield context.getTaskInfos()[context.partitionId()].address, read()

    slots = sum(executor.slots for executor in executors(spark))
    numbers = spark.sparkContext.parallelize(range(slots), slots)
    return dict(numbers.barrier().mapPartitions(task).collect())


def differences(own: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return what an executor lacks or has in another version, each with the driver's version."""
    return [
        f"{f'{name} {there[name]}' if there[name] else f'no {name}'} (driver: {version or 'none'})"
        for name, version in own.items()
        if there[name] != version
    ]


def _reader(packages: Mapping[str, tuple[str, ...]]) -> Callable[[], Versions]:
    """Return what reads versions; an inner function is sent whole and needs no lockstep there."""

    def version(distributions: tuple[str, ...]) -> str:
        from importlib import metadata

        for name in distributions:
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return ""

    def code() -> str:
        """Return a digest of the package's modules: its version does not change with each one."""
        import hashlib
        from importlib.util import find_spec
        from pathlib import Path

        spec = find_spec("lockstep")
        if spec is None or spec.origin is None:
            return ""
        digest = hashlib.sha256()
        for path in sorted(Path(spec.origin).parent.rglob("*.py")):
            digest.update(path.read_bytes())
        return f"code {digest.hexdigest()[:8]}"

    def versions() -> Versions:
        import sys

        found = {name: version(distributions) for name, distributions in packages.items()}
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return {"Python": python, "lockstep": code(), **found}

    return versions
