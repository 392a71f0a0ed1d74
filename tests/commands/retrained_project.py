"""A project of real, small stages with its registry, for tests of what follows a training."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from tests.conftest import VARIABLES
from tests.models.conftest import make_workspace

from lockstep.commands import retrain_model as retrain
from lockstep.commands.publish_retrain import Retrained
from lockstep.commands.retrain_model import RetrainOptions
from lockstep.config.layout import PARTS, ProblemLayout
from lockstep.config.settings import load_settings
from lockstep.dvc import repro as dvc
from lockstep.io import write_json
from lockstep.models import naming
from lockstep.models.workspace import load_file
from lockstep.problems.schema import load_schema
from lockstep.registry.artifact.released import pointer_of
from lockstep.registry.record.registered_models import get_model
from lockstep.registry.store.connection import connect

NAME, TYPES = "Accident_Prediction", ("logistic_regression", "random_forest")
STAGES = f"""
stages:
  train_multi_model:
    foreach: ${{train}}
    do:
      cmd: {sys.executable} -m lockstep.models.train_multi_model \
--problem ${{item.problem}} --type ${{item.type}}
      deps:
        - data/${{item.problem}}/features
      params:
        - train.${{key}}
      outs:
        - models/${{item.problem}}/${{item.type}}_model.joblib
        - models/${{item.problem}}/${{item.type}}_model.json
        - data/${{item.problem}}/scores/${{item.type}}.parquet
        - metrics/${{item.problem}}/types/${{item.type}}:
            cache: false
  compare:
    foreach: ${{problems}}
    do:
      cmd: {sys.executable} -m lockstep.models.compare_models --problem ${{key}}
      deps:
        - metrics/${{key}}/types
        - data/${{key}}/scores
      outs:
        - metrics/${{key}}/champion.json:
            cache: false
        - metrics/${{key}}/model_comparison.csv:
            cache: false
"""


@dataclass
class Project:
    """A project with its registry, and what a first retrain of it said."""

    root: Path
    done: Retrained | None = None

    @property
    def client(self) -> MlflowClient:
        return connect(load_settings(self.root), self.root)

    @property
    def layout(self) -> ProblemLayout:
        return ProblemLayout(self.root, "accidents")

    @property
    def versions(self) -> dict[int, str]:
        return {v.version: v.stage for v in get_model(self.client, NAME).versions}

    def retrain(self, **asked: Any) -> Retrained:
        return retrain.retrain(self.root, RetrainOptions("accidents", **asked))

    def parent(self, done: Retrained) -> Any:
        return self.client.get_run(done.run_id)

    def served(self) -> Any:
        return load_file(pointer_of(self.layout), self.root)


def make_project(root: Path, database: Path) -> Project:
    root.mkdir()
    make_workspace(root)
    params = yaml.safe_load((root / "params.yaml").read_text())
    params["problems"]["accidents"]["model_types"] = list(TYPES)
    section = params["problems"]["accidents"]
    section["source"] = {"kind": "sample", "sample": {"units": 1000, "years": [2021]}}
    section["decision"] = {"policy": "fixed", "threshold": 0.5}
    params["train"] = {f"accidents-{kind}": params["train"][f"accidents-{kind}"] for kind in TYPES}
    (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (root / "dvc.yaml").write_text(STAGES)
    (root / "requirements.lock").write_text("")
    days = ("2021-01-01", "2021-09-01", "2021-09-26", "2021-10-19", "2021-12-31")
    parts = zip(PARTS, days, days[1:], strict=False)
    summary = {
        part: {"rows": 600 if part == "train" else 300, "from": a, "to": b} for part, a, b in parts
    }
    write_json(ProblemLayout(root, "accidents").features_summary, summary)
    shutil.copyfile(database, root / "mlflow.db")
    dvc.module(root, "dvc", "init", "--no-scm", "-q")
    return Project(root)


@contextmanager
def one_name() -> Iterator[None]:
    """Give all types of the accidents one registered name in the block, and hear no environment."""
    shared = load_schema("accidents").model_copy(update={"one_name": True})
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        patch.setattr(naming, "load_schema", lambda _: shared)
        yield
