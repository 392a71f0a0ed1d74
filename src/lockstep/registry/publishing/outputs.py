"""The outputs of one training in the workspace, and their lineage."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lockstep.config.layout import ProblemLayout
from lockstep.dvc.lineage import Lineage, kept_inputs, lineage, stage_target
from lockstep.errors import ArtifactError, DataError
from lockstep.evaluation.comparison import Candidate
from lockstep.io import read_json, read_parquet, sha256_file
from lockstep.models.model_file import read_pipeline
from lockstep.models.type_metrics import read_type_metrics, type_metrics_file
from lockstep.models.typical_record import typical_of_training
from lockstep.problems.schema import Schema, load_schema
from lockstep.registry.artifact.training_rows import TrainingRows, rows_of_training


@dataclass(frozen=True)
class Outputs:
    """The outputs of one training in the workspace."""

    root: Path
    problem: str
    type: str
    card: dict[str, Any]

    @property
    def layout(self) -> ProblemLayout:
        """The paths of its files."""
        return ProblemLayout.of(self.root, self.problem, self.type)

    @property
    def digest(self) -> str:
        """The model's digest, as its card says."""
        return str(self.card["model_digest"])

    @property
    def schema(self) -> Schema:
        """The problem's declaration."""
        return load_schema(self.problem)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """All metrics, the content of details.json."""
        return read_type_metrics(self.layout, self.type)

    @cached_property
    def lineage(self) -> Lineage:
        """The model's lineage."""
        return lineage(self.root, self.problem, self.type)

    @cached_property
    def changed_inputs(self) -> dict[str, str | None]:
        """The files in which the workspace differs from its commit, with their sums."""
        return kept_inputs(self.root, self.lineage)

    @cached_property
    def training_rows(self) -> TrainingRows | None:
        """The groups it was fitted or tuned on; None if its data are not in this workspace."""
        return rows_of_training(self.root, self.problem, self.lineage, self.layout.engine)

    @cached_property
    def typical_record(self) -> dict[str, Any] | None:
        """A typical value of each feature; None if its data are not in this workspace."""
        return typical_of_training(self.layout, self.schema, self.card)

    def read_scores(self) -> Candidate | None:
        """Read the scores of its evaluated rows; None if they are not in this workspace."""
        path = self.layout.scores(self.type)
        if not path.is_file():
            return None
        return Candidate(self.type, self.card.get("threshold"), read_parquet(path))

    @property
    def plots(self) -> list[Path]:
        """The tables of its plots."""
        return sorted((self.layout.type_folder(self.type) / "plots").glob("*.csv"))

    def load_pipeline(self) -> Any:
        """Load the pipeline from joblib; ArtifactError if the file is not the one in its card."""
        path = self.layout.model(self.type)
        if sha256_file(path) != self.card["file_sha256"]:
            card = self.layout.model_card(self.type).name
            fix = "run `dvc checkout` or `dvc repro` to have both again"
            raise ArtifactError(f"{path} is not the file its card {card} describes; {fix}")
        return read_pipeline(path)


def read_outputs(root: Path, problem: str, model_type: str) -> Outputs:
    """Read a training's outputs; DataError with the fix if one is missing or outdated."""
    layout = ProblemLayout.of(root, problem, model_type)
    repro = f"run `dvc repro {stage_target(problem, model_type)}`"
    card = layout.model_card(model_type)
    for path in (card, layout.model(model_type), type_metrics_file(layout, model_type)):
        if not path.is_file():
            raise DataError(f"{path.relative_to(root)} is missing; {repro}")
    outputs = Outputs(root, problem, model_type, read_json(card))
    if outputs.card["schema_digest"] != outputs.schema.digest:
        changed = f"the schema of {problem} was changed after {model_type} was trained"
        raise DataError(f"{changed}; {repro}")
    return outputs
