"""A model behind BentoML, as its documentation serves a fitted scikit-learn pipeline.

The pipeline is the one that this project's stages wrote, so it needs this package on the path.
"""

from __future__ import annotations

import os
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1)
class Predictions:
    """One worker, as the other sides have."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(os.environ["MODEL_PATH"])

    @bentoml.api
    def predict(self, records: list[dict[str, Any]]) -> list[float]:
        """Return each record's probability of the positive class."""
        return self.pipeline.predict_proba(pd.DataFrame(records))[:, 1].tolist()
