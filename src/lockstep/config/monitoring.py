"""What counts as drift and when an alarm is raised: section monitoring of model_config.yaml."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from lockstep.config.params import Strict

DAY_MS = 86_400_000
METRICS_FILE = "metrics.prom"
"""What an analysis writes for Prometheus, in its problem's folder."""

Share = Annotated[float, Field(gt=0, lt=1)]
Rows = Annotated[int, Field(ge=1)]


class DriftSettings(Strict):
    """When a feature or the score counts as changed: monitoring.drift."""

    psi: Annotated[float, Field(gt=0)] = 0.03
    psi_rows: Rows = 5_000
    min_rows: Rows = 500


class PerformanceSettings(Strict):
    """When labels raise an alarm: monitoring.performance.

    ``windows`` of the last ``of`` months with enough labels, the newest among them, must be worse
    by ``z`` standard errors.
    """

    windows: Rows = 2
    of: Rows = 2
    z: Annotated[float, Field(gt=0)] = 1.96
    min_rows: Rows = 1_000
    min_of_a_class: Rows = 50


class RateSettings(Strict):
    """When outcomes differ from what the model expects: monitoring.outcomes.

    The last ``windows`` months with enough labels together must differ by ``z`` standard errors.
    """

    windows: Rows = 2
    z: Annotated[float, Field(gt=0)] = 3.0


class DecisionSettings(Strict):
    """When the share of decisions differs from the test rows': monitoring.decisions."""

    differs_by: Share = 0.03
    z: Annotated[float, Field(gt=0)] = 3.0


class MonitoringSection(Strict):
    """The section monitoring of model_config.yaml."""

    folder: str = ".lockstep/monitoring"
    webhook: str | None = None
    drift: DriftSettings = DriftSettings()
    performance: PerformanceSettings = PerformanceSettings()
    outcomes: RateSettings = RateSettings()
    decisions: DecisionSettings = DecisionSettings()

    @field_validator("webhook")
    @classmethod
    def _of_the_web(cls, url: str | None) -> str | None:
        if url is not None and not re.match(r"https?://[^/\s]", url):
            raise ValueError("give an address with http:// or https://")
        return url
