"""The 95 % intervals of a version's test metrics, from the scores that its training wrote."""

from __future__ import annotations

import json

from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.features.matrix_columns import GROUP
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.store.names import INTERVALS_TAG

RESAMPLES = 200
MOST_ROWS = 50_000
"""Test rows above which resampling would take longer than logging; sampling error is small then."""


def interval_tags(outputs: Outputs) -> dict[str, str]:
    """Return the tag that holds the intervals; none without the scores of its test part."""
    scored = outputs.read_scores()
    if scored is None:
        return {}
    test = scored.part("test")
    if not 0 < len(test) <= MOST_ROWS:
        return {}
    groups = test[GROUP].to_numpy()
    drawn = resampled({outputs.type: scored.rows("test")}, groups, RESAMPLES)[outputs.type]
    ends = {name: [float(f"{end:.6g}") for end in interval(v)] for name, v in drawn.items()}
    return {INTERVALS_TAG: json.dumps(ends, separators=(",", ":"))}
