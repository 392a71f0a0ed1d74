"""Labels that arrive later: the true outcome of a row of an earlier request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson

from lockstep.data.values import allowed_labels, boolean_values, is_label, read_label_texts
from lockstep.monitoring.log_files import Label
from lockstep.problems.schema import Schema
from lockstep.serving.http_request import REQUEST_ID, Refusal
from lockstep.serving.openapi import MOST_LABELS, MOST_ROW

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
    if len(items) > MOST_LABELS:
        raise Refusal(413, f"{len(items):,} labels at once; send {MOST_LABELS:,} at most")
    items = _read(schema, items)
    faults = [
        {"row": number, "field": field, "value": _short(item.get(field)), "message": message}
        | {"allowed": allowed}
        for number, item in enumerate(items, start=1)
        for field, message, allowed in _faults(schema, item)
    ]
    if faults:
        more = f"; and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise Refusal(422, f"{faults[0]['message']}{more}", faults[:100])
    now = time.time_ns() // 1_000_000
    return [Label(item["request_id"], item.get("row", 1), item["label"], now) for item in items]


def _read(schema: Schema, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return labels as plain values; a text is a cell of the target's column.

    So are true and false, where the column has these two values.
    """
    if boolean_values(schema.columns[schema.target]):
        items = [item | _written_out(item.get("label")) for item in items]
    texts = {item["label"] for item in items if isinstance(item.get("label"), str)}
    if not texts:
        return items
    read = read_label_texts(schema, texts)
    return [
        item | {"label": read[item["label"]]} if isinstance(item.get("label"), str) else item
        for item in items
    ]


def _written_out(label: Any) -> dict[str, str]:
    """Return true and false as a table writes them; nothing of another label."""
    return {"label": str(label).lower()} if isinstance(label, bool) else {}


def _faults(schema: Schema, item: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield field, message and what is allowed for each fault of a label."""
    for name in item:
        if name not in _FIELDS:
            yield name[:60], f"a label has no field {name[:60]!r}", list(_FIELDS)
    request, row = item.get("request_id"), item.get("row", 1)
    if not isinstance(request, str) or not REQUEST_ID.fullmatch(request):
        yield "request_id", "request_id must be the id of an earlier answer", REQUEST_ID.pattern
    if type(row) is not int or not 1 <= row <= MOST_ROW:
        yield "row", "row must be a whole number from 1", "1, 2, …"
    if not is_label(schema, item.get("label")):
        allowed = allowed_labels(schema)
        several = isinstance(allowed, list) and "one of " + ", ".join(map(str, allowed[:20]))
        yield "label", f"label must be {several or allowed}", allowed


def _short(value: Any) -> str | None:
    return None if value is None else repr(value)[:60]
