"""Spark for tests: skipped with the fix where it is missing, quick to start where it is there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.shared.services import REQUIRED

ARCHIVES = sorted(Path(sys.prefix, "share", "lockstep").glob("spark-*.jsa"))
"""What `make setup-spark` wrote for Java, for clusters too."""
QUICK_JAVA = " ".join(
    ["-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", *(f"-XX:SharedArchiveFile={p}" for p in ARCHIVES)]
)
"""Java that compiles once: a short session costs half the time."""
CONF = (
    f"spark.driver.extraJavaOptions='{QUICK_JAVA}' spark.executor.extraJavaOptions='{QUICK_JAVA}'"
)


def missing_for_spark() -> str:
    """Return what the tests of Spark lack, and the fix; empty if they can run."""
    if find_spec("pyspark") is None:
        return "pyspark is not installed; run `make setup-spark`"
    if shutil.which("java", path=os.environ.get("PATH")) or os.environ.get("JAVA_HOME"):
        return ""
    return "Java is not installed; run scripts/install_services.sh"


class NoSpark(pytest.Module):
    """A file of tests that can't run: it is skipped, or fails where services are required."""

    def collect(self) -> Any:
        reason = missing_for_spark()
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{reason} ({REQUIRED}=1 forbids to skip)", pytrace=False)
        pytest.skip(reason, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: Any) -> pytest.Module | None:
    """Skip files before they import pyspark."""
    return NoSpark.from_parent(parent, path=module_path) if missing_for_spark() else None


@pytest.fixture(scope="session", autouse=True)
def _quick_java() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCKSTEP_SPARK_CONF", CONF)
        patch.setenv("LOCKSTEP_SPARK_MEMORY", "1g")
        patch.delenv("LOCKSTEP_SPARK_MASTER", raising=False)
        yield


@pytest.fixture(scope="module")
def spark(_quick_java: None) -> Iterator[Any]:
    """Return a session on two of this machine's cores, one a file: it ends before the next."""
    from lockstep.engines.session import spark_session

    with spark_session("local[2]", app="tests", slots=2) as session:
        yield session


@pytest.fixture(scope="session")
def _clusters(_quick_java: None) -> Iterator[list[Any]]:
    """Hold the one cluster of this process; those that tests broke are stopped already."""
    clusters: list[Any] = []
    yield clusters
    for cluster in clusters:
        cluster.stop()


@pytest.fixture(scope="module")
def whole_cluster(_clusters: list[Any]) -> Iterator[Any]:
    """Return a cluster of two workers: what an earlier test killed of it is started anew.

    Sessions look at its master's page, so that a busy machine has time for its executors.
    """
    cluster = _whole(_clusters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOCKSTEP_SPARK_MASTER_PAGE", cluster.page)
        yield cluster


@pytest.fixture
def cluster(_clusters: list[Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return such a cluster, whose master's page sessions look at."""
    cluster = _whole(_clusters)
    monkeypatch.setenv("LOCKSTEP_SPARK_MASTER_PAGE", cluster.page)
    return cluster


def _whole(clusters: list[Any]) -> Any:
    from tests.engines.cluster import Cluster

    if clusters and not clusters[0].repaired():
        clusters.pop().stop()
    if not clusters:
        clusters.append(Cluster())
    return clusters[0]
