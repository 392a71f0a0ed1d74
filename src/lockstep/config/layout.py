"""The paths of all files of a workspace: no other module spells them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from lockstep.errors import ConfigError

PARTS = ("train", "stop", "choose", "test")
"""Parts of a split: to fit, to stop and calibrate, to choose threshold and champion, to report."""


def project_root() -> Path:
    """Return the folder of the dvc.yaml of this call: the one DVC names, else the nearest above.

    In the temporary tree of `dvc exp run --temp`, DVC still names the repository itself: there the
    tree counts.
    """
    named, here = os.environ.get("DVC_ROOT"), Path.cwd()
    is_temporary = named is None or here.is_relative_to(Path(named).resolve() / ".dvc" / "tmp")
    start = here if named is None or is_temporary else Path(named)
    for folder in (start, *start.resolve().parents, *Path(__file__).resolve().parents):
        if (folder / "dvc.yaml").is_file():
            return folder.resolve()
    raise ConfigError("no dvc.yaml here or above; change into the project's folder")


@dataclass(frozen=True)
class ProblemLayout:
    """The files of one problem below a project root."""

    root: Path
    problem: str

    @property
    def data(self) -> Path:
        """The folder of everything the data and feature stages write."""
        return self.root / "data" / self.problem

    @property
    def raw(self) -> Path:
        """The folder of raw files: out of import_raw."""
        return self.data / "raw"

    @property
    def tidy(self) -> Path:
        """The one tidy table: out of preprocess."""
        return self.data / "tidy.parquet"

    @property
    def features(self) -> Path:
        """The folder of encoded matrices, one Parquet file a part: out of features."""
        return self.data / "features"

    def matrix(self, part: str) -> Path:
        """The encoded matrix of one part: features, then target, group (and truth, where known)."""
        return self.features / f"{part}.parquet"

    @property
    def encoder(self) -> Path:
        """The fitted encoder as joblib: out of features."""
        return self.data / "encoder.joblib"

    @property
    def label_encoder(self) -> Path:
        """The target's classes in their encoded order, as JSON: out of features."""
        return self.data / "label_encoder.json"

    def scores(self, model_type: str) -> Path:
        """Every evaluated row's score by one model type: out of train_multi_model."""
        return self.data / "scores" / f"{model_type}.parquet"

    def model(self, model_type: str) -> Path:
        """The pipeline of encoder, estimator and calibrator as joblib: out of train_multi_model."""
        return self.root / "models" / self.problem / f"{model_type}_model.joblib"

    def model_card(self, model_type: str) -> Path:
        """What the model is: digests, threshold, metrics' names; beside the model."""
        return self.root / "models" / self.problem / f"{model_type}_model.json"

    @property
    def metrics(self) -> Path:
        """The folder of everything written for git: metrics and plots."""
        return self.root / "metrics" / self.problem

    @property
    def data_quality(self) -> Path:
        """Rows in, out and dropped by reason: metric of preprocess."""
        return self.metrics / "data_quality.json"

    @property
    def features_summary(self) -> Path:
        """Rows, groups and target by part: metric of features."""
        return self.metrics / "features.json"

    def type_folder(self, model_type: str) -> Path:
        """The folder one train_multi_model instance writes metrics and plots into."""
        return self.metrics / "types" / model_type

    def type_metrics(self, model_type: str) -> Path:
        """The metrics of one model type."""
        return self.type_folder(model_type) / "metrics.json"

    @property
    def comparison(self) -> Path:
        """A row a declared type, every metric with its interval: out of compare."""
        return self.metrics / "model_comparison.csv"

    @property
    def champion(self) -> Path:
        """The champion and why: metric of compare."""
        return self.metrics / "champion.json"
