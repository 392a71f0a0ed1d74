"""The run above the runs of several models: their metrics, the comparison and the champion."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.config.layout import ProblemLayout
from lockstep.config.settings import Settings
from lockstep.console import warn
from lockstep.io import read_json, write_text
from lockstep.registry.publishing.outputs import Outputs
from lockstep.registry.publishing.report import report_with_versions
from lockstep.registry.publishing.run_content import data_parts, prefixed_metrics
from lockstep.registry.publishing.runs import Record, log_run
from lockstep.registry.publishing.spans import span_over
from lockstep.registry.store.connection import Client, fluent, retry_conflicts
from lockstep.registry.store.names import PARENT_TAG
from lockstep.registry.store.queries import active_run
from lockstep.reports import plots

REPORT = "report.html"
"""The report's name in the parent run, where MLflow shows it."""


def log_parent(
    client: Client,
    settings: Settings,
    experiment: str,
    outputs: Sequence[Outputs],
    tags: dict[str, str],
    children: Sequence[str],
    metric: str,
) -> None:
    """Log a parent run with the comparison by ``metric`` (empty: without)."""
    layout = outputs[0].layout
    known = metric and layout.champion.is_file()
    champion = str(read_json(layout.champion).get("type") or "") if known else ""
    record = parent_record(f"{layout.problem} {len(outputs)} models", outputs, tags, {}, champion)
    record = replace(record, span=span_over(outputs))
    then = partial(tie, client, children)
    with fluent(client.tracking_uri), tempfile.TemporaryDirectory() as made:
        folder = Path(made) if settings.log_artifacts else None
        if metric and folder:
            write_comparison(layout, folder, metric)
            page = report_with_versions(client, settings, layout.root, layout.problem)
            write_text(folder / REPORT, page)
        log_run(client, experiment, record, folder, None, then=then)


def tie(client: Client, children: Iterable[str], parent_id: str) -> None:
    """Put runs below a parent run; MLflow takes no tag for one that was deleted."""
    for run_id in children:
        if active_run(client, run_id) is None:
            warn(f"WARNING run {run_id} is deleted and gets no parent run")
        else:
            retry_conflicts(partial(client.set_tag, run_id, PARENT_TAG, parent_id))


def parent_record(
    name: str,
    outputs: Sequence[Outputs],
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    champion: str,
) -> Record:
    """Return what a parent run logs: the champion, and each model's metrics and digest."""
    named = {"champion": champion} if champion else {}
    digests = {f"{one.type}.model_digest": one.digest for one in outputs}
    return Record(
        name=name,
        tags={**tags, **{f"lockstep.{key}": value for key, value in named.items()}},
        params={**params, **named, **digests},
        metrics={"": prefixed_metrics(outputs)},
        parts=data_parts(outputs[0]),
    )


def write_comparison(layout: ProblemLayout, folder: Path, metric: str) -> None:
    """Write the comparison, the champion and their picture, if the compare stage made them."""
    for path in (layout.comparison, layout.champion):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    if not layout.comparison.is_file():
        return
    table = pd.read_csv(layout.comparison)
    if {"type", metric} <= set(table.columns):
        plots.save(plots.comparison(table, metric), folder / "model_comparison.png")
