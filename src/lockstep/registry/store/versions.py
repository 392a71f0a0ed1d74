"""A registered version as a plain value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from lockstep.errors import RegistryError
from lockstep.registry.store.names import PRUNED_TAG, SCRIPT, STAGE_TAG, STAGES, TAG_PREFIX


@dataclass(frozen=True)
class Version:
    """One registered version."""

    name: str
    version: int
    created: int = field(metadata={"unit": "ms since 1970, UTC"})
    run_id: str | None
    source: str
    mirrored: str = field(
        metadata={"note": "MLflow's own stage; only ever compared to mend the mirror"}
    )
    tags: dict[str, str]
    recorded: str | None = field(
        default=None, metadata={"note": "what the model's record says of its stage"}
    )

    @property
    def stage(self) -> str:
        """The version's stage: by the record, else its tag; one with neither, or another word, stands in None."""
        told = self.recorded or self.tags.get(STAGE_TAG, "None")
        return told if told in STAGES else "None"

    def tag(self, key: str) -> str | None:
        """Return the value of the tag lockstep.KEY, if it was written."""
        return self.tags.get(TAG_PREFIX + key)

    @property
    def scores(self) -> dict[str, float]:
        """The metrics recorded when it was published, as ``validation_roc_auc``, by name."""
        parts = ("validation_", "test_")
        found = {
            key.removeprefix(TAG_PREFIX): number(value) for key, value in sorted(self.tags.items())
        }
        return {
            key: value
            for key, value in found.items()
            if value is not None and key.startswith(parts)
        }

    @property
    def threshold(self) -> float | None:
        """The decision threshold recorded with it."""
        return number(self.tag("threshold"))

    @property
    def pruned(self) -> str | None:
        """The number of the event that deleted its files; None while it has them."""
        return self.tags.get(PRUNED_TAG)

    @property
    def dirty(self) -> bool | None:
        """Whether a declared input differed from the commit; None where nobody recorded it."""
        return was_dirty(self.tag("dirty"))


def was_dirty(told: str | None) -> bool | None:
    """Return what a tag ``dirty`` says; None for ``unknown``, and where there is none."""
    return {"true": True, "false": False}.get(told or "")


def check_has_files(version: Version, stage: str) -> None:
    """Raise a RegistryError for a version whose files were pruned, where ``stage`` is one that is loaded from."""
    if version.pruned is not None and stage in ("Staging", "Production"):
        raise RegistryError(f"{pruned_line(version)}; it cannot go to {stage}")


def pruned_line(version: Version) -> str:
    """Say that a version's files were pruned, and how to have the model again."""
    return (
        f"the files of {version.name} version {version.version} were pruned (event {version.pruned}); rebuild it: "
        f"{SCRIPT} reproduce --model-name {version.name} --version {version.version}"
    )


def number(text: str | None) -> float | None:
    """Return the number a tag holds; None where it holds none."""
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
    )
