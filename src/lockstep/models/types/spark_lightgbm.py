"""LightGBM, trained on Spark; the model is that of `lightgbm.py`."""

from __future__ import annotations

from lockstep.models.types import lightgbm
from lockstep.models.types._spark import OnSpark


class Type(OnSpark, lightgbm.Type):
    """What `lightgbm.py` declares, under a name of its own in the registry."""

    place = 15
    registered_part = "Spark_LightGBM"
    short_name = "spark_lgb"
    network = "sockets"
