"""The work of predict_model: read records, find and check the model, predict, write the answer."""

from __future__ import annotations

import argparse
import csv
import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.commands.dispatch import load
from lockstep.console import aligned, as_json
from lockstep.data.records import parse_records
from lockstep.errors import DataError, RegistryError, leave_objects_to_the_system
from lockstep.io import write_text
from lockstep.models.artifact import import_skops
from lockstep.models.scoring.prediction import Model, predict
from lockstep.models.workspace import load_file

if TYPE_CHECKING:
    from lockstep.commands.predict_model import Choice

_ONCE = ("run_id", "model_digest")
"""What is the same in every row, and shown to people once."""
_MOST_CLASSES = 3


def predict_records(options: argparse.Namespace, choice: Choice | None, root: Path) -> None:
    """Predict a file's records with a registry's model, or (no choice) with a file's model."""
    given = parse_records(read_text(options.file), str(options.file))
    if choice is None:
        model = load_file(options.model_path, root)
    else:
        model = registered_model(choice, root, options.tracking_uri)
    report(predict(model, given.typed(model.schema), options.threshold), options)


def read_text(file: str) -> str:
    """Return the content of a file or of standard input (-), which must be UTF-8."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return content.decode()
    except FileNotFoundError:
        raise DataError(
            f"{file} is missing; give a file of records, e.g. src/models/test_features.json"
        ) from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder; give a file of records") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def registered_model(choice: Choice, root: Path, tracking_uri: str | None) -> Model:
    """Return the model that the registry holds for a choice, checked."""
    located, reason = beside_imports("model_lookup:look_up", choice, root, tracking_uri)
    if reason:
        version = located.version
        print(f"{version.name} version {version.version}: {reason}", file=sys.stderr)
    from lockstep.registry.artifact.loading import open_version

    return open_version(located)


def beside_imports(place: str, *arguments: Any) -> Any:
    """Call a function in a second process while this one imports what it needs afterwards.

    MLflow and the model libraries take two seconds each to import: in parallel a prediction
    starts sooner.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_ignore_interrupts) as pool:
        answer: Future[Any] = pool.submit(_call, place, *arguments)
        import_skops()
        import lockstep.features.columns_v1  # noqa: F401

        try:
            return answer.result()
        except BrokenProcessPool:
            raise RegistryError(
                "the process that asked the registry was killed; run the command again"
            ) from None


def _call(place: str, *arguments: Any) -> Any:
    """Call the function, and skip this process's last garbage collections, which take long."""
    found = load(place)(*arguments)
    leave_objects_to_the_system()
    return found


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the main process, which then ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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
