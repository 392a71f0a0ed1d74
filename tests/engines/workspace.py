"""A small workspace that the stages of Spark run in, and what is amiss in it after a fault."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from tests.engines.cluster import wait_for
from tests.engines.prepared import PROJECT, SAMPLES
from tests.warm import COLD

from lockstep.config.layout import SPARK, ProblemLayout
from lockstep.problems.accidents import sample

PROBLEM = "accidents"
FOREST = {"n_estimators": 6, "max_depth": 5, "max_bins": 16, "max_features": "sqrt"}


@dataclass(frozen=True)
class Workspace:
    """A project's folder with raw files of one problem."""

    root: Path

    @property
    def layout(self) -> ProblemLayout:
        return ProblemLayout(self.root, PROBLEM, SPARK)

    def files(self) -> dict[str, bytes]:
        """Return all that the stages have written, hidden files too, by their paths."""
        folder = self.layout.data
        found = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    def hidden(self) -> list[str]:
        """Return the temporary files and folders that lie where the stages write."""
        places = [self.root / name for name in ("data", "models", SPARK)]
        return [str(path.relative_to(self.root)) for p in places for path in p.rglob(".*")]

    def start(self, stage: str, *words: str, **settings: str) -> subprocess.Popen[str]:
        """Start a stage as DVC does."""
        return subprocess.Popen(
            [sys.executable, "-m", f"lockstep.engines.{stage}", "--problem", PROBLEM, *words],
            cwd=self.root,
            env={**os.environ, **COLD, "DVC_STAGE": stage, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def stopped(
        self, running: subprocess.Popen[str], ready: Callable[[], Any], number: int, java: bool
    ) -> tuple[int, str]:
        """Send a stage or its Java a signal once ``ready``; return the stage's end and output."""
        try:
            wait_for(lambda: ready() or running.poll() is not None, "what was waited for")
            assert running.poll() is None, running.communicate()[0]
            children = psutil.Process(running.pid).children(recursive=True)
            (own,) = (process for process in children if process.name() == "java")
            os.kill(own.pid if java else running.pid, number)
            said = running.communicate(timeout=60)[0]
            gone = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            wait_for(lambda: not own.is_running() or own.status() in gone, "the end of Java", 30)
        finally:
            running.kill()
            running.wait()
        return running.returncode, said


def workspace(root: Path) -> Workspace:
    """Make a workspace with a sample's raw files and a small forest to train."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text("utf-8"))
    training = {**params["train"][f"{PROBLEM}-random_forest"], "cv_folds": 0, "params": FOREST}
    params["prepare_spark"] = {PROBLEM: {"partitions": 2}}
    params["train_spark"] = {f"{PROBLEM}-random_forest": training}
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), "utf-8")
    (root / "dvc.yaml").write_bytes((PROJECT / "dvc.yaml").read_bytes())
    made = Workspace(root)
    sample.write_sample(SAMPLES[PROBLEM], made.layout.raw)
    return made


KILLED = -signal.SIGKILL
