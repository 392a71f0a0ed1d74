"""The API's description, made from a problem's schema: what each field may hold, what comes back, every status."""

from __future__ import annotations

from typing import Any

from lockstep.config.settings import LimitsSection
from lockstep.problems.schema import Column, Schema

MOST_ROW = 2**31 - 1
"""The highest number of a row that a label may be about."""
_STATUSES = {
    "400": "the body is no valid JSON, or not an object or a list of objects",
    "401": "no valid API key, where the server asks for one",
    "408": "the body did not arrive in time",
    "413": "the body or the number of records is too large",
    "415": "the content type is not application/json",
    "431": "the headers are too large",
    "422": "a record does not fit the schema: each fault with field, value and what is allowed",
    "503": "too busy, too slow, or no model yet; try again",
}
_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}


def openapi(schema: Schema, limits: LimitsSection) -> dict[str, Any]:
    """Return the OpenAPI 3.0 description for models of ``schema`` (3.0, as the page of /docs reads no later one)."""
    posts = {
        "/predict": ("Predict", "Score one record, or a list of them in one go.", "Answer", limits.rows),
        "/explain": ("Explain", "Say what each feature adds to the score of one record or of a list.", "Explained",
                     limits.explain_rows),
    }  # fmt: skip
    paths = {path: {"post": _post(schema, *told)} for path, told in posts.items()}
    return {
        "openapi": "3.0.3",
        "info": {"title": schema.title, "version": "1", "description": _about(schema)},
        "paths": paths | _other_paths(schema),
        "components": {
            "schemas": _components(schema),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        "security": [{}, {"key": []}, {"header": []}],
    }


def _about(schema: Schema) -> str:
    return f"Predictions for one {schema.unit}. Every answer names the model's version and carries the request's id."


def _post(schema: Schema, name: str, text: str, answer: str, most: int) -> dict[str, Any]:
    record = {"$ref": "#/components/schemas/Record"}
    several = {"type": "array", "items": record, "minItems": 1, "maxItems": most}
    body = {"schema": {"oneOf": [record, several]}, "example": example(schema)}
    answers = [_ref(answer), _ref(f"{answer}List")]
    return {
        "operationId": name.lower(),
        "summary": name,
        "description": text,
        "parameters": [_request_id()],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": _json("the answer", {"oneOf": answers})} | _faults(),
    }


def _other_paths(schema: Schema) -> dict[str, Any]:
    items = {
        "oneOf": [
            _ref("Label"),
            {"type": "array", "items": _ref("Label"), "minItems": 1, "maxItems": 1000},
        ]
    }
    feedback = {
        "operationId": "feedback",
        "summary": "Feedback",
        "description": "Tell later what really happened, by request id; kept for monitoring.",
        "parameters": [_request_id()],
        "requestBody": {"required": True, "content": {"application/json": {"schema": items}}},
        "responses": {"202": _json("taken", _object({"accepted": _WHOLE, "request_id": _TEXT}))}
        | _faults(),
    }
    free = {"type": "object", "additionalProperties": True}
    ready = {"200": _json("ready", free), "503": _json("not ready", free)}
    return {
        "/feedback": {"post": feedback},
        "/version": {"get": _get("version", "Model, version, run, commit, digest, threshold",
                                 {"200": _json("what answers", free), "401": _fault("401"), "503": _fault("503")})},
        "/health": {"get": _get("health", "Health with details", ready)},
        "/health/live": {"get": _get("live", "Whether the process answers", {"200": _json("alive", free)})},
        "/health/ready": {"get": _get("ready", "Whether it has a model to answer with", ready)},
        "/metrics": {"get": _get("metrics", "Counters in Prometheus' format",
                                 {"200": {"description": "text", "content": {"text/plain": {"schema": _TEXT}}}})},
    }  # fmt: skip


def _get(name: str, text: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"operationId": name, "summary": text, "responses": responses}


def _request_id() -> dict[str, Any]:
    return {
        "name": "X-Request-ID",
        "in": "header",
        "required": False,
        "description": "an id of your own for this request, up to 64 letters, digits, '.', '_' and '-'; anything else "
        "is replaced by a new one",
        "schema": _TEXT,
    }


def _faults() -> dict[str, Any]:
    return {status: _fault(status) for status in _STATUSES}


def _fault(status: str) -> dict[str, Any]:
    return _json(_STATUSES[status], _ref("Fault"))


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    needed = list(properties) if required is None else required
    return {"type": "object", "properties": properties, **({"required": needed} if needed else {})}


def _components(schema: Schema) -> dict[str, Any]:
    fault = _object(
        {"row": _WHOLE, "field": {**_TEXT, "nullable": True}, "value": {"nullable": True}, "message": _TEXT,
         "allowed": {"nullable": True}}, required=["message"],
    )  # fmt: skip
    one, of_model = _prediction(schema), _origin(schema)
    explained = {**one, **_explanation()}
    listed = {"row": _WHOLE}
    return {
        "Record": record(schema),
        "Fault": _object(
            {"error": _TEXT, "request_id": _TEXT, "faults": {"type": "array", "items": fault}},
            required=["error", "request_id"],
        ),
        "Label": label(schema),
        "Answer": _object(one | of_model),
        "AnswerList": _object(
            {"predictions": {"type": "array", "items": _object(listed | one)}} | of_model
        ),
        "Explained": _object(explained | of_model, required=["contributions", "base", "margin"]),
        "ExplainedList": _object(
            {
                "explanations": {
                    "type": "array",
                    "items": _object(listed | explained, ["row", "contributions"]),
                }
            }
            | of_model
        ),
    }


def record(schema: Schema) -> dict[str, Any]:
    """Return the JSON schema of one record: every feature, nothing else."""
    return {
        "type": "object",
        "properties": {column.name: field(column) for column in schema.features},
        "required": schema.feature_names,
        "additionalProperties": False,
        "example": example(schema),
    }


def field(column: Column) -> dict[str, Any]:
    """Return the JSON schema of one feature: type, range or codes, and what it means."""
    told: dict[str, Any] = {
        "type": "number" if column.holds_numbers else "string",
        "description": _meaning(column),
    }
    if column.holds_numbers and (column.integer or column.codes):
        told["type"] = "integer"
    if column.codes:
        codes: list[Any] = (
            list(column.codes) if column.holds_numbers else [str(code) for code in column.codes]
        )
        told["enum"] = [*codes, None] if column.missing else codes
    bounds = {"minimum": column.low, "maximum": column.high}
    told |= {key: value for key, value in bounds.items() if value is not None and not column.codes}
    return told | ({"nullable": True} if column.missing else {})


def _meaning(column: Column) -> str:
    unit = f" [{column.unit}]" if column.unit else ""
    codes = "; ".join(f"{code}: {text}" for code, text in column.codes.items() if text)
    return f"{column.description}{unit}{f' ({codes})' if codes else ''}"


def example(schema: Schema) -> dict[str, Any]:
    """Return a record that is accepted: the middle of each range, the first of each code."""
    return {column.name: _example(column) for column in schema.features}


def _example(column: Column) -> Any:
    if column.codes:
        first = next(iter(column.codes))
        return first if column.holds_numbers else str(first)
    if not column.holds_numbers:
        return "a"
    low, high = column.low, column.high
    middle = (
        (low + high) / 2
        if low is not None and high is not None
        else next((b for b in (low, high) if b is not None), 1)
    )
    return round(middle) if column.integer else float(f"{middle:.4g}")


def label(schema: Schema) -> dict[str, Any]:
    """Return the JSON schema of a later label."""
    told = _object(
        {
            "request_id": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
            "row": {"type": "integer", "minimum": 1, "maximum": MOST_ROW, "default": 1},
            "label": _target(schema),
        },
        required=["request_id", "label"],
    )
    return told | {"additionalProperties": False}


def _target(schema: Schema) -> dict[str, Any]:
    column = schema.columns[schema.target]
    if schema.task == "regression":
        return {"type": "number", "description": column.description}
    if schema.task == "binary" and not column.codes:
        return {"type": "integer", "enum": [0, 1]}
    codes: list[Any] = (
        list(column.codes) if column.holds_numbers else [str(code) for code in column.codes]
    )
    kind = "integer" if column.holds_numbers else "string"
    return {"type": kind, **({"enum": codes} if codes else {}), "description": _meaning(column)}


def _prediction(schema: Schema) -> dict[str, Any]:
    chance = {"type": "number", "minimum": 0, "maximum": 1}
    if schema.task == "regression":
        return {"prediction": _NUMBER}
    if schema.task == "multiclass":
        chances = {"type": "object", "additionalProperties": chance}
        return {
            "probabilities": chances,
            "decision": {"description": "the decided class"},
            "meaning": _TEXT,
        }
    decision = {
        "type": "integer", "enum": [0, 1, None], "nullable": True,
        "description": "1 at or above the threshold, 0 below, null within the band that a person reviews",
    }  # fmt: skip
    return {"probability": chance, "decision": decision, "meaning": _TEXT}


def _explanation() -> dict[str, Any]:
    return {
        "base": {**_NUMBER, "description": "the margin where nothing is known"},
        "contributions": {"type": "object", "additionalProperties": _NUMBER,
                          "description": "what each feature adds; with the base they sum to the margin"},
        "margin": _NUMBER,
        "margin_scale": {"type": "string", "enum": ["log-odds", "probability", "value"]},
        "calibrated": {**_NUMBER, "nullable": True, "description": "what calibration makes of the margin"},
        "reasons": {"type": "array", "items": _TEXT},
    }  # fmt: skip


def _origin(schema: Schema) -> dict[str, Any]:
    threshold = {"threshold": _NUMBER} if schema.task == "binary" else {}
    nullable = {"nullable": True}
    return {
        **threshold,
        "model": _TEXT,
        "version": {**_WHOLE, **nullable},
        "run_id": {**_TEXT, **nullable},
        "model_digest": {**_TEXT, **nullable},
        "request_id": _TEXT,
    }
