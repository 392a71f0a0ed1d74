"""Retrain a problem's models: one run, each model a new version in Staging, the best released.

    python scripts/retrain_model.py                      (credit_risk, on the data in params.yaml)
    python scripts/retrain_model.py --through 2026-01    (on a sample's window up to that month)
    python scripts/retrain_model.py --tuning --cv-folds 5 --models lightgbm xgboost

The data change only when a person says so: a sample's by --through, a table's or files' by
`make add-data` before.

DVC trains, the registry stores, and models/PROBLEM/production.pkl names an immutable copy of the
best model that passed its checks. Nothing goes into Production: a person does that with
scripts/promote_model.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.commands.train_models import (
    checked_types,
    declared_types,
    is_whole,
    problem_options,
    repro_preloaded,
    search_first,
)
from lockstep.commands.undo import only_one
from lockstep.config.layout import PARTS, ProblemLayout, stage_root
from lockstep.config.params import Params, read_params_text, training_key
from lockstep.config.params_file import KeyPath, parsed, with_values
from lockstep.config.settings import LATER, PUBLISH
from lockstep.console import add_options, documented_parser
from lockstep.dvc.lineage import is_current, training_stage
from lockstep.errors import LockstepError, UsageError
from lockstep.io import read_json, write_text
from lockstep.models import compare_models
from lockstep.models.type_metrics import read_type_metrics
from lockstep.termination import terminated_as_error

if TYPE_CHECKING:
    from lockstep.commands.publish_retrain import Retrained

FULL, MODELS = "full", "models"
MODES = {
    FULL: "all stages that are not up to date, from the raw files on",
    MODELS: "the models alone, on the matrices as they are",
}
TERMINATED = "the trained models are kept, and what is served is complete; run the command again"


@dataclass(frozen=True)
class RetrainOptions:
    """The options of a retrain; ``cv_folds`` and ``through`` None: as params.yaml says."""

    problem: str = "credit_risk"
    models: Sequence[str] = ()
    tuning: bool = False
    cv_folds: int | None = None
    mode: str = FULL
    through: str | None = None


def main() -> None:
    """Parse the command line, retrain, print the result; LockstepError if none was released."""
    options = read_arguments()
    root = stage_root()
    done = retrain(root, options)
    print(report(root, options.problem, done))
    if done.released is None:
        unfit = "no model of this retrain passed its checks"
        raise LockstepError(f"{unfit}, so what is served stays as it was")


def retrain(root: Path, options: RetrainOptions) -> Retrained:
    """Train through DVC, register the models, and release the best."""
    from lockstep.commands.publish_retrain import check_ready, publish_retrain

    lock = root / ".lockstep" / f"retrain-{options.problem}.lock"
    with only_one(lock, f"retrain of {options.problem}"):
        text, params = new_params(root, options)
        types = checked_types(params, options.problem, options.models)
        check_ready(root, options.problem)
        if text != read_params_text(root):
            write_text(root / "params.yaml", text)
        params = train(root, options, params, types)
        ordered = best_first(root, params, options.problem, types)
        logged = logged_params(root, options, params, types)
        with terminated_as_error(TERMINATED):
            return publish_retrain(root, options.problem, types, ordered, logged)


def new_params(root: Path, options: RetrainOptions) -> tuple[str, Params]:
    """Return params.yaml's text with the options in it, and its parameters; nothing is written."""
    text = read_params_text(root)
    params = parsed(text)
    values: dict[KeyPath, Any] = {}
    if options.cv_folds is not None:
        for name in declared_types(params, options.problem, options.models):
            values["train", training_key(options.problem, name), "cv_folds"] = options.cv_folds
    if options.through is not None:
        values[last_month(params, options)] = options.through
    changed = with_values(text, values)
    return changed, parsed(changed)


def last_month(params: Params, options: RetrainOptions) -> KeyPath:
    """Return the place of a sample's last month in params.yaml; UsageError where it has none."""
    problem, source = options.problem, params.problem(options.problem).source
    if source.kind != "sample":
        fix = f"bring its new rows in with `make add-data PROBLEM={problem} FROM=…`"
        raise UsageError(
            f"--through moves the window of a sample; {problem} comes from source {source.kind}: "
            f"{fix}, then retrain without --through"
        )
    place: KeyPath = ("problems", problem, "source", "sample", "last_month")
    if place[-1] not in source.sample.model_fields_set:
        missing = f"params.yaml has no {'.'.join(place)}: the sample of {problem} has no months"
        raise UsageError(
            f"--through moves the last month of a sample, and {missing}; retrain without --through"
        )
    return place


def train(root: Path, options: RetrainOptions, params: Params, types: Sequence[str]) -> Params:
    """Have DVC update the models, and for all types their comparison; return the parameters."""
    problem = options.problem
    if options.tuning:
        search_first(root, problem, types if options.models else ())
        params = parsed(read_params_text(root))
    stages = [training_stage(problem, name) for name in types]
    if is_whole(params, problem, types):
        stages.append(f"compare@{problem}")
    alone = ["--single-item"] if options.mode == MODELS else []
    print("the models get their versions when all of them are trained", flush=True)
    current = is_current(root, problem, *types)
    words = [*alone, *stages]
    repro_preloaded(root, types, words, wanted=not current, variables={PUBLISH: LATER})
    return params


def best_first(root: Path, params: Params, problem: str, types: Sequence[str]) -> list[str]:
    """Return the types by the comparison's metric on the validation rows, the champion first."""
    from lockstep.evaluation.metrics import LOWER_IS_BETTER

    layout, metric = ProblemLayout(root, problem), params.problem(problem).compare.metric
    whole = is_whole(params, problem, types)
    champion = (
        read_json(layout.champion) if whole else compare_models.compare(root, problem, types)[1]
    )["type"]
    values = {name: read_type_metrics(layout, name)["validation"][metric] for name in types}
    ordered = sorted(types, key=values.__getitem__, reverse=metric not in LOWER_IS_BETTER)
    return [champion, *(name for name in ordered if name != champion)]


def logged_params(
    root: Path, options: RetrainOptions, params: Params, types: Sequence[str]
) -> dict[str, Any]:
    """Return the options and data that the retrain's run logs.

    Of a sample's settings those in params.yaml: each problem's sample has its own.
    """
    trainings = [params.training(options.problem, name) for name in types]
    source = params.problem(options.problem).source
    sample = source.sample.model_dump(exclude_unset=True) if source.kind == "sample" else {}
    return {
        "mode": options.mode,
        "models": ",".join(types),
        "tuning": str(options.tuning).lower(),
        "cv_folds": ",".join(dict.fromkeys(str(one.cv_folds) for one in trainings)),
        "source": source.kind,
        **{f"sample.{key}": value for key, value in sample.items()},
        **{f"data.{key}": value for key, value in data_window(root, options.problem).items()},
    }


def data_window(root: Path, problem: str) -> dict[str, Any]:
    """Return the number of rows, of training rows, and the first and last date, if known."""
    summary = read_json(ProblemLayout(root, problem).features_summary)
    parts = [summary[part] for part in PARTS]
    window = {"rows": sum(part["rows"] for part in parts), "train_rows": summary["train"]["rows"]}
    if dated := [part for part in parts if "from" in part]:
        window["from"] = min(part["from"] for part in dated)
        window["to"] = max(part["to"] for part in dated)
    return window


def report(root: Path, problem: str, done: Retrained) -> str:
    """Return the new versions, the released model, and the next commands."""
    head = f"Retrained {problem}: run {done.run_id} in experiment {done.experiment}"
    lines = [head, data_line(root, problem)]
    width = max(map(len, done.versions))
    for name, one in done.versions.items():
        mark = "*" if name == done.released_type else " "
        lines.append(f"{mark} {name:<{width}}  {one.name} version {one.version}  {one.stage}")
    lines += [f"  {name} is not fit to be served: {why}" for name, why in done.unfit.items()]
    if done.released is None:
        return "\n".join(lines)
    now, best = done.released, done.versions[done.released_type]
    named = "" if best.name == "credit-risk-model" else f" --model-name {best.name}"
    promote = f"python scripts/promote_model.py --version {best.version}{named}"
    pointer, file = now.pointer.relative_to(root), now.file.relative_to(now.pointer.parent)
    lines += [
        f"served: {pointer} → {file} ({done.released_type})",
        "What to do next",
        f"  go through the checklist  {promote} --check",
        f"  put it in Production      {promote} --archive-current",
    ]
    return "\n".join(lines)


def data_line(root: Path, problem: str) -> str:
    """Return in one line which data the models were trained on."""
    found = data_window(root, problem)
    window = f", {found['from']} to {found['to']}" if "from" in found else ""
    return f"data: {found['rows']:,} rows{window}; {found['train_rows']:,} of them to train on"


def read_arguments() -> RetrainOptions:
    """Return the command line's options; UsageError for impossible ones."""
    parser = documented_parser("python scripts/retrain_model.py", __doc__)
    problem_options(parser, "credit_risk")
    add_options(parser, OPTIONS)
    modes = "; ".join(f"{name}: {text}" for name, text in MODES.items())
    default = f"{modes} (default: {FULL})"
    parser.add_argument("--mode", default=FULL, choices=list(MODES), help=default)
    options = RetrainOptions(**vars(parser.parse_args()))
    check_options(options)
    return options


OPTIONS = {
    "--tuning": ("", "search hyperparameters first; winners go into params.yaml"),
    "--cv-folds": ("N", "folds of the cross-validation, into params.yaml; 0: none", int),
    "--through": (
        "YYYY-MM",
        "the last month of the sample's window, into params.yaml (default: unchanged)",
    ),
}


def check_options(options: RetrainOptions) -> None:
    """Refuse impossible options before anything is read."""
    if options.cv_folds is not None and (options.cv_folds < 0 or options.cv_folds == 1):
        raise UsageError(f"--cv-folds {options.cv_folds}: give 2 or more, or 0 for none")
    if options.through is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", options.through):
        raise UsageError(f"--through {options.through} is no month; give YYYY-MM, as 2024-06")
    if options.mode == MODELS and (options.through is not None or options.tuning):
        fix = "leave out --through and --tuning, or use --mode full"
        raise UsageError(f"--mode models leaves the data as they are; {fix}")
