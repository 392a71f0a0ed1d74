"""XGBoost, trained on Spark; the model is that of `xgboost.py`."""

from __future__ import annotations

from lockstep.models.types import xgboost
from lockstep.models.types._spark import OnSpark


class Type(OnSpark, xgboost.Type):
    """What `xgboost.py` declares, under a name of its own in the registry."""

    place = 14
    registered_part = "Spark_XGBoost"
    short_name = "spark_xgb"
    network = "collective"
