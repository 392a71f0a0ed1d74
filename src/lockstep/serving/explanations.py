"""The contribution of each feature to a score, as the API answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.models.scoring.contributions import reasons, record_at
from lockstep.models.scoring.fast_scoring import AskedForest
from lockstep.serving.loaded_model import ServedModel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockstep.models.scoring.contributions import Contributions
    from lockstep.models.scoring.scorer import Columns


def explanations(
    served: ServedModel, columns: Columns, rows: int, chosen: NDArray[np.intp] | None
) -> list[dict[str, Any]]:
    """Return a dictionary a row: base, contributions, margin, calibrated margin, reasons in words.

    ``chosen`` (rows,) holds the place of each row's decided class for a multiclass model.
    """
    found = served.explainer.explain(columns, rows, chosen)
    return [_explanation(served, columns, found, row) for row in range(rows)]


def _explanation(
    served: ServedModel, columns: Columns, found: Contributions, row: int
) -> dict[str, Any]:
    label = {} if found.classes is None else {"explained_class": found.classes[row]}
    return {
        **label,
        "base": found.base_of(row),
        "contributions": dict(zip(found.features, found.values[row].tolist(), strict=True)),
        "margin": float(found.margin[row]),
        "margin_scale": margin_scale(served),
        "calibrated": None if found.calibrated is None else float(found.calibrated[row]),
        "reasons": reasons(served.model.schema, found, record_at(columns, row), row),
    }


def margin_scale(served: ServedModel) -> str:
    """Return the scale of a margin: a value, a forest's probability, or log-odds."""
    if served.model.schema.task == "regression":
        return "value"
    return "probability" if isinstance(served.scorer.answering, AskedForest) else "log-odds"
