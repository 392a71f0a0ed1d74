"""The tags of a version that hold JSON; their form is checked, as a person may have edited them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lockstep.errors import ArtifactError
from lockstep.registry.store.names import TAG_PREFIX
from lockstep.registry.store.versions import Version

_LARGEST = 2**63
"""Whole numbers beyond it may have no float."""


def _is_number(content: Any) -> bool:
    whole = isinstance(content, int) and not isinstance(content, bool)
    return isinstance(content, float) or (whole and abs(content) <= _LARGEST)


def _are_intervals(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends))
        for ends in content.values()
    )


def _are_costs(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(row, dict) and all(map(_is_number, row.values())) for row in content.values()
    )


def _is_interval(content: Any) -> bool:
    return isinstance(content, dict) and _is_number(content.get("coverage"))


def _is_weight(content: Any) -> bool:
    return _is_number(content) and 0 < content < math.inf


@dataclass(frozen=True)
class _Form:
    """What a tag holds, and how a person repairs it."""

    fits: Callable[[Any], bool]
    holds: str
    fix: str = "set it in MLflow's pages to the value in the version's model_card.json"


_FORMS = {
    "test_intervals": _Form(
        _are_intervals,
        "intervals by metric",
        "delete it in MLflow's pages: only the description shows it",
    ),
    "classes": _Form(lambda content: isinstance(content, list), "list of classes"),
    "costs": _Form(_are_costs, "costs by class"),
    "interval": _Form(_is_interval, "interval with a coverage"),
    "positive_weight": _Form(_is_weight, "positive number"),
    "class_ratio": _Form(_is_weight, "positive number"),
}


def json_tag(version: Version, key: str) -> Any:
    """Return what the tag lockstep.KEY holds; None without it, and for a damaged one."""
    try:
        content = json.loads(version.tag(key) or "null")
    except (ValueError, RecursionError):
        return None
    return content if _FORMS[key].fits(content) else None


def checked_tag(version: Version, key: str) -> Any:
    """Return what the tag lockstep.KEY holds; None without it, ArtifactError for a damaged one."""
    content = json_tag(version, key)
    if content is None and version.tag(key) is not None:
        raise ArtifactError(f"{version.title}: its {_fault(key)}; {_FORMS[key].fix}")
    return content


def damaged_tags(version: Version) -> Iterator[tuple[str, str]]:
    """Yield the tags that hold something else than they should, and how a person repairs each."""
    for key, form in _FORMS.items():
        if version.tag(key) is not None and json_tag(version, key) is None:
            yield _fault(key), form.fix


def _fault(key: str) -> str:
    return f"tag {TAG_PREFIX}{key} holds no {_FORMS[key].holds}"
