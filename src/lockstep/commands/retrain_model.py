"""Retrain a problem's models: one run, each model a new version in Staging, the best of them released.

    python scripts/retrain_model.py                      (the models of credit_risk, on the data params.yaml names)
    python scripts/retrain_model.py --through 2026-01    (on a sample's window up to that month)
    python scripts/retrain_model.py --tuning --cv-folds 5 --models lightgbm xgboost

Data move on by a person's word alone: those of a sample by --through, a table's or files' by `make add-data` before.

DVC trains, the registry keeps, and models/PROBLEM/production.pkl names an immutable copy of the best model that
passed its checks. Nothing goes into Production: scripts/promote_model.py does that, by a person.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from lockstep.commands.train_models import declared_types
from lockstep.commands.training_checks import check_trainings, problem_options
from lockstep.config.layout import PARTS, ProblemLayout, project_root
from lockstep.config.params import Params, read_params_text, training_key
from lockstep.config.params_file import KeyPath, parsed, with_values
from lockstep.config.settings import LATER, PUBLISH
from lockstep.dvc import repro as dvc
from lockstep.errors import LockstepError, UsageError, run_command
from lockstep.io import read_json, write_text
from lockstep.models import compare_models
from lockstep.termination import terminated_as_error

if TYPE_CHECKING:
    from lockstep.commands.publish_retrain import Retrained

FULL, MODELS = "full", "models"
MODES = {
    FULL: "all stages that are not up to date, from the raw files on",
    MODELS: "the models alone, on the matrices as they are",
}
KEPT = "the trained models are kept, and what is served is a whole one; run the command again"


@dataclass(frozen=True)
class Asked:
    """What a retrain is asked for. ``cv_folds`` and ``through`` None: as params.yaml says."""

    problem: str = "credit_risk"
    models: tuple[str, ...] = ()
    tuning: bool = False
    cv_folds: int | None = None
    mode: str = FULL
    through: str | None = None


def main() -> int | None:
    """Parse the command line, retrain, and say what there is; 1 where no model was fit to be released."""
    asked = read_arguments()
    root = project_root()
    done = retrain(root, asked)
    print(report(root, asked.problem, done))
    if done.released is None:
        raise LockstepError(
            "no model of this retrain passed its checks, so what is served stays as it was"
        )
    return None


def retrain(root: Path, asked: Asked) -> Retrained:
    """Train what was asked for through DVC, register it, and release the best."""
    from lockstep.commands.publish_retrain import check_ready, publish_retrain

    with only_one(root, asked.problem):
        text, params = new_params(root, asked)
        types = declared_types(params, asked.problem, asked.models)
        check_trainings(params, asked.problem, types)
        check_ready(root)
        write_params(root, text)
        params = train(root, asked, params, types)
        ordered = best_first(root, params, asked.problem, types)
        with terminated_as_error(KEPT):
            return publish_retrain(
                root, asked.problem, types, ordered, logged_params(root, asked, params, types)
            )


@contextmanager
def only_one(root: Path, problem: str) -> Iterator[None]:
    """Hold a workspace's retrains of a problem within the block; a second one at once is a usage error."""
    path = root / ".lockstep" / f"retrain-{problem}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise UsageError(
            f"another retrain of {problem} is running here; wait for it to end"
        ) from None


def new_params(root: Path, asked: Asked) -> tuple[str, Params]:
    """Return params.yaml's text with what was asked for, and what it says then; nothing is written."""
    text = read_params_text(root)
    params = parsed(text)
    types = declared_types(params, asked.problem, asked.models)
    values: dict[KeyPath, Any] = {}
    if asked.cv_folds is not None:
        values |= {
            ("train", training_key(asked.problem, name), "cv_folds"): asked.cv_folds
            for name in types
        }
    if asked.through is not None:
        values[last_month(params, asked)] = asked.through
    changed = with_values(text, values)
    return changed, parsed(changed)


def last_month(params: Params, asked: Asked) -> KeyPath:
    """Return where params.yaml says up to which month the data go; only a sample by months has another window."""
    source = params.problem(asked.problem).source
    if source.kind != "sample":
        raise UsageError(
            f"--through moves the window of a sample; {asked.problem} comes from source {source.kind}: bring its new "
            f"rows in with `make add-data PROBLEM={asked.problem} FROM=…`, then retrain without --through"
        )
    place: KeyPath = ("problems", asked.problem, "source", "sample", "last_month")
    if place[-1] not in source.sample.model_fields_set:
        raise UsageError(
            f"--through moves the last month of a sample, and params.yaml has no {'.'.join(place)}: "
            f"the sample of {asked.problem} does not go by months; retrain without --through"
        )
    return place


def write_params(root: Path, text: str) -> None:
    """Write params.yaml, if it says something new."""
    if text != read_params_text(root):
        write_text(root / "params.yaml", text)


def train(root: Path, asked: Asked, params: Params, types: Sequence[str]) -> Params:
    """Have DVC bring the models up to date, and their comparison where it is of all types; return the parameters."""
    if asked.tuning:
        dvc.module(root, "lockstep.commands.search", "--problem", asked.problem, "--models", *types)
        params = parsed(read_params_text(root))
    stages = [f"train_multi_model@{training_key(asked.problem, name)}" for name in types]
    if is_whole(params, asked.problem, types):
        stages.append(f"compare@{asked.problem}")
    alone = ["--single-item"] if asked.mode == MODELS else []
    with not_published():
        dvc.repro(root, *alone, *stages)
    return params


def is_whole(params: Params, problem: str, types: Sequence[str]) -> bool:
    """Tell whether these are all of a problem's types."""
    return set(types) == set(params.problem(problem).model_types)


@contextmanager
def not_published() -> Iterator[None]:
    """Keep the train stages within the block from making versions: the retrain makes one of each model itself."""
    print("the models get their versions when all of them are trained", flush=True)
    before = os.environ.get(PUBLISH)
    os.environ[PUBLISH] = LATER
    try:
        yield
    finally:
        del os.environ[PUBLISH]
        if before is not None:
            os.environ[PUBLISH] = before


def best_first(root: Path, params: Params, problem: str, types: Sequence[str]) -> list[str]:
    """Return the types by the metric of the comparison on the validation rows, the champion first."""
    from lockstep.evaluation.metrics import LOWER_IS_BETTER

    layout, metric = ProblemLayout(root, problem), params.problem(problem).compare.metric
    whole = is_whole(params, problem, types)
    champion = (
        read_json(layout.champion) if whole else compare_models.compare(root, problem, types)[1]
    )["type"]
    values = {name: read_json(layout.type_metrics(name))["validation"][metric] for name in types}
    ordered = sorted(types, key=values.__getitem__, reverse=metric not in LOWER_IS_BETTER)
    return [champion, *(name for name in ordered if name != champion)]


def logged_params(root: Path, asked: Asked, params: Params, types: Sequence[str]) -> dict[str, Any]:
    """Return what the retrain's run says was asked for, and on which data.

    Of a sample's settings those that params.yaml names: each problem's sample has its own.
    """
    trainings = [params.training(asked.problem, name) for name in types]
    source = params.problem(asked.problem).source
    sample = source.sample.model_dump(exclude_unset=True) if source.kind == "sample" else {}
    return {
        "mode": asked.mode,
        "models": ",".join(types),
        "tuning": str(asked.tuning).lower(),
        "cv_folds": ",".join(dict.fromkeys(str(one.cv_folds) for one in trainings)),
        "source": source.kind,
        **{f"sample.{key}": value for key, value in sample.items()},
        **{f"data.{key}": value for key, value in data_window(root, asked.problem).items()},
    }


def data_window(root: Path, problem: str) -> dict[str, Any]:
    """Return how many rows a problem's data have, how many are trained on, and from when to when they go, if known."""
    summary = read_json(ProblemLayout(root, problem).features_summary)
    parts = [summary[part] for part in PARTS]
    told = {"rows": sum(part["rows"] for part in parts), "train_rows": summary["train"]["rows"]}
    dated = [part for part in parts if "from" in part]
    if dated:
        told |= {
            "from": min(part["from"] for part in dated),
            "to": max(part["to"] for part in dated),
        }
    return told


def report(root: Path, problem: str, done: Retrained) -> str:
    """Return what was made, what is served now, and what a person does next."""
    lines = [
        f"Retrained {problem}: run {done.run_id} in experiment {done.experiment}",
        data_line(root, problem),
    ]
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
    return "\n".join(
        [
            *lines,
            f"served: {pointer} → {file} ({done.released_type})",
            "What to do next",
            f"  go through the checklist  {promote} --check",
            f"  put it in Production      {promote} --archive-current",
        ]
    )


def data_line(root: Path, problem: str) -> str:
    """Return in a line which data the models were trained on."""
    told = data_window(root, problem)
    window = f", {told['from']} to {told['to']}" if "from" in told else ""
    return f"data: {told['rows']:,} rows{window}; {told['train_rows']:,} of them to train on"


def read_arguments() -> Asked:
    """Return what the command line asks for; what cannot be is a usage error."""
    parser = argparse.ArgumentParser(prog="python scripts/retrain_model.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    problem_options(parser, "credit_risk")
    parser.add_argument(
        "--tuning",
        action="store_true",
        help="search hyperparameters first; winners go into params.yaml",
    )
    parser.add_argument(
        "--cv-folds",
        type=int,
        metavar="N",
        help="folds of the cross-validation, into params.yaml; 0: none",
    )
    modes = "; ".join(f"{name}: {text}" for name, text in MODES.items())
    parser.add_argument(
        "--mode", default=FULL, choices=list(MODES), help=f"{modes} (default: {FULL})"
    )
    parser.add_argument(
        "--through",
        metavar="YYYY-MM",
        help="the last month of the sample's window, into params.yaml (default: as params.yaml says)",
    )
    given = parser.parse_args()
    asked = Asked(
        given.problem, tuple(given.models), given.tuning, given.cv_folds, given.mode, given.through
    )
    check_asked(asked)
    return asked


def check_asked(asked: Asked) -> None:
    """Refuse what cannot be meant before anything is read."""
    if asked.cv_folds is not None and (asked.cv_folds < 0 or asked.cv_folds == 1):
        raise UsageError(f"--cv-folds {asked.cv_folds}: give 2 or more, or 0 for none")
    if asked.through is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", asked.through):
        raise UsageError(f"--through {asked.through} is no month; give YYYY-MM, as 2024-06")
    if asked.mode == MODELS and (asked.through is not None or asked.tuning):
        raise UsageError(
            "--mode models leaves the data as they are; leave out --through and --tuning, or use --mode full"
        )


if __name__ == "__main__":
    run_command(main)
