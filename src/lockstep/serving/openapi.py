"""The OpenAPI description of a problem's API: fields, answers and statuses, from its schema."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from lockstep.config.settings import LimitsSection
from lockstep.data.records import other_columns
from lockstep.data.values import fit_check
from lockstep.errors import listed
from lockstep.models.typical_record import fitting
from lockstep.problems.schema import Column, Schema
from lockstep.serving.http_request import ARROW_STREAM, REQUEST_ID, TABLES

STAGING = "Staging"
"""The value of the query parameter ``stage``."""
MOST_LABELS = 1000
MOST_NAMES = 60
"""How many names of columns the description of a record lists at most."""
MOST_ROW = 2**31 - 1
"""The highest row number that a label may name."""
_STATUSES = {
    "400": "the body is no valid JSON or no readable table",
    "401": "no valid API key, where the server asks for one",
    "404": "there is no version in Staging, or no registry is followed",
    "408": "the body did not arrive in time",
    "413": "the body or the number of records is too large",
    "415": "the content type is not one that this path takes",
    "431": "the headers are too large",
    "422": "a record does not fit the schema: each fault with field, value and what is allowed",
    "503": "too busy, too slow, or no model yet; try again",
}
_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "your own id for this request, up to 64 letters, digits, '.', '_' and '-'; "
    "anything else is replaced by a new one",
    "schema": _TEXT,
}
_STAGE = {
    "name": "stage",
    "in": "query",
    "required": False,
    "description": "let the version in Staging answer, for comparison; such an answer is not noted",
    "schema": {"type": "string", "enum": [STAGING]},
}
_LOG = {
    "name": "log",
    "in": "query",
    "required": False,
    "description": "0: the answer is not noted, neither in the prediction log nor in the counts of "
    "decisions; for trying records out",
    "schema": {"type": "string", "enum": ["0", "1"]},
}
_CELLS = (
    "A text is read as a cell of the file that the model was trained on: blanks around it are cut, "
    "words such as NA and the empty text are missing unless they are a code, and a number is "
    "written as in that file. Numbers and null mean themselves."
)
_TABLES = (
    "A table, in Arrow's stream or file format or in Parquet, has a column for each feature and up "
    "to {rows:,} rows; its answer is an Arrow stream with a row for each, or JSON where the client "
    "accepts only that. A cell means what it means in a Parquet file to predict."
)
_LABEL_CELLS = "A label given as text is read as a cell of the target's column."
_IGNORED = {
    "ignored": {
        "type": "array",
        "items": _TEXT,
        "description": "names in the records that are no features; absent if there are none",
    }
}
_EXPLANATION = {
    "base": {**_NUMBER, "description": "the margin if no feature is known"},
    "contributions": {
        "type": "object",
        "additionalProperties": _NUMBER,
        "description": "what each feature adds; with the base they sum to the margin",
    },
    "margin": _NUMBER,
    "margin_scale": {"type": "string", "enum": ["log-odds", "probability", "value"]},
    "calibrated": {**_NUMBER, "nullable": True, "description": "the margin after calibration"},
    "reasons": {"type": "array", "items": _TEXT},
}


def openapi(
    schema: Schema, limits: LimitsSection, given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the description of ``schema``; OpenAPI 3.0, as the page /docs reads no later one.

    ``given`` is the example of a record, by default the one that ``example`` makes of the schema.
    """
    shown = example(schema) if given is None else dict(given)
    about = "Every answer names the model's version and carries the request's id."
    description = f"Predictions for one {schema.unit}. {about}"
    return {
        "openapi": "3.0.3",
        "info": {"title": schema.title, "version": "1", "description": description},
        "paths": {**_post_paths(schema, limits, shown), **_get_paths()},
        "components": {
            "schemas": _components(schema, shown),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"key": []}, {"header": []}],
    }


def _post_paths(schema: Schema, limits: LimitsSection, shown: dict[str, Any]) -> dict[str, Any]:
    given, one = {"example": shown}, "Score one record or a list of records."
    why = "Return the contribution of each feature to the score of one record or of a list."
    later = f"Send true outcomes later, by request id; kept for monitoring. {_LABEL_CELLS}"
    scored = {"schema": _one_or_list("Record", limits.rows), **given}
    explained = {"schema": _one_or_list("Record", limits.explain_rows), **given}
    labels = {"schema": _one_or_list("Label", MOST_LABELS)}
    taken = {"202": _json("taken", _object({"accepted": _WHOLE, "request_id": _TEXT}))}
    return {
        "/predict": _with_tables(
            _post("Predict", one, scored, _answers("Answer"), _STAGE, _LOG), limits
        ),
        "/explain": _post("Explain", why, explained, _answers("Explained"), _STAGE),
        "/feedback": _post("Feedback", later, labels, taken),
    }


def _with_tables(path: dict[str, Any], limits: LimitsSection) -> dict[str, Any]:
    """Return a path that also takes tables, which it answers with one."""
    operation, binary = path["post"], {"schema": {**_TEXT, "format": "binary"}}
    operation["description"] += f" {_TABLES.format(rows=limits.table_rows)}"
    operation["requestBody"]["content"] |= {kind.decode(): binary for kind in TABLES}
    operation["responses"]["200"]["content"][ARROW_STREAM.decode()] = binary
    return path


def _post(
    name: str,
    text: str,
    body: dict[str, Any],
    success: dict[str, Any],
    *query: dict[str, Any],
) -> dict[str, Any]:
    statuses = [status for status in _STATUSES if query or status != "404"]
    operation = {
        "operationId": name.lower(),
        "summary": name,
        "description": text,
        "parameters": [_REQUEST_ID, *query],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {**success, **_faults(*statuses)},
    }
    return {"post": operation}


def _answers(name: str) -> dict[str, Any]:
    return {"200": _json("the answer", {"oneOf": [_ref(name), _ref(f"{name}List")]})}


def _get_paths() -> dict[str, Any]:
    free = {"type": "object", "additionalProperties": True}
    ready = {"200": _json("ready", free), "503": _json("not ready", free)}
    version = {"200": _json("the model that answers", free), **_faults("401", "503")}
    alive = {"200": _json("alive", free)}
    counters = {"200": {"description": "text", "content": {"text/plain": {"schema": _TEXT}}}}
    return {
        "/version": _get("version", "Model, version, run, commit, digest, threshold", version),
        "/health": _get("health", "Health with details", ready),
        "/health/live": _get("live", "Whether the process answers", alive),
        "/health/ready": _get("ready", "Whether it has a model to answer with", ready),
        "/metrics": _get("metrics", "Counters in Prometheus' format", counters),
    }


def _get(name: str, text: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"get": {"operationId": name, "summary": text, "responses": responses}}


def _one_or_list(name: str, most: int) -> dict[str, Any]:
    several = {**_array(_ref(name)), "minItems": 1, "maxItems": most}
    return {"oneOf": [_ref(name), several]}


def _faults(*statuses: str) -> dict[str, Any]:
    return {status: _json(_STATUSES[status], _ref("Fault")) for status in statuses}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, **({"required": needed} if needed else {})}


def _components(schema: Schema, shown: dict[str, Any]) -> dict[str, Any]:
    fault = _object(
        {
            "row": _WHOLE,
            "field": {**_TEXT, "nullable": True},
            "value": {"nullable": True},
            "message": _TEXT,
            "allowed": {"nullable": True},
        },
        required=["message"],
    )
    faults = {"error": _TEXT, "request_id": _TEXT, "faults": _array(fault)}
    one, origin, row = _prediction(schema), _origin(schema), {"row": _WHOLE}
    always, origin = list(origin), origin | _IGNORED
    explained = {**one, **_EXPLANATION}
    explanations = _array(_object(row | explained, ["row", "contributions"]))
    return {
        "Record": record(schema, shown),
        "Fault": _object(faults, required=["error", "request_id"]),
        "Label": label(schema),
        "Answer": _object(one | origin, required=[*one, *always]),
        "AnswerList": _object(
            {"predictions": _array(_object(row | one)), **origin}, required=["predictions", *always]
        ),
        "Explained": _object(explained | origin, required=["contributions", "base", "margin"]),
        "ExplainedList": _object(
            {"explanations": explanations, **origin}, required=["explanations", *always]
        ),
    }


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def record(schema: Schema, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of one record, with an example: every feature as a plain value.

    What is accepted beside that is said in words: clients are made for the plain form.
    """
    return {
        "type": "object",
        "description": " ".join([_CELLS, *_other_names(schema)]),
        "properties": {column.name: field(column) for column in schema.features},
        "required": schema.feature_names,
        "additionalProperties": False,
        "example": shown,
    }


def _other_names(schema: Schema) -> Iterator[str]:
    """Yield what may stand in a record beside the features, if anything."""
    others = listed(other_columns(schema), MOST_NAMES)
    aliases = schema.feature_aliases.items()
    if aliases:
        named = listed([f"{alias} for {name}" for alias, name in aliases], MOST_NAMES)
        yield f"Other names of features: {named}."
    if others:
        yield f"Columns of the file that are no features are ignored: {others}."


def field(column: Column) -> dict[str, Any]:
    """Return the JSON schema of one feature: type, range or codes, and its meaning."""
    kind = "number" if column.holds_numbers else "string"
    if column.holds_numbers and (column.integer or column.codes):
        kind = "integer"
    content: dict[str, Any] = {"type": kind, "description": _meaning(column)}
    if column.codes:
        content["enum"] = _codes(column) + ([None] if column.missing else [])
    else:
        bounds = {"minimum": column.low, "maximum": column.high}
        content |= {key: value for key, value in bounds.items() if value is not None}
    return content | ({"nullable": True} if column.missing else {})


def _codes(column: Column) -> list[Any]:
    return [code if column.holds_numbers else str(code) for code in column.codes]


def _meaning(column: Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    codes = "; ".join(f"{code}: {text}" for code, text in column.codes.items() if text)
    return f"{column.description}{unit}{f' ({codes})' if codes else ''}"


def example(schema: Schema, typical: Any = None) -> dict[str, Any]:
    """Return a record that the schema takes: typical values as far as they are known and fit.

    Other features have the middle of their range, or their first code.
    """
    known = fitting(schema, typical)
    return {c.name: known[c.name] if c.name in known else _example(c) for c in schema.features}


def _example(column: Column) -> Any:
    if column.codes:
        return _codes(column)[0]
    if not column.holds_numbers:
        return "a"
    bounds = [bound for bound in (column.low, column.high) if bound is not None] or [1]
    middle = sum(bounds) / len(bounds)
    whole = [round(middle), math.floor(middle), math.ceil(middle)]
    tried = whole if column.integer else [float(f"{middle:.4g}")]
    return next(filter(fit_check(column), tried), middle)  # a rounded one may leave the range


def label(schema: Schema) -> dict[str, Any]:
    """Return the JSON schema of a later label."""
    fields = {
        "request_id": {"type": "string", "pattern": f"^{REQUEST_ID.pattern}$"},
        "row": {"type": "integer", "minimum": 1, "maximum": MOST_ROW, "default": 1},
        "label": _target(schema),
    }
    return {**_object(fields, required=["request_id", "label"]), "additionalProperties": False}


def _target(schema: Schema) -> dict[str, Any]:
    column = schema.columns[schema.target]
    if schema.task == "regression":
        return {"type": "number", "description": column.description}
    if schema.task == "binary" and not column.codes:
        return {"type": "integer", "enum": [0, 1]}
    kind = "integer" if column.holds_numbers else "string"
    codes = {"enum": _codes(column)} if column.codes else {}
    return {"type": kind, **codes, "description": _meaning(column)}


def _prediction(schema: Schema) -> dict[str, Any]:
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    if schema.task == "regression":
        return {"prediction": _NUMBER}
    if schema.task == "multiclass":
        chances = {"type": "object", "additionalProperties": chance}
        decision: dict[str, Any] = {"description": "the decided class"}
        return {"probabilities": chances, "decision": decision, "meaning": _TEXT}
    text = "1 at or above the threshold, 0 below it, null within the band that a person reviews"
    decision = {"type": "integer", "enum": [0, 1, None], "nullable": True, "description": text}
    return {"probability": chance, "decision": decision, "meaning": _TEXT}


def _origin(schema: Schema) -> dict[str, Any]:
    threshold = {"threshold": _NUMBER} if schema.task == "binary" else {}
    version, text = {**_WHOLE, "nullable": True}, {**_TEXT, "nullable": True}
    known = {"model": _TEXT, "version": version, "run_id": text, "model_digest": text}
    return {**threshold, **known, "request_id": _TEXT}
