"""What identifies a version of a registry: it is loaded again when any of it changes."""

from __future__ import annotations

from collections.abc import Mapping

from lockstep.registry.store.names import TAG_PREFIX
from lockstep.registry.store.versions import Version

_TAGS = ("model_digest", "threshold", "score_scale", "positive_weight")


def identity_of(version: Version) -> str:
    """Return what identifies a version: its place, model, threshold and scale."""
    return identity(*described(version))


def described(version: Version) -> tuple[str, dict[str, str]]:
    """Return a version's place, and its tags without their prefix."""
    tags = {key.removeprefix(TAG_PREFIX): value for key, value in version.tags.items()}
    return f"models:/{version.name}/{version.version}", tags


def identity(place: str, tags: Mapping[str, str]) -> str:
    """Return what identifies a version that is described by its place and tags."""
    return " ".join([place, *(tags.get(key) or "" for key in _TAGS)])
