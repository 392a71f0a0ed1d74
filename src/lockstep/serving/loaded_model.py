"""What answers requests: one immutable value, made only of what passed every check."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from lockstep.decision.score_scale import BALANCED, PROBABILITY, WEIGHTED, equivalent
from lockstep.errors import ArtifactError, ConfigError
from lockstep.models.golden_rows import golden_rows
from lockstep.models.scoring.contributions import Explainer
from lockstep.models.scoring.prediction import Model
from lockstep.models.scoring.scorer import Scorer, columns_of
from lockstep.promotion.gates import signature_faults
from lockstep.registry.store.versions import was_dirty
from lockstep.serving.form_page import page
from lockstep.serving.openapi import openapi
from lockstep.serving.request_parsing import RecordReader
from lockstep.serving.settings import Rule, ServingSettings

if TYPE_CHECKING:
    from lockstep.models.scoring.contributions import Explainer
    from lockstep.models.scoring.scorer import Scorer
    from lockstep.serving.request_parsing import RecordReader


@dataclass(frozen=True)
class Opened:
    """A checked model and what its version or card tells besides."""

    model: Model
    source: str
    place: str
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def scale(self) -> str:
        """The scale of its scores."""
        told = self.tags.get("score_scale", "")
        return told if told in (BALANCED, WEIGHTED) else PROBABILITY

    @property
    def positive_weight(self) -> float:
        """How many times a positive row weighed in training: odds of its scores are that many times too high."""
        return float(self.tags.get("positive_weight") or 1.0)

    @property
    def where(self) -> str:
        """The model's name and version, for messages."""
        version = self.model.version
        return self.model.name if version is None else f"{self.model.name} version {version}"


@dataclass(frozen=True)
class Decision:
    """The threshold in force, the scale it is meant on, and the words of both sides."""

    threshold: float
    scale: str
    band: float
    words: tuple[str, str]
    source: str

    def of(self, scores: Sequence[float]) -> list[tuple[int | None, str]]:
        """Return for each score 1 (at or above the threshold), 0, or None within the band, and its word."""
        low, high, review = (0, self.words[0]), (1, self.words[1]), (None, "review")
        at, band = self.threshold, self.band
        if not band:
            return [high if score >= at else low for score in scores]
        return [
            review if abs(score - at) <= band else high if score >= at else low for score in scores
        ]


@dataclass(frozen=True)
class Served:
    """One model with all that answers are made from. A request reads it once, so no answer mixes two."""

    opened: Opened
    model: Model
    scorer: Scorer
    explainer: Explainer
    reader: RecordReader
    decision: Decision | None
    since: float
    origin: dict[str, Any]
    version_body: Mapping[str, Any]
    openapi: bytes = b""
    page: bytes = b""

    @property
    def where(self) -> str:
        """The model's name and version, for messages."""
        return self.opened.where


def prepare(opened: Opened, settings: ServingSettings, before: Served | None = None) -> Served:
    """Make what answers requests of a checked model; ArtifactError or ConfigError where it cannot take over.

    It must take every request that the one before takes, decide on the scale that the threshold is meant on, and
    score its golden rows by the fast path as by the pipeline itself.
    """
    model = opened.model
    if before is not None:
        _check_signature(opened, before)
    decision = decision_of(opened, settings.rule_for(model.schema.name))
    scorer = Scorer(model.pipeline, model.schema)
    explainer = Explainer(model.pipeline, model.schema, scorer)
    check_fast_path(opened, scorer, explainer)
    return Served(
        opened=opened,
        model=model,
        scorer=scorer,
        explainer=explainer,
        reader=RecordReader(model.schema),
        decision=decision,
        since=time.time(),
        origin=_origin(opened, decision),
        version_body=_version_body(opened, decision),
        openapi=orjson.dumps(openapi(model.schema, settings.limits)),
        page=page(model.schema).encode(),
    )


def _check_signature(opened: Opened, before: Served) -> None:
    """Refuse a model that would refuse what its predecessor answered, or answer something else."""
    if opened.model.schema.name != before.model.schema.name:
        raise ArtifactError(
            f"{opened.where} is a model of {opened.model.schema.name}, what is served is one of "
            f"{before.model.schema.name}; start another server for it"
        )
    faults = signature_faults(opened.model, before.model)
    if faults:
        raise ArtifactError(
            f"{opened.where} does not take the requests that {before.where} takes: {'; '.join(faults[:5])}; "
            "restart the server to serve it all the same"
        )


def decision_of(opened: Opened, rule: Rule) -> Decision | None:
    """Return how two classes are decided between; None for other tasks. A threshold of another scale is refused."""
    model = opened.model
    if model.schema.task != "binary":
        return None
    if rule.threshold is None:
        if model.threshold is None:
            raise ConfigError(f"{opened.where} records no threshold; set DECISION_THRESHOLD")
        return Decision(model.threshold, opened.scale, rule.band, words_of(model), "the model")
    if rule.scale is not None and rule.scale != opened.scale:
        raise ConfigError(_other_scale(opened, rule))
    return Decision(rule.threshold, opened.scale, rule.band, words_of(model), rule.source)


def _other_scale(opened: Opened, rule: Rule) -> str:
    assert rule.threshold is not None
    told = (
        f"threshold {rule.threshold:g} (from {rule.source}) is meant on the {rule.scale} scale, {opened.where} "
        f"scores on the {opened.scale} scale"
    )
    balanced = opened.positive_weight if opened.scale == BALANCED else 1.0
    meant = float(opened.tags.get("class_ratio") or balanced) if rule.scale == BALANCED else 1.0
    own = 1.0 if opened.scale == PROBABILITY else opened.positive_weight
    if (meant if rule.scale == BALANCED else own) == 1.0:
        return (
            f"{told}; set DECISION_THRESHOLD and DECISION_SCALE={opened.scale} to one meant there"
        )
    same = equivalent(rule.threshold, meant, own)
    fix = f"set DECISION_THRESHOLD={same:.6g} DECISION_SCALE={opened.scale}"
    return f"{told}, where {same:.6g} is its equivalent: {fix}"


def words_of(model: Model) -> tuple[str, str]:
    """Return what 0 and 1 are called: the decisions that the schema names, else the meanings of the codes."""
    codes = model.schema.columns[model.schema.target].codes
    words = [
        model.schema.decisions.get(code) or meaning or str(code) for code, meaning in codes.items()
    ]
    return (words[0], words[1]) if len(words) == 2 else ("0", "1")


def check_fast_path(opened: Opened, scorer: Scorer, explainer: Explainer) -> None:
    """Compare the scores of golden rows with the pipeline's own, bit by bit, and explain one, which warms both up."""
    table = golden_rows(opened.model.schema)
    columns = columns_of(opened.model.schema, table)
    found, told = scorer.score(columns, len(table)), opened.model.score(table)
    if not np.array_equal(found, told):
        apart = float(np.nanmax(np.abs(found - told)))
        raise ArtifactError(
            f"{opened.where}: its fast path does not score as the model itself does (apart by {apart:.3g}); not served"
        )
    explainer.explain({name: values[:1] for name, values in columns.items()}, 1)


def _origin(opened: Opened, decision: Decision | None) -> dict[str, Any]:
    """Return what every answer carries of the model."""
    model = opened.model
    threshold = {} if decision is None else {"threshold": decision.threshold}
    return {
        **threshold,
        "model": model.name,
        "version": model.version,
        "run_id": model.run_id,
        "model_digest": model.digest,
    }


def _version_body(opened: Opened, decision: Decision | None) -> dict[str, Any]:
    """Return what /version says of the model and its lineage."""
    model, tags = opened.model, opened.tags
    told = decision and {
        "threshold": decision.threshold,
        "score_scale": decision.scale,
        "approval_band": decision.band,
        "threshold_from": decision.source,
    }
    return {
        "model": model.name,
        "version": model.version,
        "stage": model.stage,
        "run_id": model.run_id,
        "model_digest": model.digest,
        "type": model.type,
        "problem": model.schema.name,
        "task": model.schema.task,
        "schema_digest": model.schema.digest,
        **(told or {}),
        "model_threshold": model.threshold,
        "git_commit": tags.get("git_commit"),
        "dirty": was_dirty(tags.get("dirty")),
        "data_digest": tags.get("data_digest"),
        "data_dvc_hash": tags.get("data_dvc_hash"),
        "source": opened.source,
        "source_place": opened.place,
    }
