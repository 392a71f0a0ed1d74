"""The tags of a training's run and of its version, read from the outputs."""

from __future__ import annotations

import json
from typing import Any

from lockstep.decision.policies import costs_in
from lockstep.dvc.lineage import training_stage
from lockstep.io import sha256_json
from lockstep.registry.publishing.destinations import dvc_experiment
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import EXPERIMENT_TAG, ROWS_TAG, SUMS_TAG

OF_RUN = frozenset(
    f"lockstep.{key}"
    for key in (
        "problem", "type", "model_digest", "closure_digest", "inputs_digest", "git_commit", "dirty",
        "dataset", "data_source", "data_dvc_hash", "data_digest",
    )
)  # fmt: skip
"""The tags of a version that its run has too; with those of a retrain at most a dozen."""


def run_tags(outputs: Outputs) -> dict[str, str]:
    """Return the tags of a run, which a person reads: what it made, of what, and where.

    Digests and metrics that only listings need are on its model and its version.
    """
    experiment = dvc_experiment()
    commit = {"mlflow.source.git.commit": outputs.lineage.commit} if outputs.lineage.known else {}
    return {
        **{key: value for key, value in version_tags(outputs).items() if key in OF_RUN},
        **({EXPERIMENT_TAG: experiment} if experiment else {}),
        **commit,
        "mlflow.source.name": training_stage(outputs.problem, outputs.type),
        "mlflow.source.type": "PROJECT",
    }


def model_tags(outputs: Outputs) -> dict[str, str]:
    """Return the tags of a logged model: those of its version, and the digest of its rows."""
    rows = {ROWS_TAG: outputs.training_rows.digest} if outputs.training_rows else {}
    return version_tags(outputs) | rows


def version_tags(outputs: Outputs) -> dict[str, str]:
    """Return the tags of a version, all below ``lockstep.``."""
    card = outputs.card
    plain: dict[str, Any] = {
        "problem": outputs.problem,
        "type": outputs.type,
        "model_digest": outputs.digest,
        "schema_digest": card["schema_digest"],
        "score_scale": card["score_scale"],
        **{key: card[key] for key in ("positive_weight", "class_ratio") if key in card},
        **outputs.lineage.tags,
        "dataset": outputs.problem,
        "data_source": outputs.lineage.source,
        "data_dvc_hash": outputs.lineage.raw_hash,
    }
    if outputs.changed_inputs:
        plain["inputs_digest"] = sha256_json(outputs.changed_inputs)
    if card.get("threshold") is not None:
        plain["threshold"] = card["threshold"]
    if "best_f1_threshold" in outputs.metrics:
        plain["best_f1_threshold"] = outputs.metrics["best_f1_threshold"]
    if card.get("interval"):
        plain["interval"] = json.dumps(card["interval"], sort_keys=True, separators=(",", ":"))
    if card.get("classes"):
        plain |= class_tags(card)
    for part in ("validation", "test"):
        plain |= {f"{part}_{name}": value for name, value in outputs.metrics.get(part, {}).items()}
    return {f"lockstep.{key}": str(value) for key, value in plain.items()}


def class_tags(card: dict[str, Any]) -> dict[str, str]:
    """Return the classes of a multiclass model, and the costs by which it decides, as JSON."""
    costs = costs_in(card)
    content = {"classes": card["classes"], **({"costs": costs} if costs else {})}
    return {
        key: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        for key, value in content.items()
    }


def noted_tags(client: Client, model_id: str) -> dict[str, str]:
    """Return the tags by which a version's files are checked, as noted on the logged model."""
    noted = client.get_logged_model(model_id).tags
    return {key: noted[key] for key in (SUMS_TAG, ROWS_TAG) if key in noted}
