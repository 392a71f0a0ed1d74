"""The model that answers requests: one immutable value, made only of what passed every check."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import orjson

from lockstep.config.serving import DecisionSettings, ServingSettings
from lockstep.decision.decision_rule import DecisionRule
from lockstep.decision.score_scale import PROBABILITY, Scale
from lockstep.errors import ArtifactError, ConfigError
from lockstep.models.golden_rows import checked_outputs, golden_rows
from lockstep.models.scoring.contributions import Explainer
from lockstep.models.scoring.prediction import Model
from lockstep.models.scoring.scorer import Scorer, columns_of
from lockstep.monitoring.feature_counts import FeatureCounts
from lockstep.problems.words import decision_words
from lockstep.promotion.gates import signature_faults
from lockstep.registry.store.versions import was_dirty
from lockstep.serving.openapi import example, openapi
from lockstep.serving.page_builder import PageBuilder
from lockstep.serving.request_parsing import RecordReader
from lockstep.serving.strongest_features import by_effect
from lockstep.serving.table_parsing import TableReader
from lockstep.serving.what_if_page import what_if_page

_LOG = logging.getLogger("uvicorn.lockstep")


@dataclass(frozen=True)
class CheckedModel:
    """A model that passed its checks, with the tags of its version or card, and its source.

    ``typical`` is the typical record that its card holds, as it was read; None if there is none.
    ``counts`` returns how many rows have which values; None if that is not known.
    """

    model: Model
    source: str
    place: str
    tags: Mapping[str, str] = field(default_factory=dict)
    typical: Any = None
    counts: Callable[[], FeatureCounts | None] = lambda: None

    @property
    def title(self) -> str:
        """The model's name and version, for messages."""
        version = self.model.version
        return self.model.name if version is None else f"{self.model.name} version {version}"

    @property
    def example(self) -> dict[str, Any]:
        """A record that it takes, typical of its training rows where they are known."""
        return example(self.model.schema, self.typical)


@dataclass(frozen=True, kw_only=True)
class ServedDecision(DecisionRule):
    """The rule that decides answers between two classes, what it calls them, and its source."""

    words: tuple[str, str]
    source: str

    def outcomes(self, scores: np.ndarray) -> list[tuple[int | None, str]]:
        """Return for each score its class and word; for one within the band None and "review"."""
        known = ((0, self.words[0]), (1, self.words[1]), (None, "review"))
        places, review = self.places(scores)
        if review is not None:
            places = np.where(review, 2, places)
        return [known[place] for place in places.tolist()]

    def places(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return each score's class, and which are within the band; None if there is no band."""
        return self.apply(scores), self.needs_review(scores) if self.band else None


@dataclass(frozen=True)
class ServedModel:
    """One model with everything that answers need.

    A request reads it once, so no answer mixes two models.
    """

    checked: CheckedModel
    model: Model
    scorer: Scorer
    explainer: Explainer
    reader: RecordReader
    tables: TableReader
    decision: ServedDecision | None
    since: float
    origin: dict[str, Any]
    version_body: dict[str, Any]
    openapi: bytes
    page: PageBuilder

    @property
    def decided_by(self) -> tuple[str, float | None, str | None]:
        """The problem, the threshold in force and its score scale, for the prediction log."""
        rule = self.decision
        name = self.model.schema.name
        return (name, None, None) if rule is None else (name, rule.threshold, rule.scale.name)


def prepare(
    checked: CheckedModel, settings: ServingSettings, previous: ServedModel | None = None
) -> ServedModel:
    """Make a checked model ready to answer requests.

    Raises ArtifactError for a model that refuses requests which ``previous`` takes, or whose fast
    path scores golden rows otherwise than the pipeline. Raises ConfigError for a threshold that
    assumes another score scale.
    """
    model = checked.model
    if previous is not None:
        _check_signature(checked, previous)
    decision = decision_of(checked, settings.decision_for(model.schema.name))
    scorer = model.scorer
    explainer = Explainer(model.pipeline, model.schema, scorer)
    check_fast_path(checked, scorer, explainer)
    reader, scale = RecordReader(model.schema), None if decision is None else decision.scale
    # The page is open to all: where answers need a key, it holds no counts of the data.
    page = partial(_page, checked, scorer, reader, scale, settings.api_keys_file is not None)
    return ServedModel(
        checked=checked,
        model=model,
        scorer=scorer,
        explainer=explainer,
        reader=reader,
        tables=TableReader(reader),
        decision=decision,
        since=time.time(),
        origin=_origin(model, decision),
        version_body=_version_body(checked, decision),
        openapi=orjson.dumps(openapi(model.schema, settings.limits, checked.example)),
        page=PageBuilder(page),
    )


def _page(
    checked: CheckedModel, scorer: Scorer, reader: RecordReader, scale: Scale | None, withheld: bool
) -> bytes:
    """Return the page at /; it may count the training rows, and scores some hundred records."""
    counts, order = checked.counts(), []
    try:
        order = by_effect(scorer, reader, checked.example, counts)
    except Exception:  # noqa: BLE001  the page works in the schema's order too; the log says why
        _LOG.exception("the order of the page's controls is the schema's")
    name = PROBABILITY if scale is None else scale.name
    return what_if_page(
        checked.model.schema, checked.typical, name, counts, order, withheld
    ).encode()


def _check_signature(checked: CheckedModel, previous: ServedModel) -> None:
    """Raise ArtifactError for a model that would not take the requests of its predecessor."""
    problem = checked.model.schema.name
    if problem != previous.model.schema.name:
        served = f"this server serves one of {previous.model.schema.name}"
        fix = "start another server for it"
        raise ArtifactError(f"{checked.title} is a model of {problem}, {served}; {fix}")
    if faults := signature_faults(checked.model, previous.model):
        fault = f"does not take the requests that {previous.checked.title} takes"
        listed, fix = "; ".join(faults[:5]), "restart the server to serve it anyway"
        raise ArtifactError(f"{checked.title} {fault}: {listed}; {fix}")


def _scale_of(checked: CheckedModel) -> Scale:
    """Return the scale of a model's scores; ArtifactError if a tag of it is damaged."""
    try:
        scale = Scale.recorded(checked.tags)
        if not 0 < scale.positive_weight < math.inf:
            raise ValueError(f"positive_weight {scale.positive_weight} is no positive number")
        return scale
    except ValueError as error:
        fix = "`verify` names the tag and its value in model_card.json; set this value in MLflow"
        raise ArtifactError(f"{checked.title} has a damaged tag: {error}; {fix}") from error


def decision_of(checked: CheckedModel, settings: DecisionSettings) -> ServedDecision | None:
    """Return the rule that decides between two classes; None for other tasks.

    A missing threshold, or one that assumes another score scale, raises ConfigError.
    """
    model, scale = checked.model, _scale_of(checked)
    if model.schema.task != "binary":
        return None
    threshold, source = settings.threshold, settings.source
    if threshold is None:
        threshold, source = model.threshold, "the model"
        if threshold is None:
            raise ConfigError(f"{checked.title} records no threshold; set DECISION_THRESHOLD")
    elif settings.scale is not None and settings.scale != scale.name:
        fix = f"set DECISION_THRESHOLD and DECISION_SCALE={scale.name} to match them"
        same = scale.equivalent(threshold, settings.scale)
        if same is not None:
            fix = f"set DECISION_THRESHOLD={same:.6g} DECISION_SCALE={scale.name}, its equivalent"
        given = f"threshold {threshold:g} (from {source}) assumes the {settings.scale} scale"
        raise ConfigError(f"{given}, but {checked.title} gives {scale.name} scores; {fix}")
    words, band = decision_words(model.schema), settings.band
    return ServedDecision("binary", threshold, scale=scale, band=band, words=words, source=source)


def check_fast_path(checked: CheckedModel, scorer: Scorer, explainer: Explainer) -> None:
    """Raise ArtifactError unless golden rows score bit for bit as by the pipeline itself.

    Explains one row too: that warms both up.
    """
    model, rows = checked.model, golden_rows(checked.model.schema)
    checked_outputs(model.pipeline, model.schema, rows, checked.title, scorer)
    explainer.explain(columns_of(model.schema, rows.head(1)), 1)


def _origin(model: Model, decision: ServedDecision | None) -> dict[str, Any]:
    threshold = {} if decision is None else {"threshold": decision.threshold}
    return {
        **threshold,
        "model": model.name,
        "version": model.version,
        "run_id": model.run_id,
        "model_digest": model.digest,
    }


def _version_body(checked: CheckedModel, decision: ServedDecision | None) -> dict[str, Any]:
    """Return what /version reports about the model and its lineage."""
    model, tags = checked.model, checked.tags
    decided_by = decision and {
        "threshold": decision.threshold,
        "score_scale": decision.scale.name,
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
        **(decided_by or {}),
        "model_threshold": model.threshold,
        "git_commit": tags.get("git_commit"),
        "dirty": was_dirty(tags.get("dirty")),
        "data_digest": tags.get("data_digest"),
        "data_dvc_hash": tags.get("data_dvc_hash"),
        "source": checked.source,
        "source_place": checked.place,
    }
