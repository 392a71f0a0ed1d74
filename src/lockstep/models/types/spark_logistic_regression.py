"""Logistic regression, trained on Spark; the model is that of `logistic_regression.py`."""

from __future__ import annotations

from lockstep.models.types import logistic_regression
from lockstep.models.types._spark import OnSpark


class Type(OnSpark, logistic_regression.Type):
    """What `logistic_regression.py` declares, under a name of its own in the registry."""

    place = 11
    registered_part = "Spark_Logistic_Regression"
    short_name = "spark_lr"
