"""Labels that arrive later: what really happened to a row of an earlier request."""

from __future__ import annotations

import math
import re
import time
from typing import Any

import orjson

from lockstep.problems.schema import Schema
from lockstep.serving.http_request import Refusal
from lockstep.serving.openapi import MOST_ROW
from lockstep.serving.prediction_log import Label

MOST = 1000
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FIELDS = ("request_id", "row", "label")


def read_labels(schema: Schema, body: bytes) -> list[Label]:
    """Return the labels of a body: one object or a list of them; Refusal names each fault."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, f"the body is no valid JSON: {error}") from None
    items = content if isinstance(content, list) else [content]
    if not items or not all(isinstance(item, dict) for item in items):
        raise Refusal(400, "send an object with request_id and label, or a list of them")
    if len(items) > MOST:
        raise Refusal(413, f"{len(items):,} labels at once; send {MOST:,} at most")
    faults = [
        fault
        for number, item in enumerate(items, start=1)
        for fault in _faults(schema, number, item)
    ]
    if faults:
        more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise Refusal(422, f"{faults[0]['message']}{more}", faults[:100])
    now = time.time_ns() // 1_000_000
    return [Label(item["request_id"], item.get("row", 1), item["label"], now) for item in items]


def _faults(schema: Schema, number: int, item: dict[str, Any]) -> list[dict[str, Any]]:
    extra = [name for name in item if name not in _FIELDS]
    found: list[tuple[str, str, Any]] = [
        (name[:60], f"a label has no field {name[:60]!r}", list(_FIELDS)) for name in extra
    ]
    request = item.get("request_id")
    if not isinstance(request, str) or not _ID.fullmatch(request):
        found.append(("request_id", "request_id must be the id of an earlier answer", _ID.pattern))
    row = item.get("row", 1)
    if type(row) is not int or not 1 <= row <= MOST_ROW:
        found.append(("row", "row must be a whole number from 1", "1, 2, …"))
    if not _is_label(schema, item.get("label")):
        allowed = allowed_labels(schema)
        found.append(("label", f"label must be {_told(allowed)}", allowed))
    return [
        {
            "row": number,
            "field": field,
            "value": _short(item.get(field)),
            "message": message,
            "allowed": allowed,
        }
        for field, message, allowed in found
    ]


def allowed_labels(schema: Schema) -> list[Any] | str:
    """Return the codes a target may have, or what numbers it may be."""
    column = schema.columns[schema.target]
    if schema.task == "regression":
        return "a finite number"
    if column.codes:
        return list(column.codes) if column.holds_numbers else [str(code) for code in column.codes]
    return [0, 1] if schema.task == "binary" else "a class"


def _is_label(schema: Schema, value: Any) -> bool:
    allowed = allowed_labels(schema)
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(allowed, list):
        return isinstance(value, int | str) and value in allowed
    if schema.task == "regression":
        return isinstance(value, int | float) and abs(value) < 2**63 and math.isfinite(value)
    return isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**63)


def _told(allowed: list[Any] | str) -> str:
    return (
        allowed
        if isinstance(allowed, str)
        else "one of " + ", ".join(str(one) for one in allowed[:20])
    )


def _short(value: Any) -> str | None:
    return None if value is None else repr(value)[:60]
