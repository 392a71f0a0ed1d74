"""How many rows have which values of each feature, for a page: counts only, never a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockstep.config.layout import ProblemLayout
from lockstep.models.typical_record import training_rows
from lockstep.monitoring.bins import Bins, Counts, bins_of, counted
from lockstep.monitoring.reference import Reference
from lockstep.problems.schema import Schema

OF_REFERENCE = "of the model’s data: training, validation and test"
OF_TRAINING = "that the model was trained on"


@dataclass(frozen=True)
class FeatureCounts:
    """The counts (bins,) of each feature over ``rows`` rows; ``which`` says which rows those are.

    The last count of a feature is that of the rows where it is missing.
    """

    rows: int
    which: str
    features: Mapping[str, tuple[Bins, Counts]]


def counts_of_reference(reference: Reference) -> FeatureCounts:
    """Return the counts that a version's reference holds, over all months."""
    features = {name: (one.bins, one.total) for name, one in reference.features.items()}
    return FeatureCounts(reference.rows["features"], OF_REFERENCE, features)


def counts_of_training(
    layout: ProblemLayout, schema: Schema, card: Mapping[str, Any]
) -> FeatureCounts | None:
    """Return the counts of the training rows in this workspace; None if they are not there."""
    found = training_rows(layout, schema, card)
    if found is None:
        return None
    table, groups = found
    features = {}
    for column in schema.features:
        values = table[column.name]
        bins = bins_of(column, values, groups)
        features[column.name] = (bins, counted(bins.places(values), bins.size))
    return FeatureCounts(len(table), OF_TRAINING, features)
