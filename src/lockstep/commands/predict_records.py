"""The work of predict_model: check the model, predict, write the answer."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lockstep.console import aligned, as_json
from lockstep.data.record_text import Given
from lockstep.data.records import RowReader, given_records, mixed_decimals, records_to_table
from lockstep.errors import listed
from lockstep.io import write_text
from lockstep.models.artifact import import_skops
from lockstep.models.scoring.prediction import Model, predict_table
from lockstep.models.scoring.unseen import unseen_texts
from lockstep.models.workspace import load_file
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.model_cache import Located

_ONCE = ("run_id", "model_digest")
"""What is the same in every row, and shown to people once."""
_MOST_CLASSES = 3


def predict_by_file(options: argparse.Namespace, given: Given, root: Path) -> None:
    """Predict what is given with a model file of this workspace."""
    _predict(options, given, load_file(options.model_path, root))


def predict_by_registry(
    options: argparse.Namespace, given: Given, look_up: Callable[[], tuple[Located, str]]
) -> None:
    """Predict what is given with the registry's model that ``look_up`` waits for, checked."""
    import_skops()
    located, reason = look_up()
    if reason:
        print(f"{located.version.title}: {reason}", file=sys.stderr)
    _predict(options, given, open_version(located))


def _predict(options: argparse.Namespace, given: Given, model: Model) -> None:
    records = given_records(given, model.schema, partial(print, file=sys.stderr))
    table = records_to_table(model.schema, records)
    predictions = predict_table(model, table, options.threshold)
    if ignored := RowReader(model.schema).ignored(records):
        names = listed(f"{name} ({what})" for name, what in ignored.items())
        print(f"ignored, as no features: {names}", file=sys.stderr)
    report(predictions, options)
    sys.stdout.flush()
    encoder = model.pipeline.named_steps["encoder"]
    mixed = mixed_decimals(model.schema, records)
    for line in [mixed] * bool(mixed) + unseen_texts(encoder, model.schema, table):
        print(f"note: {line}", file=sys.stderr)


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the predictions, or write them to --output."""
    if options.output:
        write_text(options.output, WRITERS[options.output.suffix](rows))
        print(f"wrote {len(rows)} predictions to {options.output}", file=sys.stderr)
    else:
        print(as_json(rows) if options.json else _for_people(rows))


def _for_people(rows: list[dict[str, Any]]) -> str:
    """Return a table; the model's digest and run come once, the rest in each row."""
    short = [
        {k: _likeliest(v) if k == "probabilities" else v for k, v in row.items() if k not in _ONCE}
        for row in rows
    ]
    origin = f"run {rows[0]['run_id'] or '-'}, digest {(rows[0]['model_digest'] or '-')[:12]}"
    return f"{aligned(short)}\n{origin}"


def _likeliest(probabilities: dict[str, float]) -> str:
    """Return the most probable classes with their probabilities, and how many more there are."""
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{label} {chance:.4f}" for label, chance in ordered[:_MOST_CLASSES])
    more = len(ordered) - _MOST_CLASSES
    return f"{shown}, {more} more" if more > 0 else shown


def _jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [dict(_cells(row)) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def _cells(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a prediction's cells, one a class where it has probabilities of several."""
    for key, value in row.items():
        if key == "probabilities":
            yield from ((f"probability of {label}", chance) for label, chance in value.items())
        else:
            yield key, value


WRITERS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    ".json": lambda rows: as_json(rows) + "\n",
    ".jsonl": _jsonl,
    ".csv": _csv,
}
