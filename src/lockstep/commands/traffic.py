"""Two versions on live traffic: what the challenger in the shadow would have answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lockstep.commands.monitor import MonitorOptions
from lockstep.commands.watched_version import (
    Watched,
    classes_in,
    decision_words,
    same_version,
)
from lockstep.config.params import load_params
from lockstep.config.serving import load_serving
from lockstep.console import aligned
from lockstep.errors import DataError
from lockstep.evaluation.slices import levels
from lockstep.monitoring.log_files import newest_challenger
from lockstep.monitoring.traffic import Pairs, Traffic, compare_traffic
from lockstep.problems.schema import Schema
from lockstep.registry.artifact.loading import schema_of
from lockstep.registry.artifact.locating import locate
from lockstep.registry.artifact.model_cache import Located
from lockstep.registry.store.connection import Client
from lockstep.registry.store.versions import Version
from lockstep.serving.logged_rows import Labels, LogReader, Notes, read_labels, read_pairs


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
    pairs = read_pairs(folder, reader, champion.key, challenger.key)
    found = compared(root, schema, classes, pairs)
    return facts(found, challenger, champion), readable(found, challenger, champion), 0


def compared(root: Path, schema: Schema, classes: list[Any], pairs: Pairs) -> Traffic:
    """Return what pairs of answers say, by the metric that the problem's models are compared by."""
    metric = load_params(root).problem(schema.name).compare.metric

    def cut(name: str, values: pd.Series) -> Iterator[tuple[str, Any]]:
        found = levels(values, schema.columns[name])
        return ((f"{name} {label}", mask) for label, mask in found)

    return compare_traffic(pairs, metric, class_words(schema, classes), cut)


@dataclass(frozen=True)
class Shadowed:
    """The challenger that scored a watched version's requests last, and what that says."""

    challenger: Version
    champion: Version
    traffic: Traffic

    @property
    def facts(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return facts(self.traffic, self.challenger, self.champion)

    @property
    def lines(self) -> list[str]:
        """The comparison for people, without its slices."""
        return lines_of(self.traffic, self.challenger, self.champion)


def shadowed(
    client: Client,
    root: Path,
    folder: Path,
    watched: Watched,
    labels: Labels,
    options: MonitorOptions,
) -> Shadowed | None:
    """Return what the shadow says of a watched version in a span; None if nothing scored."""
    span, notes = (options.since, options.until), Notes()
    key = newest_challenger(folder, watched.key, *span, notes.damaged)
    if key is None:
        return None
    challenger = same_version(client, key)
    if challenger is None:
        return None
    if watched.schema.task == "multiclass":
        check_classes(watched.classes, locate(client, challenger, root))
    reader = LogReader(watched.schema, watched.classes, labels, notes)
    pairs = read_pairs(folder, reader, watched.key, key, *span)
    if not len(pairs.champion):  # the log has deleted the requests
        return None
    found = compared(root, watched.schema, watched.classes, pairs)
    return Shadowed(challenger, watched.located.version, found)


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
    rows = [
        {"slice": row["slice"], "rows": f"{row['rows']:,}", "changed": f"{row['changed']:.1%}"}
        for row in found.slices.to_dict("records")
    ]
    lines = lines_of(found, challenger, champion)
    return "\n".join([*lines, *(["", aligned(rows)] if rows else [])])


def lines_of(found: Traffic, challenger: Version, champion: Version) -> list[str]:
    """Return a comparison for people, without its slices."""
    agreement = "unknown" if found.agreement is None else f"{found.agreement:.2%}"
    lines = [
        f"{challenger.title} in the shadow of version {champion.version}: {found.rows:,} rows of "
        f"{found.requests:,} requests",
        f"agreement {agreement}, {found.milliseconds:.2f} ms a row (median)",
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
    return lines
