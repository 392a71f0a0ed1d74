"""Exact tree SHAP for scikit-learn's trees, along their own paths (Lundberg et al. 2020)."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.models.model_type import Parts

with warnings.catch_warnings():
    # Its import registers matplotlib's colour maps by a deprecated call.
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    import shap


def tree_explainer(estimator: Any) -> Callable[[NDArray[Any]], Parts]:
    """Return what splits margins of encoded rows into bases and the parts of columns."""
    explainer = shap.TreeExplainer(estimator, feature_perturbation="tree_path_dependent")
    bases = np.atleast_1d(np.asarray(explainer.expected_value, dtype=np.float64))
    first = 1 if len(bases) == 2 else 0  # for two classes the positive one

    def parts(rows: NDArray[Any]) -> Parts:
        found = np.asarray(explainer.shap_values(rows, check_additivity=False))
        found = found[:, :, np.newaxis] if found.ndim == 2 else found
        return bases[first:], found.transpose(0, 2, 1)[:, first:]

    return parts
