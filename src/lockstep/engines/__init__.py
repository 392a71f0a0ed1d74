"""The same trainings and scoring on Spark; the only room that imports pyspark.

pyspark is an extra (`make setup-spark`), so nothing but commands that run on Spark imports this
room, and they import it when they run.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec

from lockstep.errors import ConfigError

if find_spec("pyspark") is None or find_spec("py4j") is None:
    raise ConfigError("Spark needs pyspark, which is not installed; run `make setup-spark`")

# It is said at every conversion. What the package uses of pandas was compared with pandas itself.
warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
