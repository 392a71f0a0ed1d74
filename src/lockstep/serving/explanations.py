"""What each feature adds to a score, as the API says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.serving.served import Served

if TYPE_CHECKING:
    from lockstep.models.scorer import Columns


def explanations(served: Served, columns: Columns, rows: int) -> list[dict[str, Any]]:
    """Return base, contributions, margin, what calibration makes of it, and reasons in words, a dictionary a row."""
    found = served.explainer.explain(columns, rows)
    names, calibrated = found.features, found.calibrated
    return [
        {
            "base": found.base,
            "contributions": dict(zip(names, values, strict=True)),
            "margin": margin,
            "calibrated": None if calibrated is None else float(calibrated[row]),
        }
        for row, (values, margin) in enumerate(zip(found.values.tolist(), found.margin.tolist(), strict=True))
    ]
