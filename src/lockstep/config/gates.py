"""The gates before Production: the section mlflow.model_registry.gates, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from lockstep.config.params import Strict
from lockstep.errors import UsageError

DEFAULT = "default"
"""The section that holds for every problem; a problem's own section overrides it key by key."""
BETTER_THAN_GUESSING = {"roc_auc": 0.5, "macro_roc_auc": 0.5, "r2": 0.0}
"""The floors where none is configured; those of other tasks' metrics do not count."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ChampionGate(Strict):
    """When a challenger counts as better than the champion."""

    margin: NotNegative = Field(0.0, description="what the bound of the difference must clear")
    min_rows: int = Field(500, ge=2, description="fewest rows that neither has seen")
    min_groups: int = Field(100, ge=2, description="fewest groups among them")
    resamples: int = Field(1000, ge=200, description="of the paired bootstrap")


class SliceGate(Strict):
    """How much worse a part of the rows may fare."""

    min_rows: int = Field(200, ge=2, description="rows from which a slice is judged")
    worse_by: NotNegative = 0.02
    beyond_noise: bool = Field(
        True,
        description="whether a slice must be worse by more than noise; false: the estimate counts",
    )


class CalibrationGate(Strict):
    """How far probabilities may be off."""

    max_error: float = Field(0.1, gt=0, le=1, description="greatest calibration error; 1: any")
    worse_by: NotNegative = Field(0.02, description="than the champion's, beyond noise")


class ShadowGate(Strict):
    """How much live traffic a challenger must have scored in the champion's shadow; 0: none."""

    rows: int = Field(0, ge=0, description="rows that the champion answered")
    days: int = Field(0, ge=0, description="days (UTC) with such rows")


class Gates(Strict):
    """All gates before Production. ``floors`` are of the metrics recorded on the test part."""

    floors: dict[str, Finite] = Field(default_factory=lambda: dict(BETTER_THAN_GUESSING))
    champion: ChampionGate = ChampionGate()
    slices: SliceGate = SliceGate()
    calibration: CalibrationGate = CalibrationGate()
    golden: bool = True
    signature: bool = True
    must_have_been_in_staging: bool = False
    must_have_shadowed: ShadowGate = ShadowGate()


def gates_of(sections: Mapping[str, Gates], problem: str) -> Gates:
    """Return the gates of one problem: the default section's and, over them, its own section's."""
    merged: dict[str, Any] = {}
    for name in (DEFAULT, problem):
        if name in sections:
            merged = _merged(merged, sections[name].model_dump(exclude_unset=True))
    return Gates.model_validate(merged)


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``one`` with what ``other`` sets, section by section."""
    merged = dict(one)
    for key, value in other.items():
        is_section = isinstance(value, dict) and isinstance(one.get(key), dict)
        merged[key] = _merged(one[key], value) if is_section else value
    return merged


def check_force(force: bool, reason: str) -> None:
    """Raise a UsageError where gates are to be overridden without a reason."""
    if force and not reason.strip():
        raise UsageError("--force overrides the gates on record; say why with --reason TEXT")
