"""The work of score_spark: check input, model and output, score, say what was done."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockstep.commands.undo import only_one
from lockstep.console import as_json
from lockstep.engines.score_files import REJECTED, InputFile, ship
from lockstep.engines.scoring import (
    LOCK,
    check_inputs,
    check_output,
    check_places,
    find_inputs,
    finish,
    prepare_output,
    score,
    without_input,
)
from lockstep.errors import listed
from lockstep.models.artifact import ENCODER_SOURCE, canonical_bytes, import_skops
from lockstep.models.scoring.prediction import OUTCOMES, Model
from lockstep.models.workspace import load_file
from lockstep.registry.artifact.files import SHIPPED_CODE, SKOPS
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.model_cache import Located


def score_by_file(options: argparse.Namespace, root: Path) -> None:
    """Score by a model file of this workspace."""
    files = _inputs(options)
    model = load_file(options.model_path, root)
    _score(options, files, model, canonical_bytes(model.pipeline), ENCODER_SOURCE.read_bytes())


def score_by_registry(
    options: argparse.Namespace, look_up: Callable[[], tuple[Located, str]]
) -> None:
    """Score by the registry's model that ``look_up`` waits for, checked."""
    files = _inputs(options)
    import_skops()
    located, reason = look_up()
    if reason:
        print(f"{located.version.title}: {reason}", file=sys.stderr)
    model = open_version(located)
    content, code = ((located.folder / name) for name in (SKOPS, SHIPPED_CODE))
    shipped_code = code.read_bytes() if code.is_file() else b""
    _score(options, files, model, content.read_bytes(), shipped_code)


def _inputs(options: argparse.Namespace) -> list[InputFile]:
    check_places(options.input, options.output)
    return find_inputs(options.input)


def _score(
    options: argparse.Namespace, files: list[InputFile], model: Model, content: bytes, code: bytes
) -> None:
    _check_decides(model, options.threshold)
    if options.threshold is not None:
        model = replace(model, threshold=options.threshold)
    check_inputs(files, model, options.keep)
    shipped = ship(model, content, code, options.keep)
    check_output(options.output, shipped, options.overwrite)  # before a lock is left there
    with only_one(options.output / LOCK, f"score_spark into {options.output}"):
        prepare_output(options.output, shipped, options.overwrite)
        found = score(shipped, files, options.output, options.master)
        summary = finish(options.output, shipped, found, options.max_rejected)
    _report(options, summary, without_input(options.output, files))


def _check_decides(model: Model, threshold: float | None) -> None:
    """Refuse a threshold that is missing, or that a model has no use for, as predictions do."""
    scorer = model.scorer
    OUTCOMES[model.schema.task](model, scorer.score(scorer.nothing(), 1), threshold)


def _report(options: argparse.Namespace, summary: dict[str, Any], orphans: list[str]) -> None:
    if orphans:
        kept = f"{listed(orphans)} in {options.output} no longer have an input; they are kept"
        print(f"note: {kept}", file=sys.stderr)
    print(as_json(summary) if options.json else _last_line(options.output, summary))


def _last_line(output: Path, facts: dict[str, Any]) -> str:
    version = facts["model_version"]
    title = facts["model_name"] + ("" if version is None else f" version {version}")
    before = facts["files_done_before"]
    done = f", {before:,} of them done before" if before else ""
    rejected = facts["rows_rejected"]
    aside = f"; {rejected:,} rejected, see {output / REJECTED}" if rejected else "; none rejected"
    rows = f"{facts['rows_scored']:,} of {facts['rows']:,} rows scored by {title}"
    return f"{rows} in {facts['files']:,} files{done}{aside}"
