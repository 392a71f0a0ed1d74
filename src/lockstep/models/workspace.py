"""Models of this workspace, loaded for development if their card identifies them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lockstep.decision.policies import costs_in
from lockstep.errors import ArtifactError
from lockstep.io import read_json, sha256_file
from lockstep.models.model_file import read_pipeline
from lockstep.models.scoring.prediction import Model
from lockstep.problems.schema import load_schema, read_schema

NEEDED = ("problem", "type", "file_sha256", "model_digest", "schema_digest", "threshold")
"""What a card must hold before its model is loaded."""
CARD_SUFFIX, SCHEMA_SUFFIX = ".json", ".yaml"
"""The files beside a model file: its card, and for a released model its schema."""
RELEASE = "release"
"""The card's key for a released model's version and run in the registry."""


def load_file(path: Path, root: Path) -> Model:
    """Load a model file of this workspace (development only), checked against the card beside it.

    A joblib file is a pickle: it is loaded only if its SHA-256 is the one that the card beside it
    (``T_model.json``, links followed) recorded at training.
    """
    file = _workspace_file(path, root)
    card = _card(file)
    if sha256_file(file) != card.get("file_sha256"):
        raise ArtifactError(
            f"{path} is not the file its card {file.with_suffix('.json').name} describes "
            "(SHA-256 differs); not opened; run `dvc repro` or `dvc checkout` to have both again"
        )
    # A released model's own schema stands beside it, which the package's may outdate.
    own = file.with_suffix(SCHEMA_SUFFIX)
    schema = read_schema(own, strict=False) if own.is_file() else load_schema(card["problem"])
    if schema.digest != card["schema_digest"]:
        raise ArtifactError(
            f"{path} was trained with another schema of {schema.name}; run `dvc repro`"
        )
    release = card.get(RELEASE, {})
    return Model(
        pipeline=read_pipeline(file),
        schema=schema,
        threshold=card["threshold"],
        name=release.get("name", str(path)),
        version=release.get("version"),
        run_id=release.get("run_id"),
        digest=card["model_digest"],
        type=card["type"],
        interval=card.get("interval"),
        costs=costs_in(card) if schema.task == "multiclass" else None,
    )


def _workspace_file(path: Path, root: Path) -> Path:
    found = next((p for p in (path, root / path) if p.is_file()), None)
    if found is None:
        if path.is_dir() or (root / path).is_dir():
            raise ArtifactError(
                f"{path} is a folder; give a model file in it, e.g. xgboost_model.joblib"
            )
        raise ArtifactError(f"{path} is missing; run `dvc repro` (or `dvc checkout`) to make it")
    return found.resolve()


def _card(file: Path) -> dict[str, Any]:
    """Read the card beside a model file, with every key that a prediction needs."""
    beside = file.with_suffix(CARD_SUFFIX)
    if not beside.is_file():
        raise ArtifactError(
            f"{file.name} has no card {beside.name} beside it, so nothing says what it is; "
            "not opened; train it with `dvc repro`"
        )
    card: dict[str, Any] = read_json(beside)
    lacking = [key for key in NEEDED if key not in card]
    if lacking:
        raise ArtifactError(
            f"{beside} lacks {', '.join(lacking)}; run `dvc repro` to write it again"
        )
    return card
