"""A registered version as a plain value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from lockstep.errors import RegistryError
from lockstep.registry.store.names import PRUNED_TAG, SCRIPT, STAGE_TAG, STAGES, TAG_PREFIX

_LOGGED_MODEL = re.compile(r"models:/(m-[^/]+)")
"""The source of a version of a logged model; ``models:/m-scores/1`` is one of a copy."""


@dataclass(frozen=True)
class Version:
    """One registered version."""

    name: str
    version: int
    created: int  # milliseconds since 1970
    run_id: str | None
    source: str
    mirrored: str  # MLflow's own stage, compared to repair it, never read
    tags: dict[str, str]
    recorded: str | None = None  # the stage by the model's record
    description: str = ""

    @property
    def stage(self) -> str:
        """The version's stage, by the record or else by its tag; None for an unknown word."""
        stage = self.recorded or self.tags.get(STAGE_TAG, "None")
        return stage if stage in STAGES else "None"

    @property
    def title(self) -> str:
        """The version as messages name it."""
        return f"{self.name} version {self.version}"

    @property
    def key(self) -> tuple[str, int, str | None]:
        """Its name, number and model digest: what the prediction log knows it by."""
        return self.name, self.version, self.tag("model_digest")

    def tag(self, key: str) -> str | None:
        """Return the value of the tag lockstep.KEY, if it has one."""
        return self.tags.get(TAG_PREFIX + key)

    @property
    def scores(self) -> dict[str, float]:
        """The metrics recorded when it was published, by name, as ``validation_roc_auc``."""
        parts = tuple(f"{TAG_PREFIX}{part}_" for part in ("validation", "test"))
        recorded = (key for key in sorted(self.tags) if key.startswith(parts))
        found = {key.removeprefix(TAG_PREFIX): number(self.tags[key]) for key in recorded}
        return {key: value for key, value in found.items() if value is not None}

    @property
    def threshold(self) -> float | None:
        """The decision threshold recorded with it."""
        return number(self.tag("threshold"))

    @property
    def logged_model(self) -> str | None:
        """The id of the logged model whose files just these are; None for copies and folders."""
        found = _LOGGED_MODEL.fullmatch(self.source)
        return found[1] if found else None

    @property
    def pruned(self) -> str | None:
        """The number of the event that deleted its files; None while it has them."""
        return self.tags.get(PRUNED_TAG)

    @property
    def dirty(self) -> bool | None:
        """Whether a declared input differed from the commit; None if nobody recorded it."""
        return was_dirty(self.tag("dirty"))


def was_dirty(text: str | None) -> bool | None:
    """Return what a tag ``dirty`` says; None for ``unknown`` or no tag."""
    return {"true": True, "false": False}.get(text or "")


def check_has_files(version: Version, stage: str) -> None:
    """Raise RegistryError for a pruned version that is to go to a stage that is loaded from."""
    if version.pruned is not None and stage in ("Staging", "Production"):
        raise RegistryError(f"{pruned_line(version)}; it cannot go to {stage}")


def pruned_line(version: Version) -> str:
    """Return a line that says that a version's files were pruned, and how to rebuild the model."""
    command = f"{SCRIPT} reproduce --model-name {version.name} --version {version.version}"
    pruned = f"the files of {version.title} were pruned (event {version.pruned})"
    return f"{pruned}; rebuild it: {command}"


def number(text: str | None) -> float | None:
    """Return the finite number in a tag; None if it holds none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def version_from(raw: Any) -> Version:
    """Return MLflow's model version as plain values."""
    return Version(
        name=raw.name,
        version=int(raw.version),  # an int from sqlite, text from a server: "9" > "11"
        created=int(raw.creation_timestamp),
        run_id=raw.run_id or None,
        source=raw.source,
        mirrored=raw.current_stage or "None",
        tags=dict(raw.tags),
        description=raw.description or "",
    )
