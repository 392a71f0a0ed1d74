"""Two versions side by side: their scores on rows new to both, and which of their inputs differ."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.code.pins import distribution
from lockstep.config.params import load_params
from lockstep.console import aligned
from lockstep.errors import DataError, RegistryError
from lockstep.evaluation.paired_comparison import Difference, Figure, measured
from lockstep.io import read_json, sha256_json
from lockstep.promotion.holdout import holdout, scored
from lockstep.registry.artifact.loading import Located, open_version
from lockstep.registry.artifact.locating import locate
from lockstep.registry.publishing.runs import flattened
from lockstep.registry.store.artifact_store import fetch_run_folder
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import CLOSURE, LINEAGE
from lockstep.registry.store.queries import kept_run
from lockstep.registry.store.versions import Version

Pair = tuple[Any, Any]
"""A version's value and the other's; None where it has none, or where it was not recorded."""
REQUIREMENTS = "requirements.txt"
_HASH, _HEX = 12, frozenset("0123456789abcdef")
_MOST_LINES, _WIDEST = 40, 40


@dataclass(frozen=True)
class Comparison:
    """Two versions on the same rows, by metric; ``differs`` holds the inputs that differ."""

    version: Version
    against: Version
    metric: str
    figures: dict[str, tuple[Figure, Figure]]
    differences: dict[str, Difference]
    differs: dict[str, dict[str, Pair]]

    @property
    def difference(self) -> Difference:
        """The difference in the metric that the problem compares models by."""
        return self.differences[self.metric]


def compare_versions(client: Client, root: Path, version: Version, against: Version) -> Comparison:
    """Score two versions on the rows new to both, and find which of their inputs differ.

    RegistryError for versions of different problems, and where such rows are unknown or none.
    """
    problem = version.tag("problem")
    if problem is None or problem != against.tag("problem"):
        its = f"{against.name} of {against.tag('problem')}"
        differ = f"{version.name} is a model of {problem}, {its}"
        raise RegistryError(f"{differ}; compare versions of one problem")
    settings = load_params(root).problem(problem).compare
    rows = holdout(client, root, problem, [version, against])
    located = locate(client, version, root), locate(client, against, root)
    models = open_version(located[0]), open_version(located[1])
    one, other = (scored(model, str(model.digest), rows, root) for model in models)
    figures, differences = measured(one, other, rows.groups, settings.resamples, settings.seed)
    if settings.metric not in figures:
        lacking = f"{settings.metric}, which these models don't have"
        raise RegistryError(f"compare.metric of {problem} is {lacking}: {', '.join(figures)}")
    differs = what_differs(client, located)
    return Comparison(version, against, settings.metric, figures, differences, differs)


# ---------------------------------------------------------------- what went into them


def what_differs(client: Client, located: tuple[Located, Located]) -> dict[str, dict[str, Pair]]:
    """Return which parameters, data, code and environment differ between two versions, by name."""
    versions = [one.version for one in located]
    found = [closure_of(client, version) for version in versions]
    # Without one of them, everything in the other would seem to differ.
    closures = found if all(found) else [{}, {}]
    one, other = ("recorded" if closure else None for closure in found)
    missing = {} if all(found) else {"input closure": (one, other)}
    return {
        "parameters": _differing(*(_params_of(client, version) for version in versions)),
        "data": _differing(*map(_data_of, versions, closures)) | missing,
        "code": _differing(*map(_code_of, versions, closures)) | missing,
        "environment": _differing(*map(_environment_of, located, closures)) | missing,
    }


def closure_of(client: Client, version: Version) -> dict[str, Any]:
    """Return the input closure that a version's run logged; empty if it is missing or altered."""
    closure: dict[str, Any] = {}
    if version.run_id is None or version.tag("closure_digest") is None:
        return closure
    if kept_run(client, version.run_id) is None:
        return closure
    with tempfile.TemporaryDirectory() as made, suppress(DataError):
        if fetch_run_folder(client, version.run_id, LINEAGE, Path(made)):
            closure = read_json(Path(made) / CLOSURE)
    return closure if sha256_json(closure) == version.tag("closure_digest") else {}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Pair]:
    names = [*one, *(name for name in other if name not in one)]
    pairs = {name: (one.get(name), other.get(name)) for name in names}
    return {name: (own, its) for name, (own, its) in pairs.items() if own != its}


def _params_of(client: Client, version: Version) -> dict[str, Any]:
    """Return type, scale and everything the run logged as a parameter."""
    own = {"type": version.tag("type"), "score_scale": version.tag("score_scale")}
    run = kept_run(client, version.run_id) if version.run_id else None
    return own | dict(sorted(run.data.params.items())) if run else own


def _data_of(version: Version, closure: dict[str, Any]) -> dict[str, Any]:
    """Return where the data came from, and the parameters and outputs of the stages before."""
    tags = {"source": "data_source", "raw files": "data_dvc_hash", "schema": "schema_digest"}
    found: dict[str, Any] = {what: _short(version.tag(tag)) for what, tag in tags.items()}
    found["split, encoder and matrices"] = _short(version.tag("data_digest"))
    for entry in closure.get("stages", {}).values():
        outs = entry["outs"].items()
        found |= {path: _short(digest) for path, digest in outs if path.startswith("data/")}
        found |= dict(flattened(entry["params"]))
    return found


def _code_of(version: Version, closure: dict[str, Any]) -> dict[str, Any]:
    """Return the commit, whether inputs differed from it, and each code file's sum."""
    commit = {"commit": _short(version.tag("git_commit")), "uncommitted inputs": version.dirty}
    made = ("data/", "models/", "metrics/", "requirements.lock")
    files: set[tuple[str, str]] = set()
    for entry in (*closure.get("stages", {}).values(), closure.get("training", {})):
        files.update((entry.get("deps", {}) | entry.get("code", {})).items())
    return commit | {path: _short(sum) for path, sum in sorted(files) if not path.startswith(made)}


def _environment_of(located: Located, closure: dict[str, Any]) -> dict[str, Any]:
    """Return Python, platform, the lock's sum, and the packages that the artifact needs."""
    found = {name: _short(value) for name, value in closure.get("environment", {}).items()}
    path = located.folder / REQUIREMENTS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return found | dict(_pin(line) for line in sorted(lines) if line)


def _pin(line: str) -> tuple[str, str]:
    """Return the package and version of a pin; the builds of one package for systems are one."""
    name, _, pinned = line.partition(";")[0].partition("==")
    return distribution(name), pinned.strip()


def _short(value: Any) -> Any:
    """Return a sum by its first digits, anything else as it is."""
    is_sum = len(str(value)) >= 32 and set(str(value).removesuffix(".dir")) <= _HEX
    return str(value)[:_HASH] if is_sum else value


# ---------------------------------------------------------------- report


def facts(found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""
    difference = found.difference
    return {
        "version": _named(found.version),
        "against": _named(found.against),
        "rows": difference.rows,
        "groups": difference.groups,
        "metric": found.metric,
        "verdict": difference.verdict,
        "difference": _difference_facts(difference),
        "metrics": {metric: _metric_facts(found, metric) for metric in found.figures},
        "differs": {
            what: {name: {"version": one, "against": other} for name, (one, other) in pairs.items()}
            for what, pairs in found.differs.items()
        },
    }


def _named(version: Version) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "stage": version.stage,
        "model_digest": version.tag("model_digest"),
    }


def _difference_facts(found: Difference) -> dict[str, float]:
    return {"estimate": found.estimate, "low": found.low, "high": found.high}


def _metric_facts(found: Comparison, metric: str) -> dict[str, Any]:
    one, other = found.figures[metric]
    difference = _difference_facts(found.differences[metric])
    return {"version": vars(one), "against": vars(other), "difference": difference}


def readable(found: Comparison) -> str:
    """Return a comparison for people: the verdict, the metrics, and what differs, a line each."""
    difference, (one, other) = found.difference, _titles(found)
    head = (
        f"{found.version.title} against {found.against.title}, on {difference.rows:,} rows "
        f"({difference.groups:,} groups) that neither was fitted or tuned on"
    )
    verdict = f"{one} is {difference.verdict}"
    if not (difference.wins or difference.loses):
        verdict = f"{difference.verdict} between {one} and {other}"
    interval = f"{difference.low:+.4f} … {difference.high:+.4f}"
    gap = f"{found.metric} {difference.estimate:+.4f}, 95 % interval {interval}"
    metrics = aligned([_metric_row(found, metric, one, other) for metric in found.figures])
    sections = [_section(what, pairs, one, other) for what, pairs in found.differs.items()]
    return "\n\n".join([f"{head}\n{verdict}: {gap}", metrics, *sections])


def _titles(found: Comparison) -> tuple[str, str]:
    """Return the two columns' titles: of two names the part that they don't have in common."""
    one, other = found.version, found.against
    if one.name == other.name:
        return f"version {one.version}", f"version {other.version}"
    here, there = one.name.split("_"), other.name.split("_")
    while len(here) > 1 and len(there) > 1 and here[0] == there[0]:
        del here[0], there[0]
    return f"{'_'.join(here)} {one.version}", f"{'_'.join(there)} {other.version}"


def _metric_row(found: Comparison, metric: str, one: str, other: str) -> dict[str, str]:
    first, second = (f"{f.value:.4f} ({f.low:.4f} … {f.high:.4f})" for f in found.figures[metric])
    gap = found.differences[metric]
    return {
        "metric": f"{metric} *" if metric == found.metric else metric,
        one: first,
        other: second,
        "difference (95 %)": f"{gap.estimate:+.4f} ({gap.low:+.4f} … {gap.high:+.4f})",
    }


def _section(what: str, pairs: dict[str, Pair], one: str, other: str) -> str:
    if not pairs:
        return f"{what}: the same"
    rows = [{what: name, one: _cell(a), other: _cell(b)} for name, (a, b) in pairs.items()]
    more = len(rows) - _MOST_LINES
    table = aligned(rows[:_MOST_LINES])
    return f"{table}\n… and {more} more; --json shows all" if more > 0 else table


def _cell(value: Any) -> Any:
    text = "-" if value is None else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"
