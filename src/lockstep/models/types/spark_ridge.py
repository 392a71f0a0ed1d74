"""Ridge, trained on Spark; the model is that of `ridge.py`."""

from __future__ import annotations

from lockstep.models.types import ridge
from lockstep.models.types._spark import OnSpark


class Type(OnSpark, ridge.Type):
    """What `ridge.py` declares, under a name of its own in the registry."""

    place = 12
    registered_part = "Spark_Ridge"
    short_name = "spark_ridge"
