"""One idempotent way from a training's outputs to its version in the registry, for the train stage and for register.

Everything is read from the outputs on disk, so what `register` rebuilds is what the train stage logs (timings
excepted). A model is known by its digest: what the registry has is not made again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import ProblemLayout
from lockstep.config.params import training_key
from lockstep.config.settings import Settings, load_settings
from lockstep.errors import ArtifactError, DataError, RegistryError
from lockstep.io import read_json, sha256_file, sha256_json, write_json
from lockstep.models.decisions import costs_in
from lockstep.models.naming import TYPE_NAMES, registered_name
from lockstep.problems.schema import PROBLEMS, Schema, load_schema
from lockstep.registry import store
from lockstep.registry.artifact.seen import SEEN, SEEN_DIGEST, Seen, read_seen, seen_by_training, to_bytes
from lockstep.registry.publishing.lineage import TRAIN_STAGE, Lineage, kept_inputs, lineage
from lockstep.registry.publishing.runs import (
    ARTIFACT_BYTES,
    SUMS_DIGEST,
    DataPart,
    Logged,
    Record,
    asked,
    find_run,
    flattened,
    log_run,
    part_digest,
)

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

    from lockstep.registry.artifact.packaging import Package

DIGEST, STAGE, PROBLEM, TYPE = (
    "lockstep.model_digest",
    "lockstep.stage",
    "lockstep.problem",
    "lockstep.type",
)
EXPERIMENT = "lockstep.experiment"
COMMITTED_AS = "lockstep.committed_as"
"""A dirty version's tag with the commit in which its inputs were found later."""
INPUTS = "changed.json"
"""The file with the sums of a dirty version's changed inputs; the tag ``lockstep.inputs_digest`` is its digest."""
PARTS = {"train": "training", "validation": "validation", "test": "test"}
_EXPERIMENT_VARIABLES = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
_OF_CLASS = ("precision", "recall", "f1", "roc_auc")
_UNNAMEABLE = re.compile(r"[^\w .\-]|^[. ]+|[. ]+$")
"""What a label holds that MLflow takes in no metric's name."""
_CARD_PARAMS = ("seed", "score_scale", "best_iteration", "threshold", "decision")


@dataclass(frozen=True)
class Published:
    """A model's place in the registry; ``version`` is None for a run that registers nothing, or why it is refused."""

    name: str
    version: int | None
    stage: str
    run_id: str
    digest: str
    new: bool
    refused: str = ""


@dataclass(frozen=True)
class Outputs:
    """What one training left in the workspace."""

    root: Path
    problem: str
    type: str
    card: dict[str, Any]

    @property
    def layout(self) -> ProblemLayout:
        """Where its files lie."""
        return ProblemLayout(self.root, self.problem)

    @property
    def digest(self) -> str:
        """The model's digest, as its card says."""
        return str(self.card["model_digest"])

    @property
    def schema(self) -> Schema:
        """The problem's declaration."""
        return load_schema(self.problem)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """The content of metrics.json."""
        return dict(read_json(self.layout.type_metrics(self.type)))

    @cached_property
    def lineage(self) -> Lineage:
        """Where the model comes from."""
        return lineage(self.root, self.problem, self.type)

    @cached_property
    def kept_inputs(self) -> dict[str, str | None]:
        """The files by which the workspace differs from its commit, with their sums; none of a clean one."""
        return kept_inputs(self.root, self.lineage)

    @cached_property
    def seen(self) -> Seen | None:
        """The groups it was fitted or tuned on; None where its data are not in this workspace."""
        return seen_by_training(self.root, self.problem, self.lineage)

    @property
    def plots(self) -> list[Path]:
        """The tables behind its plots."""
        return sorted((self.layout.type_folder(self.type) / "plots").glob("*.csv"))

    def load_pipeline(self) -> Any:
        """Load the pipeline from joblib, only if the file is the one its card describes."""
        import joblib

        path = self.layout.model(self.type)
        if sha256_file(path) != self.card["file_sha256"]:
            raise ArtifactError(
                f"{path} is not the file its card {self.layout.model_card(self.type).name} describes; "
                "run `dvc checkout` or `dvc repro` to have both again"
            )
        return joblib.load(path)


def import_ahead(root: Path) -> None:
    """Begin to import what logging needs, beside the training: it takes as long as a small model's fit."""
    if load_settings(root).publish:
        _AHEAD.append(Thread(target=_import_slow, daemon=True))
        _AHEAD[-1].start()


_AHEAD: list[Thread] = []
"""Imports that were begun: two threads amid MLflow's circular imports would see half of its modules."""


def _import_slow() -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure  # noqa: F401
    import mlflow.sklearn
    import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def publish_training(
    root: Path, problem: str, model_type: str, timings: dict[str, float] | None = None
) -> Published | None:
    """Log one training's run and register its model, unless the registry has it; None where nothing was done.

    A server that is down, or a store's full disk, costs a loud warning and no more; `dvc repro` registers it the
    next time.
    Raises ArtifactError or DataError for outputs that are damaged or missing.
    """
    settings = load_settings(root)
    outputs = read_outputs(root, problem, model_type)
    if not settings.publish:
        _say(f"publishing is off ({settings.source_of('publish')}): {problem} {model_type} is not logged")
        return None
    for begun in _AHEAD:
        begun.join()
    from mlflow.exceptions import MlflowException

    try:
        client = store.connect(settings, root)
        known = versions_by_digest(client, problem)
        published = publish(client, settings, outputs, known, timings)
    except (RegistryError, MlflowException, OSError) as error:  # requests' errors are OSErrors
        store.raise_interrupt(error)
        _say(
            f"WARNING {problem} {model_type} is trained and kept, but not in the registry: "
            f"{store.one_line(error)}; the next `dvc repro` registers it"
        )
        return None
    print(line(published), file=sys.stderr)
    return published


def publish(
    client: MlflowClient,
    settings: Settings,
    outputs: Outputs,
    known: dict[tuple[str, str], Any],
    timings: dict[str, float] | None = None,
) -> Published:
    """Return a model's version, made where ``known`` (of ``versions_by_digest``) lacks it or lost its artifact."""
    name = model_name(settings, outputs.problem, outputs.type)
    found = known.get((name, outputs.digest))
    lost = lost_artifact(client, found, outputs.root) if found is not None and settings.log_model else ""
    if found is not None:
        if not lost:
            note_commit(client, found, outputs)
            return _published(found, new=False)
        _say(f"WARNING {name} version {found.version}: {lost}; it is registered anew")
    from lockstep.registry.judging.policy import IF_BETTER, refusal

    with store.fluent(store.resolve_uri(settings, outputs.root)):
        logged = _run_of(client, settings, outputs, timings, again=bool(lost))
        if logged.model_id is None or not registers(settings):
            return Published(name, None, "None", logged.run_id, outputs.digest, new=True)
        if settings.registration_policy == IF_BETTER and not lost:
            refused = refusal(client, name, outputs, logged.run_id, settings.gates)
            if refused:
                return Published(
                    name, None, "None", logged.run_id, outputs.digest, new=False, refused=refused
                )
        return register(client, settings, name, outputs, logged, again=bool(lost))


def note_commit(client: MlflowClient, version: Any, outputs: Outputs) -> None:
    """Tag a version that was made with uncommitted inputs with the commit that has them now, if this one has."""
    tags = version.tags
    if tags.get("lockstep.dirty") != "true" or COMMITTED_AS in tags:
        return
    here = outputs.lineage
    if here.dirty == "false" and here.closure_digest == tags.get("lockstep.closure_digest"):
        client.set_model_version_tag(version.name, str(version.version), COMMITTED_AS, here.commit)
        print(f"{version.name} version {version.version} is committed as {here.commit}", file=sys.stderr)


def lost_artifact(client: MlflowClient, version: Any, root: Path) -> str:
    """Return what is wrong with a version's artifact; empty where nothing is, as far as can be seen.

    A file on this machine is read. In a server's store files and sizes are listed; whole ones are downloaded only
    after this workspace refused to load them, since all of them at every repro would be too much.
    """
    from lockstep.registry.artifact.loading import doubted_fault
    from lockstep.registry.catalog import PRUNED_TAG, version_from

    if PRUNED_TAG in version.tags:  # deleted on purpose
        return ""
    if fault := doubted_fault(client, version_from(version), root):
        return fault
    model_id = str(version.source or "").removeprefix("models:/")
    if not model_id.startswith("m-"):
        return ""
    model = client.get_logged_model(model_id)
    folder = Path(model.artifact_location.removeprefix("file://"))
    if not folder.is_absolute():
        return _lost_in_store(client, model)
    # A server may name a folder of another machine: it says nothing that this one has none such.
    return "" if store.is_http(client.tracking_uri) else _lost_here(folder, version)


def _lost_in_store(client: MlflowClient, model: Any) -> str:
    """Return what a listing of a logged model's files shows to be wrong: one that is gone, or the model cut off."""
    from lockstep.registry.artifact.packaging import GOLDEN, SCHEMA, SKOPS

    listed = {item.path: item.file_size for item in client.list_logged_model_artifacts(model.model_id)}
    needed = (SKOPS, GOLDEN, SCHEMA, *([SEEN] if SEEN_DIGEST in model.tags else []))
    if gone := next((name for name in needed if name not in listed), None):
        return f"its file {gone} is gone from {model.artifact_location}"
    told = model.tags.get(ARTIFACT_BYTES, str(listed[SKOPS]))
    if listed[SKOPS] is not None and str(listed[SKOPS]) != told:
        return f"its {SKOPS} in {model.artifact_location} has {listed[SKOPS]} bytes in place of {told}"
    return ""


def _lost_here(folder: Path, version: Any) -> str:
    """Return what is wrong with an artifact in a folder of this machine."""
    from lockstep.models.artifact import digest_of
    from lockstep.registry.artifact.packaging import SHIPPED_CODE, SKOPS

    if not (folder / SKOPS).is_file():
        return f"its artifact {folder / SKOPS} is gone"
    if digest_of((folder / SKOPS).read_bytes(), folder / SHIPPED_CODE) != version.tags.get(DIGEST):
        return f"its artifact {folder / SKOPS} was changed or damaged"
    try:
        if SEEN_DIGEST in version.tags:
            read_seen(folder, version.tags[SEEN_DIGEST])
    except DataError as error:
        return str(error)
    return ""


def _run_of(
    client: MlflowClient,
    settings: Settings,
    outputs: Outputs,
    timings: dict[str, float] | None,
    again: bool = False,
) -> Logged:
    """Return the run of these outputs: the one a crash left without a version, else (or ``again``) a new one."""
    experiment = experiment_of(client, settings, outputs.root, outputs.problem)
    if again:
        return _log(client, experiment, settings, outputs, timings)
    tags = run_tags(outputs)
    found = find_run(client, experiment, {key: tags.get(key) for key in (DIGEST, TYPE, EXPERIMENT)})
    if found is None or (settings.log_model and found.model_id is None):
        return _log(client, experiment, settings, outputs, timings)
    return found


def register(
    client: MlflowClient,
    settings: Settings,
    name: str,
    outputs: Outputs,
    logged: Logged,
    again: bool = False,
) -> Published:
    """Make the version of a logged model, in its initial stage and on record; its tags come with it in one write.

    What another process registered meanwhile is returned, unless it is to be made ``again``. Needs MLflow's global
    functions pointed at the client's store: they resolve the model's address.
    """
    from lockstep.registry.record.lifecycle import register_version

    with asked(retries=0):  # asked again, a server that was only slow would make two
        version, new = register_version(
            client,
            name,
            model_id=str(logged.model_id),
            run_id=logged.run_id,
            tags=version_tags(outputs) | noted_tags(client, str(logged.model_id)),
            stage=settings.initial_stage,
            again=again,
        )
    return Published(name, version.version, version.stage, version.run_id or "", outputs.digest, new)


def read_outputs(root: Path, problem: str, model_type: str) -> Outputs:
    """Read the card of a training; a missing output is a DataError that says how to make it."""
    layout = ProblemLayout(root, problem)
    stage = f"{TRAIN_STAGE}@{training_key(problem, model_type)}"
    needed = (layout.model_card(model_type), layout.model(model_type), layout.type_metrics(model_type))
    for path in needed:
        if not path.is_file():
            raise DataError(f"{path.relative_to(root)} is missing; run `dvc repro {stage}`")
    outputs = Outputs(root, problem, model_type, read_json(needed[0]))
    if outputs.card["schema_digest"] != outputs.schema.digest:
        raise DataError(
            f"the schema of {problem} was changed after {model_type} was trained; run `dvc repro {stage}`"
        )
    return outputs


def versions_by_digest(client: MlflowClient, problem: str) -> dict[tuple[str, str], Any]:
    """Return a problem's versions by model name and digest, the newest where several have one."""
    found: dict[tuple[str, str], Any] = {}
    token = None
    while True:
        page = client.search_model_versions(
            f"tags.`{PROBLEM}` = '{problem}'", max_results=1000, page_token=token
        )
        for version in sorted(page, key=lambda v: int(v.version)):
            key = (version.name, version.tags.get(DIGEST, ""))
            before = found.get(key)
            if before is None or int(version.version) > int(before.version):
                found[key] = version
        token = page.token
        if not token:
            return found


def model_name(settings: Settings, problem: str, model_type: str) -> str:
    """Return the registered model's name: the configured base, else the problem's, and the type."""
    if settings.registered_model_name:
        return f"{settings.registered_model_name}_{TYPE_NAMES[model_type]}"
    return registered_name(problem, model_type)


def experiment_of(client: MlflowClient, settings: Settings, root: Path, problem: str) -> str:
    """Return the id of the experiment a problem's runs go to."""
    name = settings.experiment_name or load_schema(problem).experiment
    return store.experiment_id(client, store.resolve_uri(settings, root), root, name)


def dvc_experiment() -> str | None:
    """Return the name of the DVC experiment this call runs in, if any."""
    return next((os.environ[name] for name in _EXPERIMENT_VARIABLES if os.environ.get(name)), None)


def registers(settings: Settings) -> bool:
    """Tell whether models get versions: a DVC experiment's do not, unless configured."""
    return settings.publish_experiments or dvc_experiment() is None


def run_tags(outputs: Outputs) -> dict[str, str]:
    """Return what a run is tagged with: the version's own tags, and where it was made, named alike by every caller."""
    experiment = dvc_experiment()
    key = training_key(outputs.problem, outputs.type)
    commit = {"mlflow.source.git.commit": outputs.lineage.commit} if outputs.lineage.known else {}
    return {
        **version_tags(outputs),
        **({SEEN_DIGEST: outputs.seen.digest} if outputs.seen else {}),
        **({EXPERIMENT: experiment} if experiment else {}),
        **commit,
        "mlflow.source.name": f"{TRAIN_STAGE}@{key}",
        "mlflow.source.type": "PROJECT",
    }


def version_tags(outputs: Outputs) -> dict[str, str]:
    """Return the tags a version carries, all below ``lockstep.``."""
    card = outputs.card
    plain: dict[str, Any] = {
        "problem": outputs.problem,
        "type": outputs.type,
        "model_digest": outputs.digest,
        "schema_digest": card["schema_digest"],
        "score_scale": card["score_scale"],
        **outputs.lineage.tags,
        **data_tags(outputs),
    }
    if outputs.kept_inputs:
        plain["inputs_digest"] = sha256_json(outputs.kept_inputs)
    if card.get("threshold") is not None:
        plain["threshold"] = card["threshold"]
    if card.get("interval"):
        plain["interval"] = json.dumps(card["interval"], sort_keys=True, separators=(",", ":"))
    if card.get("classes"):
        plain |= class_tags(card)
    for part in ("validation", "test"):
        plain |= {f"{part}_{name}": value for name, value in outputs.metrics.get(part, {}).items()}
    return {f"lockstep.{key}": str(value) for key, value in plain.items()}


def noted_tags(client: MlflowClient, model_id: str) -> dict[str, str]:
    """Return the tags by which a version's files are checked, as they were noted with the logged model."""
    noted = client.get_logged_model(model_id).tags
    return {key: noted[key] for key in (SUMS_DIGEST, SEEN_DIGEST) if key in noted}


def class_tags(card: dict[str, Any]) -> dict[str, str]:
    """Return the classes of a multiclass model and the costs that decide among them, if any do, as JSON."""
    costs = costs_in(card)
    told = {"classes": card["classes"], **({"costs": costs} if costs else {})}
    return {key: json.dumps(value, ensure_ascii=False, separators=(",", ":")) for key, value in told.items()}


def data_tags(outputs: Outputs) -> dict[str, str]:
    """Return what the data set is called, where it came from, and DVC's hash of its raw files."""
    lineage = outputs.lineage
    return {"dataset": outputs.problem, "data_source": lineage.source, "data_dvc_hash": lineage.raw_hash}


def record(outputs: Outputs, timings: dict[str, float] | None) -> Record:
    """Return everything a training's run logs besides its files and its model."""
    card, metrics = outputs.card, outputs.metrics
    by_part = {
        part: {f"{part}_{name}": float(value) for name, value in metrics.get(part, {}).items()}
        for part in PARTS
    }
    by_part["test"] |= interval_metrics(metrics) | class_metrics(outputs)
    folds = {f"cv_{name}": float(value) for name, value in metrics.get("cv", {}).items()}
    alone = {key: float(card[key]) for key in ("threshold", "best_iteration") if card.get(key) is not None}
    params = dict(card["params"]) | dict(flattened({key: card.get(key) for key in _CARD_PARAMS}))
    return Record(
        name=outputs.type,
        tags=run_tags(outputs),
        params=params,
        metrics={**by_part, "": {**folds, **alone, **(timings or {})}},
        series=_series(outputs.plots),
        parts=data_parts(outputs),
    )


def interval_metrics(metrics: dict[str, Any]) -> dict[str, float]:
    """Return what a regression's prediction intervals hold of the test part, under the names of its run."""
    held = metrics.get("interval", {})
    named = {"coverage": "test_interval_coverage", "mean_width": "test_interval_width"}
    return {name: float(held[key]) for key, name in named.items() if key in held}


def class_metrics(outputs: Outputs) -> dict[str, float]:
    """Return each class's figures on the test part, as test_f1/LABEL, from a multiclass model's report."""
    path = outputs.layout.type_folder(outputs.type) / "plots" / "classes.csv"
    if not path.is_file():
        return {}
    found: dict[str, float] = {}
    for place, row in read_points(path).iterrows():
        label = _UNNAMEABLE.sub("_", row["class"])[:100]
        # Two labels may differ only in what MLflow's names have no room for.
        label = f"{label}-{place}" if f"test_f1/{label}" in found else label
        found |= {f"test_{name}/{label}": float(row[name]) for name in _OF_CLASS if row[name] == row[name]}
    return found


def read_points(path: Path) -> pd.DataFrame:
    """Read a table behind a plot; labels of classes stay text, also ones like None and NA."""
    import pandas as pd

    labels = ("actual", "predicted") if path.stem == "confusion_matrix" else ("class",)
    others = [str(name) for name in pd.read_csv(path, nrows=0) if name not in labels]
    return pd.read_csv(
        path,
        dtype=dict.fromkeys(labels, str),
        keep_default_na=False,
        na_values={name: [""] for name in others},
    )


def data_parts(outputs: Outputs) -> dict[str, DataPart]:
    """Return the problem's data sets by what they are used for, each with its digest."""
    digest = outputs.lineage.data_digest
    rows = outputs.card.get("rows", {})
    counts = {"train": rows.get("train"), "validation": rows.get("choose"), "test": rows.get("test")}
    features = outputs.layout.features.relative_to(outputs.root).as_posix()
    source = {
        "tags": {"dvc": features, "kind": outputs.lineage.source, "raw_dvc_hash": outputs.lineage.raw_hash}
    }
    return {
        part: DataPart(
            f"{outputs.problem}-{part}", context, part_digest(digest, part), source, {"rows": counts[part]}
        )
        for part, context in PARTS.items()
    }


def line(published: Published) -> str:
    """Return one line about a model: name, version, stage, new or known."""
    what = "new" if published.new else "known"
    if published.refused:
        return f"{published.name}  not registered: {published.refused}  run {published.run_id}"
    if published.version is None:
        return f"{published.name}  not registered  run {published.run_id}  {what}"
    return f"{published.name}  version {published.version}  {published.stage}  {what}"


def write_files(outputs: Outputs, folder: Path, pipeline: Any) -> None:
    """Write the files of a run: metrics, plots as tables and pictures, lineage, changed inputs, preprocessing."""
    from lockstep.reports import plots

    shutil.copyfile(outputs.layout.type_metrics(outputs.type), folder / "metrics.json")
    write_json(folder / "model_card.json", outputs.card, digits=None)
    _copy(outputs.layout.label_encoder, folder / "label_encoder.json")
    _write_preprocessing(outputs, folder / "preprocessing", pipeline)
    write_json(folder / "lineage" / "closure.json", outputs.lineage.closure, digits=None)
    _write_inputs(outputs, folder / "lineage")
    (folder / "plots").mkdir()
    for path in outputs.plots:
        shutil.copyfile(path, folder / "plots" / path.name)
        figure = plots.draw(path.stem, read_points(path), f"{outputs.problem} {outputs.type}")
        plots.save(figure, folder / "plots" / f"{path.stem}.png")


def _write_inputs(outputs: Outputs, folder: Path) -> None:
    """Write the files by which a dirty workspace differs from its commit, and their sums."""
    if not outputs.kept_inputs:
        return
    write_json(folder / INPUTS, outputs.kept_inputs)
    for name in outputs.kept_inputs:
        _copy(outputs.root / name, folder / "inputs" / name)


def _write_preprocessing(outputs: Outputs, folder: Path, pipeline: Any) -> None:
    """Write what comes before the estimator: the fitted encoder as skops, and the schema it was made from."""
    from lockstep.models.artifact import canonical_bytes

    folder.mkdir()
    (folder / "encoder.skops").write_bytes(canonical_bytes(pipeline.named_steps["encoder"]))
    shutil.copyfile(PROBLEMS / outputs.problem / "schema.yaml", folder / "schema.yaml")


def _log(
    client: MlflowClient,
    experiment: str,
    settings: Settings,
    outputs: Outputs,
    timings: dict[str, float] | None,
) -> Logged:
    pipeline = outputs.load_pipeline()
    packed = _packed(outputs, pipeline) if settings.log_model else None
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if settings.log_artifacts:
            write_files(outputs, folder, pipeline)
        return log_run(
            client, experiment, record(outputs, timings), folder if settings.log_artifacts else None, packed
        )


def _packed(outputs: Outputs, pipeline: Any) -> Package:
    """Make the model's package; a pipeline that is not the card's is refused."""
    from lockstep.models.artifact import digest_of
    from lockstep.registry.artifact.packaging import package

    seen = to_bytes(outputs.seen) if outputs.seen else None
    packed = package(pipeline, outputs.schema, outputs.card, seen)
    if (found := digest_of(packed.content)) != outputs.digest:
        raise ArtifactError(
            f"the {outputs.type} model of {outputs.problem} has digest {found[:12]}…, its card says "
            f"{outputs.digest[:12]}…: trained with other code; run `dvc repro`"
        )
    return packed


def _series(tables: Iterable[Path]) -> dict[str, list[tuple[int, float]]]:
    """Return the values by iteration and by fold from the tables that hold them."""
    import pandas as pd

    series: dict[str, list[tuple[int, float]]] = {}
    for path in tables:
        if path.stem not in ("history", "folds"):
            continue
        table = pd.read_csv(path)
        step, *names = (str(column) for column in table.columns)
        for name in names:
            points = table[[step, name]].dropna().itertuples(index=False)
            series[f"{path.stem}_{name}"] = [(int(at), float(value)) for at, value in points]
    return series


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _published(version: Any, new: bool) -> Published:
    return Published(
        name=version.name,
        version=int(version.version),
        stage=version.tags.get(STAGE, "None"),
        run_id=version.run_id,
        digest=version.tags.get(DIGEST, ""),
        new=new,
    )


def _say(text: str) -> None:
    print(f"⚠ {text}", file=sys.stderr)
