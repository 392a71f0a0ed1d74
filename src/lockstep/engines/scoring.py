"""Score folders of Parquet files with Spark: each file is a task, and OUTPUT mirrors INPUT.

Input and output are checked before a session starts. A run goes on where an earlier one of the
same model and settings stopped; another model's scores are never mixed in.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import parquet

from lockstep.data.import_raw import refuse_unreadable
from lockstep.data.record_columns import ColumnReader
from lockstep.engines.score_files import (
    REASON,
    REJECTED,
    FileScores,
    InputFile,
    ShippedModel,
    open_parquet,
    score_or_fault,
)
from lockstep.engines.scratch import drop_partial
from lockstep.engines.session import spark_session
from lockstep.engines.tasks import run_tasks
from lockstep.errors import DataError, listed
from lockstep.io import read_json, write_json, write_text
from lockstep.models.scoring.outcome_columns import outcome_fields
from lockstep.models.scoring.prediction import Model

SUMMARY, SUCCESS, LOCK = "_lockstep.json", "_SUCCESS", ".lockstep.lock"
_MODEL, _SETTINGS = ("model_name", "model_version", "model_digest"), ("threshold", "columns")
"""The facts of a folder of scores that say which model, and what a person chose beside it."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def find_inputs(source: Path) -> list[InputFile]:
    """Return the Parquet files of a file or folder, sorted; hidden files and _names are skipped.

    Links are followed. DataError for a folder that this user may not read.
    """
    if source.is_file():
        paths = [source]
        below = source.parent
    elif source.is_dir():
        below = source
        paths = sorted(_shown_files(source))
    else:
        raise DataError(f"{source} is missing; give a Parquet file or a folder of them")
    others = [str(p.relative_to(below)) for p in paths if p.suffix.lower() != ".parquet"]
    if others:
        fix = "write tables as Parquet (pandas: `table.to_parquet`), and move other files away"
        raise DataError(f"{source} holds {listed(others)}, and only Parquet is scored; {fix}")
    if not paths:
        raise DataError(f"{source} holds no Parquet file; give a file or a folder of them")
    return [_input_file(path, below) for path in paths]


def _shown_files(source: Path) -> Iterator[Path]:
    """Yield the shown files below a folder; no link to a folder around it is followed."""
    for folder, inner, names in os.walk(source, followlinks=True, onerror=refuse_unreadable):
        place = Path(folder)
        inner[:] = [n for n in inner if _is_shown(n) and not _is_loop(source, place / n)]
        files = (place / name for name in names if _is_shown(name))
        # A link that leads nowhere stays, so that an error names it.
        yield from (file for file in files if file.is_file() or file.is_symlink())


def _is_shown(name: str) -> bool:
    return not name.startswith((".", "_"))


def _is_loop(source: Path, folder: Path) -> bool:
    """Tell whether a link leads to a folder that holds one of those it was reached by."""
    if not folder.is_symlink():
        return False
    target = folder.resolve()
    above = [parent for parent in folder.parents if parent.is_relative_to(source)]
    return any(parent.resolve().is_relative_to(target) for parent in above)


def _input_file(path: Path, below: Path) -> InputFile:
    name = path.relative_to(below)
    pairs = (part.split("=", 1) for part in name.parts[:-1] if "=" in part)
    partition = {unquote(k): None if v == _NO_VALUE else unquote(v) for k, v in pairs}
    return InputFile(str(path.resolve()), name.as_posix(), partition)


def check_inputs(files: Iterable[InputFile], model: Model, keep: Sequence[str] | None) -> None:
    """Raise a DataError for the first file whose columns can't be scored, or written again."""
    added = [field.name for field in outcome_fields(model)]
    for file in files:
        with open_parquet(Path(file.path)) as source:
            columns = source.schema_arrow
        _check_names(file, columns.names, keep, added)
        reader = ColumnReader(model.schema, [*columns.names, *file.partition], file.name)
        none = {field.name: pa.array([], field.type) for field in columns}
        reader.read(none | {name: pa.array([], pa.string()) for name in file.partition}, 0)


def _check_names(
    file: InputFile, names: list[str], keep: Sequence[str] | None, added: list[str]
) -> None:
    twice = {name for name in names if names.count(name) > 1} | set(names) & set(file.partition)
    if twice:
        raise DataError(f"{file.name} has {listed(sorted(twice))} twice; rename or remove one")
    if unknown := set(keep or ()) - set(names) - set(file.partition):
        raise DataError(f"{file.name} lacks {listed(sorted(unknown))}, which --keep names")
    written = names if keep is None else [*keep, *file.partition]
    if clash := sorted({*written, *file.partition} & set(added)):
        fix = "rename it, or leave it out by --keep"
        raise DataError(f"{file.name} has a column {clash[0]}, as the scores are called; {fix}")
    if REASON in names:
        fix = "rename it"
        raise DataError(f"{file.name} has a column {REASON}, which rejected rows get; {fix}")


def check_places(source: Path, output: Path) -> None:
    """Refuse an output that lies in its input, or holds it."""
    given, target = source.resolve(), output.resolve()
    if given.is_relative_to(target) or (source.is_dir() and target.is_relative_to(given)):
        raise DataError(f"{output} and {source} lie in one another; give a folder beside the input")
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file; give a folder for the scores")


def check_output(output: Path, shipped: ShippedModel, overwrite: bool) -> None:
    """Refuse a folder of other files, or of scores by another model or other settings."""
    if not _held(output):
        return
    if not (output / SUMMARY).is_file():
        raise DataError(f"{output} holds other files than scores; give a new or an empty folder")
    if not overwrite:
        _check_same(output, read_json(output / SUMMARY), shipped)


def prepare_output(output: Path, shipped: ShippedModel, overwrite: bool) -> None:
    """Begin or continue a checked folder of scores; the caller holds its lock."""
    check_output(output, shipped, overwrite)
    if overwrite:
        _empty(output)
    (output / SUCCESS).unlink(missing_ok=True)
    drop_partial(output)
    if not (output / SUMMARY).is_file():
        write_json(output / SUMMARY, facts_of(shipped), digits=None)


def _held(output: Path) -> list[Path]:
    """Return what a folder holds beside its lock; what says that it holds scores comes last."""
    found = [path for path in output.iterdir() if path.name != LOCK] if output.is_dir() else []
    return sorted(found, key=lambda path: path.name == SUMMARY)


def _empty(output: Path) -> None:
    for path in _held(output):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _check_same(output: Path, before: Any, shipped: ShippedModel) -> None:
    known, now = before if isinstance(before, dict) else {}, facts_of(shipped)
    if known.get("settings_digest") == now["settings_digest"]:
        return
    title = f"{known.get('model_name')} version {known.get('model_version')}"
    other = {key for key in now if known.get(key) != now[key]}
    settings = "" if other.intersection(_MODEL) else " with other settings"
    shown = f" ({', '.join(sorted(other.intersection(_SETTINGS)))})" if settings else ""
    fix = "choose another folder or --overwrite"
    raise DataError(f"{output} holds scores of {title}{settings}{shown}; {fix}")


def facts_of(shipped: ShippedModel) -> dict[str, Any]:
    """Return what a folder of scores says about its model and settings."""
    model = shipped.model
    return {
        "model_name": model.name,
        "model_version": model.version,
        "model_digest": model.digest,
        "run_id": model.run_id,
        "type": model.type,
        "problem": model.schema.name,
        "task": model.schema.task,
        "threshold": model.threshold,
        "columns": None if shipped.keep is None else list(shipped.keep),
        "settings_digest": shipped.settings_digest,
    }


def score(
    shipped: ShippedModel, files: Sequence[InputFile], output: Path, master: str | None
) -> list[FileScores]:
    """Score files below ``output`` in Spark tasks; return what became of each, in their order."""
    with spark_session(master, app="lockstep-score") as spark:
        shared = spark.sparkContext.broadcast(shipped)
        # Executors have a working folder of their own.
        found = run_tasks(spark, partial(_score_file, shared, output.absolute()), files)
        shared.destroy()
    return found


def _score_file(shared: Any, output: Path, file: InputFile) -> FileScores:
    return score_or_fault(shared.value, output, file)


def finish(
    output: Path, shipped: ShippedModel, found: Sequence[FileScores], most_rejected: float
) -> dict[str, Any]:
    """Write the summary, and _SUCCESS unless a file failed or too many rows were rejected."""
    faults = [fault for one in found if (fault := _fault(one, output))]
    rows, rejected = sum(one.rows for one in found), sum(one.rejected for one in found)
    counts = {
        "files": len(found),
        "files_done_before": sum(one.was_done for one in found),
        "files_failed": len(faults),
        "rows": rows,
        "rows_scored": rows - rejected,
        "rows_rejected": rejected,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    summary = facts_of(shipped) | counts
    drop_partial(output)
    write_json(output / SUMMARY, summary, digits=None)
    if faults:
        others = ", the others have their scores" if len(faults) < len(found) else ""
        raise DataError(f"{faults[0]}; {len(faults)} of {len(found)} files failed{others}")
    if rejected > most_rejected * rows:
        _refuse_rejected(output, found, rows, most_rejected)
    write_text(output / SUCCESS, "")
    return summary


def _fault(one: FileScores, output: Path) -> str | None:
    """Return what is wrong with a file: its task's fault, or that its scores are not here."""
    if one.fault or (output / one.name).is_file():
        return one.fault
    fix = f"mount {output} under one path for this machine and all executors"
    return f"{output / one.name} is not here, an executor wrote it to another disk; {fix}"


def _refuse_rejected(
    output: Path, found: Sequence[FileScores], rows: int, most_rejected: float
) -> None:
    """Raise a DataError with the share of rejected rows, and the first of them."""
    one = next(one for one in found if one.rejected)
    path = output / REJECTED / one.name
    reason = parquet.read_table(path, columns=[REASON])[REASON][0].as_py()
    rejected = sum(one.rejected for one in found)
    raise DataError(
        f"{rejected:,} of {rows:,} rows were rejected ({rejected / rows:.2%}), more than "
        f"--max-rejected {most_rejected:g} allows; see {output / REJECTED}, e.g. {one.name}: "
        f"{reason}"
    )


def without_input(output: Path, files: Iterable[InputFile]) -> list[str]:
    """Return the files of scores below ``output`` whose input is not there any more."""
    names = (p.relative_to(output) for p in output.rglob("*.parquet"))
    scores = {name.as_posix() for name in names if name.parts[0] != REJECTED}
    return sorted(scores - {file.name for file in files})
