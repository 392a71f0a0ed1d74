"""The flavor of xgboost or lightgbm beside the artifact: the estimator alone, as MLflow's loaders of these two read it.

It is for people and their tools. This project itself loads the whole artifact only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import lightgbm
import xgboost

from lockstep.models.artifact import ALLOWED_TYPES, canonical_bytes
from lockstep.models.calibration import base_estimator


@dataclass(frozen=True)
class Native:
    """A file that ``mlflow.FLAVOR.load_model`` reads, and what MLmodel and the model's card say of it."""

    flavor: str
    file: str
    content: bytes
    model_class: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def declared(self) -> dict[str, Any]:
        """What MLmodel says; nothing of this project's code is needed to load it."""
        return {"data": self.file, "model_class": self.model_class, "code": None, **self.options}

    def card(self, method: str) -> dict[str, Any]:
        """What the card says: the file, what the model in it takes, and which steps of the artifact it has not."""
        calibration = () if method == "none" else (f"calibration ({method})",)
        return {
            "flavor": self.flavor,
            "file": self.file,
            "model_class": self.model_class,
            "takes": "what the encoder of the artifact makes of raw rows",
            "leaves_out": ["encoder", *calibration],
        }


def native_of(pipeline: Any) -> Native | None:
    """Return the native form of a pipeline's booster, the same bytes in every process; None where it has none.

    Users of these loaders expect the classes with ``predict_proba``. Those of xgboost read a booster's own JSON;
    LightGBM's text would come back as a Booster without it, so there it is skops, as the artifact itself.
    """
    estimator = base_estimator(pipeline.steps[-1][1])
    package, kind = type(estimator).__module__.partition(".")[0], type(estimator)
    make = {"xgboost": _of_xgboost, "lightgbm": _of_lightgbm}.get(package)
    return make(estimator, f"{kind.__module__}.{kind.__qualname__}") if make else None


def _of_xgboost(estimator: Any, model_class: str) -> Native:
    content = bytes(estimator.get_booster().save_raw("json"))
    options = {"xgb_version": xgboost.__version__, "model_format": "json"}
    return Native("xgboost", "xgboost.json", content, model_class, options)


def _of_lightgbm(estimator: Any, model_class: str) -> Native:
    options = {
        "lgb_version": lightgbm.__version__,
        "serialization_format": "skops",
        "skops_trusted_types": list(ALLOWED_TYPES),
    }
    return Native("lightgbm", "lightgbm.skops", canonical_bytes(estimator), model_class, options)
