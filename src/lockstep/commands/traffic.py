"""Two versions on live traffic: what the challenger in the shadow would have answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.commands.monitor_report import classes_in, decision_words
from lockstep.config.params import load_params
from lockstep.config.serving import load_serving
from lockstep.console import aligned
from lockstep.errors import DataError
from lockstep.monitoring.log_files import Key
from lockstep.monitoring.traffic import Traffic, compare_traffic
from lockstep.problems.schema import Schema
from lockstep.promotion.slices import levels
from lockstep.registry.artifact.loading import schema_of
from lockstep.registry.artifact.locating import locate
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version
from lockstep.serving.logged_rows import LogReader, Notes, read_labels, read_pairs


def compare_on_traffic(
    client: Client, root: Path, challenger: Version, champion: Version
) -> tuple[Any, str, int]:
    """Return the comparison as JSON, as text, and exit code 0."""
    folder = load_serving(root).prediction_folder
    if folder is None or not folder.is_dir():
        raise DataError(
            "there is no prediction log; serve with SHADOW=Staging (docs/monitoring.md)"
        )
    located, notes = locate(client, champion, root), Notes()
    schema = schema_of(located)
    classes = classes_in(located, schema)
    if schema.task == "multiclass":
        check_classes(classes, locate(client, challenger, root))
    reader = LogReader(schema, classes, read_labels(folder, notes), notes)
    pairs = read_pairs(folder, reader, key_of(champion), key_of(challenger), notes)
    metric = load_params(root).problem(schema.name).compare.metric

    def cut(name: str, values: pd.Series) -> Iterator[tuple[str, Any]]:
        found = levels(values, schema.columns[name])
        return ((f"{name} {label}", mask) for label, mask in found)

    found = compare_traffic(pairs, metric, class_words(schema, classes), cut)
    return facts(found, challenger, champion), readable(found, challenger, champion), 0


def check_classes(classes: list[Any], challenger: Located) -> None:
    """Raise DataError unless a challenger has these classes: scores are in their order."""
    own = classes_in(challenger, schema_of(challenger))
    if own != classes:
        raise DataError(
            f"the classes of {challenger.version.title} are {own}, the champion's {classes}; "
            "only versions with the same classes can be compared on traffic"
        )


def class_words(schema: Schema, classes: list[Any]) -> list[str]:
    """Return what each decision is called, in the order of its place."""
    if schema.task != "multiclass":
        return decision_words(schema)
    codes = schema.columns[schema.target].codes
    return [schema.decisions.get(one) or codes.get(one) or str(one) for one in classes]


def key_of(version: Version) -> Key:
    """Return what the log knows a version by."""
    return version.name, version.version, version.tag("model_digest")


def facts(found: Traffic, challenger: Version, champion: Version) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""
    gap = found.difference
    return {
        "version": challenger.version,
        "against": champion.version,
        "rows": found.rows,
        "requests": found.requests,
        "agreement": found.agreement,
        "changes": found.changes,
        "slices": found.slices.to_dict("records"),
        "milliseconds_a_row": found.milliseconds,
        "labelled": found.labelled,
        "difference": gap
        and {"metric": gap.metric, "estimate": gap.estimate, "low": gap.low, "high": gap.high},
        "verdict": gap.verdict if gap else found.why,
    }


def readable(found: Traffic, challenger: Version, champion: Version) -> str:
    """Return a comparison for people."""
    lines = [
        f"{challenger.title} in the shadow of version {champion.version}: {found.rows:,} rows of "
        f"{found.requests:,} requests",
        f"agreement {found.agreement:.2%}, {found.milliseconds:.2f} ms a row (median)",
    ]
    lines += [f"  {change}: {many:,} rows" for change, many in found.changes.items()]
    gap = found.difference
    if gap is None:
        lines.append(f"no comparison with labels: {found.why}")
    else:
        interval = f"{gap.low:+.4f} … {gap.high:+.4f}"
        lines.append(
            f"{found.labelled:,} labels: {gap.metric} {gap.estimate:+.4f} (95 % {interval}): "
            f"{gap.verdict}"
        )
    rows = [
        {"slice": row["slice"], "rows": f"{row['rows']:,}", "changed": f"{row['changed']:.1%}"}
        for row in found.slices.to_dict("records")
    ]
    return "\n".join([*lines, *(["", aligned(rows)] if rows else [])])
