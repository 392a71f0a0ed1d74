"""A small project with two versions of one model, in a folder of its own, for measurements.

    python benchmarks/small_registry.py FOLDER [--problem accidents]

The tables are a small sample of the problem's own.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TYPE = "xgboost"
UNITS = 3000
DEPTHS = (4, 3)
LOCAL = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "DAGSHUB_REPO": "", "MODEL_URI": ""}
"""Variables of a server over the folder; the empty ones hide what the caller's shell has set."""


def make(root: Path, problem: str, depths: Sequence[int] = DEPTHS) -> str:
    """Train and register one version for each tree depth; return the registered model's name.

    The tables are a sample of UNITS groups; the other parameters are those of this project.
    """
    from lockstep.config.settings import load_settings
    from lockstep.models import train_multi_model
    from lockstep.registry.publishing.destinations import model_name
    from lockstep.registry.train_stage import publish_training

    os.environ.update(LOCAL)
    root.mkdir(parents=True)
    for name in ("dvc.yaml", "requirements.lock"):
        shutil.copyfile(ROOT / name, root / name)
    shutil.copytree(ROOT / "src" / "config", root / "src" / "config")
    with contextlib.chdir(root):
        for depth in depths:
            write_params(root, problem, depth)
            if depth == depths[0]:
                write_tables(root, problem)
            train_multi_model.run(root, problem, TYPE)
            # drawing them for the run takes longer than the training
            shutil.rmtree(root / "metrics" / problem / "types" / TYPE / "plots")
            publish_training(root, problem, TYPE)
    return model_name(load_settings(root, environ=LOCAL), problem, TYPE)


def write_params(root: Path, problem: str, depth: int) -> None:
    """Write this project's parameters for one problem and type, with a small sample."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    section, row = content["problems"][problem], content["train"][f"{problem}-{TYPE}"]
    section["source"]["sample"]["units"] = UNITS
    section["model_types"] = [TYPE]
    row["cv_folds"] = 0
    row["params"]["max_depth"] = depth
    given = {"problems": {problem: section}, "train": {f"{problem}-{TYPE}": row}}
    (root / "params.yaml").write_text(yaml.safe_dump(given))


def write_tables(root: Path, problem: str) -> None:
    """Write the tables that training reads."""
    from lockstep.config.layout import ProblemLayout
    from lockstep.config.params import load_params
    from lockstep.data.import_raw import import_sample
    from lockstep.data.preprocess import tidy
    from lockstep.features import build_features
    from lockstep.io import write_json, write_parquet
    from lockstep.problems.schema import load_schema

    params, layout = load_params(root).problem(problem), ProblemLayout(root, problem)
    layout.raw.mkdir(parents=True)
    import_sample(root, problem, params.source, layout.raw)
    given = (layout.raw, params.source.kind, load_schema(problem), params.preprocess)
    table, quality = tidy(*given)
    write_parquet(layout.tidy, table)
    write_json(layout.data_quality, quality)
    build_features.run(root, problem)


def main() -> int:
    """Make the project in a process of its own: a fork of a process that trained can hang."""
    top = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    top.add_argument("folder", type=Path, help="the project's folder, which must not exist yet")
    top.add_argument("--problem", default="accidents")
    options = top.parse_args()
    print(make(options.folder.resolve(), options.problem))
    return 0


if __name__ == "__main__":
    sys.exit(main())
