"""Train a version again from its recorded inputs, in a clean copy of its commit, and compare."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.audit import rebuild, score_rows
from lockstep.audit.closures import ENVIRONMENT, OUTPUT, Difference, differences, differing_inputs
from lockstep.audit.provenance import has_commit
from lockstep.audit.rebuild import Tree
from lockstep.config.layout import ProblemLayout
from lockstep.console import aligned, listed
from lockstep.dvc.lineage import input_closure, stage_target
from lockstep.errors import ConfigError, LockstepError, RegistryError
from lockstep.features.matrix_columns import ROW
from lockstep.io import read_json, read_parquet, sha256_json, write_parquet
from lockstep.registry.artifact.loading import golden_of, open_version
from lockstep.registry.artifact.locating import locate
from lockstep.registry.store.artifact_store import fetch_run_folder
from lockstep.registry.store.connection import Client
from lockstep.registry.store.names import CLOSURE, INPUTS, KEPT_INPUTS, LINEAGE
from lockstep.registry.store.queries import kept_run
from lockstep.registry.store.versions import Version

IDENTICAL, EQUAL, DIFFERENT = "bit-identical", "equal predictions", "different"
TOLERANCE = 1e-9
"""The greatest difference of equal predictions; of values above 1, as a share of them."""
_MOST_LINES = 20
_HASH = 12


@dataclass(frozen=True)
class Origin:
    """What a version is rebuilt from: a commit, its uncommitted changes, and its input closure."""

    commit: str
    closure: dict[str, Any] | None
    changed: dict[str, str | None] = field(default_factory=dict)
    patched: bool = False

    @property
    def source(self) -> str:
        """The commit and the number of changed files, in words."""
        changes = f" with {len(self.changed)} changed files" if self.patched else ""
        return f"commit {self.commit[:_HASH]}{changes}"


@dataclass(frozen=True)
class Compared:
    """How far two models' predictions are apart on some rows."""

    rows: int
    largest: float
    equal: bool


@dataclass(frozen=True)
class Rebuilt:
    """A version trained again; ``predictions`` are by compared rows, empty where not compared."""

    version: Version
    origin: Origin
    verdict: str
    digest: str
    data: str
    environment: str
    inputs: list[str]
    differs: list[Difference]
    predictions: dict[str, Compared]
    why_not: str
    seconds: float
    folder: Path | None

    @property
    def where(self) -> str:
        """Where the two differ first, in a sentence."""
        first = next((d for d in self.differs if d.kind != ENVIRONMENT), None)
        if first is not None and first.kind != OUTPUT:
            return f"{first.stage}: its {first.kind} {first.name} is another"
        stage, made = (first.stage, first.name) if first else ("train_multi_model", "model")
        cause = any(difference.kind == ENVIRONMENT for difference in self.differs)
        but = "; the environment does" if cause else ""
        return f"{stage}: it made another {made}, though none of its inputs differs{but}"


def reproduce(client: Client, root: Path, version: Version, keep: bool = False) -> Rebuilt:
    """Run a version's training again in a clean copy of its commit and compare the models.

    It changes nothing here. LockstepError where inputs are missing, or the training itself fails.
    """
    started = time.monotonic()
    problem, kind = _training_of(version)
    commit, patched = start_of(root, version)
    with rebuild.clean_tree(root, commit, keep) as tree:
        origin = restore(client, version, commit, patched, tree)
        tree = rebuild.with_environment(tree, root, kind)
        rebuild.write_code(tree)
        data = rebuild.fetch_data(tree, root, problem, origin.closure)
        inputs = differing_inputs(tree.root, origin.closure) if origin.closure else []
        rebuild.progress(_plan(version, origin, data, inputs))
        rebuild.repro(tree, stage_target(problem, kind))
        digest = str(read_json(ProblemLayout(tree.root, problem).model_card(kind))["model_digest"])
        same = digest == version.tag("model_digest")
        predictions, why_not = ({}, "") if same else compared(client, version, tree)
        differs: list[Difference] = []
        if origin.closure is not None:
            differs = differences(origin.closure, input_closure(tree.root, problem, kind))
        return Rebuilt(
            version,
            origin,
            verdict_of(same, predictions),
            digest,
            data,
            tree.environment,
            inputs,
            differs,
            predictions,
            why_not,
            time.monotonic() - started,
            tree.root if keep else None,
        )


def _training_of(version: Version) -> tuple[str, str]:
    problem, kind = version.tag("problem"), version.tag("type")
    if not problem or not kind or not version.tag("model_digest"):
        unknown = "was not registered by this project, so how it was made is unknown"
        raise RegistryError(f"{version.title} {unknown}")
    return problem, kind


# ---------------------------------------------------------------- what it was made from


def start_of(root: Path, version: Version) -> tuple[str, bool]:
    """Return the commit to start from, and whether the run's changed inputs go over it."""
    later = version.tag("committed_as")
    if later and has_commit(root, later):
        return later, False
    commit = rebuild.check_commit(root, version.tag("git_commit"), version.title)
    return commit, bool(version.dirty)


def restore(client: Client, version: Version, commit: str, patched: bool, tree: Tree) -> Origin:
    """Put a version's inputs into the copy of its commit, with its uncommitted changes."""
    kept = tree.top / "run"
    if version.run_id is not None and kept_run(client, version.run_id):
        fetch_run_folder(client, version.run_id, LINEAGE, kept)
    closure = _checked(kept / CLOSURE, version.tag("closure_digest"))
    if not patched:
        return Origin(commit, closure)
    changed = _checked(kept / INPUTS, version.tag("inputs_digest"))
    if closure is None or changed is None:
        made = f"{version.title} was made with uncommitted changes"
        raise RegistryError(f"{made}, and its run's copy of them {rebuild.LOST}")
    rebuild.put_inputs(tree, changed, kept / KEPT_INPUTS, version.title)
    rebuild.put_params(tree, closure)
    return Origin(commit, closure, changed, patched=True)


def _checked(path: Path, digest: str | None) -> dict[str, Any] | None:
    """Return a JSON file's content if it has the digest that a tag gives."""
    if digest is None or not path.is_file():
        return None
    content: dict[str, Any] = read_json(path)
    return content if sha256_json(content) == digest else None


def _plan(version: Version, origin: Origin, data: str, inputs: Sequence[str]) -> str:
    lines = [f"{version.title} is trained again from {origin.source}; data: {data}"]
    if origin.closure is None:
        lines.append("⚠ its input closure is missing or altered: only the commit tells its inputs")
    if inputs:
        lines.append(f"⚠ inputs that are not what it was made from: {', '.join(inputs)}")
    return "\n".join(lines)


# ---------------------------------------------------------------- the two models


def compared(client: Client, version: Version, tree: Tree) -> tuple[dict[str, Compared], str]:
    """Return how far both models' predictions are apart, by rows, or why that is unknown."""
    try:
        located = locate(client, version, tree.top)
        pipeline = open_version(located).pipeline
        tables = _tables(located, tree, version)
        return {name: _apart(tables[name], pipeline, tree, version) for name in tables}, ""
    except LockstepError as error:
        return {}, str(error)


def _tables(located: Any, tree: Tree, version: Version) -> dict[str, Any]:
    schema, golden, _ = golden_of(located)
    names = (str(version.tag(key)) for key in ("problem", "type"))
    layout = ProblemLayout.of(tree.root, *names)
    rows = read_parquet(layout.matrix("test"), [ROW])[ROW].to_numpy()
    test = read_parquet(layout.tidy).iloc[rows]
    if missing := ", ".join(name for name in schema.feature_names if name not in test):
        raise ConfigError(f"the rebuilt table lacks columns that the version reads: {missing}")
    return {"golden rows": golden, "test rows": test[schema.feature_names]}


def _apart(table: Any, pipeline: Any, tree: Tree, version: Version) -> Compared:
    """Score rows with the registered model here and with the rebuilt one in its own environment."""
    path = tree.top / "rows.parquet"
    write_parquet(path, table.reset_index(drop=True))
    table = read_parquet(path)
    predict = getattr(pipeline, "predict_proba", pipeline.predict)
    model = ProblemLayout(tree.root, str(version.tag("problem"))).model(str(version.tag("type")))
    scores, script = tree.top / "scores.npy", str(score_rows.__file__)
    if code := tree.run(str(tree.python), "-P", script, str(model), str(path), str(scores)):
        why = f"exit code {code}; the message is above"
        raise ConfigError(f"the rebuilt model can't predict ({why})")
    return apart(predict(table), np.load(scores, allow_pickle=False))


def apart(one: Any, other: Any) -> Compared:
    """Return how far two tables of predictions are apart: infinitely for other shapes or a NaN."""
    one, other = np.asarray(one, dtype="float64"), np.asarray(other, dtype="float64")
    if one.shape != other.shape:
        return Compared(len(one), float("inf"), equal=False)
    gap = np.where(np.isnan(one) & np.isnan(other), 0.0, np.abs(one - other))
    gap = np.where(np.isnan(gap), np.inf, gap)
    near = gap <= TOLERANCE * np.maximum(1.0, np.abs(np.nan_to_num(one)))
    return Compared(len(one), float(gap.max(initial=0.0)), equal=bool(near.all()))


def verdict_of(same_digest: bool, predictions: dict[str, Compared]) -> str:
    """Return the verdict on two models."""
    if same_digest:
        return IDENTICAL
    equal = predictions and all(found.equal for found in predictions.values())
    return EQUAL if equal else DIFFERENT


# ---------------------------------------------------------------- report


def facts(done: Rebuilt) -> dict[str, Any]:
    """Return the result as plain JSON values."""
    return {
        "name": done.version.name,
        "version": done.version.version,
        "verdict": done.verdict,
        "model_digest": {"recorded": done.version.tag("model_digest"), "rebuilt": done.digest},
        "commit": done.origin.commit,
        "changed_files": sorted(done.origin.changed),
        "environment": done.environment,
        "data": done.data,
        "inputs_that_differ": done.inputs,
        "first_difference": None if done.verdict == IDENTICAL else done.where,
        "differences": [asdict(one) for one in done.differs],
        "predictions": {
            name: asdict(found) | ({} if math.isfinite(found.largest) else {"largest": None})
            for name, found in done.predictions.items()
        },
        "seconds": round(done.seconds, 1),
        "folder": str(done.folder) if done.folder else None,
    }


def readable(done: Rebuilt) -> str:
    """Return the result for people: the verdict, its reasons, and where the two differ first."""
    head = f"✓ {done.version.title} is reproduced: {done.verdict}"
    if done.verdict == DIFFERENT:
        head = f"✗ {done.version.title} is not reproduced: another model came of it"
    same, recorded = done.verdict == IDENTICAL, str(done.version.tag("model_digest"))[:_HASH]
    compared_to = "as recorded" if same else f"recorded {recorded}…"
    shown = {
        "model digest": f"{done.digest[:_HASH]}…, {compared_to}",
        "predictions": _predictions(done),
        "made from": f"{done.origin.source}{' kept by its run' * done.origin.patched}",
        "data": done.data,
        "environment": done.environment,
        "parted at": "" if same else done.where,
        "copy kept in": str(done.folder or ""),
        "took": f"{done.seconds:.0f} s",
    }
    text = listed({f"  {name}": value for name, value in shown.items() if value})
    return "\n".join([head, text, *_table(done.differs)])


def _predictions(done: Rebuilt) -> str:
    if done.why_not:
        return f"not compared: {done.why_not}"
    found = done.predictions.items()
    return ", ".join(f"{f.rows:,} {name} apart by up to {f.largest:.3g}" for name, f in found)


def _table(differs: Sequence[Difference]) -> list[str]:
    if not differs:
        return []
    rows = [
        {"stage": one.stage, "differs": one.kind, "what": one.name}
        | {"recorded": _cell(one.recorded), "rebuilt": _cell(one.rebuilt)}
        for one in differs[:_MOST_LINES]
    ]
    more = len(differs) - _MOST_LINES
    return ["", aligned(rows), *([f"… and {more} more; --json shows all"] if more > 0 else [])]


def _cell(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text[:_HASH] if len(text) in (32, 36, 64) and " " not in text else text
