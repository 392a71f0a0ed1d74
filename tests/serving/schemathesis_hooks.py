"""Judges the API's refusals by the reader of files.

Texts are cells of the file that was trained on: "12" is 12, " NA" is missing. No JSON schema says
that to the letter: a pattern can't tell which of the texts that are numbers lie in a range, or
which words mean missing in a column. So the tool's own idea of what must be refused does not hold.
Instead, the API must take a body exactly where the prediction of a file takes the same content.
"""

from __future__ import annotations

import os
from pathlib import Path

import schemathesis
from hypothesis import strategies as st
from tests.serving.table_forms import tables_of

from lockstep.data.record_text import given
from lockstep.data.records import given_records, records_to_table
from lockstep.errors import LockstepError
from lockstep.problems.schema import load_schema
from lockstep.serving.openapi import example

SCHEMA = load_schema("accidents")
for kind, body in tables_of(example(SCHEMA)).items():
    schemathesis.openapi.media_type(kind, st.just(body))
JUDGED = {"/predict", "/explain"}
ABOUT_RECORDS = {200, 400, 422}
"""The statuses that depend on the records alone; others are of size, content type or time."""


@schemathesis.hook
def before_call(
    context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, object]
) -> None:
    """Leave the query out: nothing is in Staging here, and most records would only meet a 404."""
    case.query = {}


@schemathesis.check
def refused_as_a_file(
    context: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> None:
    """Fail where the API takes records that prediction from a file refuses, or refuses others."""
    body = response.request.body
    if case.path not in JUDGED or response.status_code not in ABOUT_RECORDS or not body:
        return
    if "json" not in response.request.headers["Content-Type"]:
        assert response.status_code == 200, "a table that fits"
        return
    content = body.encode() if isinstance(body, str) else body
    wanted, why = is_taken(content)
    assert (response.status_code == 200) == wanted, f"the file's reader: {why or 'takes it'}"
    with Path(os.environ["JUDGED"]).open("a", encoding="utf-8") as judged:
        judged.write("taken\n" if wanted else "refused\n")


def is_taken(content: bytes) -> tuple[bool, str]:
    """Return whether a file with this content would be predicted, and else why not."""
    try:
        records_to_table(SCHEMA, given_records(given(content, "the body"), SCHEMA))
    except LockstepError as error:
        return False, str(error)
    return True, ""
