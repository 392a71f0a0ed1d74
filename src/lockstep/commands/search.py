"""Search hyperparameters as declared under `search:` in params.yaml, and write the winners there.

A search registers nothing: the normal graph trains the winners, so that every version has its lock
entry.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.commands.train_models import check_trainings, refuse_spark
from lockstep.config.layout import PARTS, ProblemLayout, stage_root
from lockstep.config.params import Params, Search, load_params, read_params_text, training_key
from lockstep.config.params_file import KeyPath, parsed, with_values
from lockstep.console import documented_parser
from lockstep.dvc import repro as dvc
from lockstep.errors import ConfigError, UsageError, run_command
from lockstep.io import sha256_file, sha256_json, write_text
from lockstep.models.search import (
    Report,
    TrialResult,
    finished,
    open_study,
    run_study,
    study_name,
    usable,
)

if TYPE_CHECKING:
    from lockstep.registry.publishing.trials import SearchLog


def search_problem(root: Path, problem: str, model_types: list[str]) -> None:
    """Search every model type named, or all that have a search section, and write the winners."""
    params = load_params(root)
    chosen = searched_types(params, problem, model_types)
    check_trainings(params, problem, chosen)
    dvc.repro(root, f"features@{problem}")
    for model_type in chosen:
        winner = search_type(root, params, problem, model_type)
        write_winner(root, training_key(problem, model_type), winner)


def searched_types(params: Params, problem: str, wanted: list[str]) -> list[str]:
    """Return the types to search, each with a search section; none at all is a ConfigError."""
    declared = params.problem(problem).model_types
    refuse_spark(problem, wanted)
    for model_type in wanted:
        params.training(problem, model_type)
    chosen = [t for t in wanted or declared if training_key(problem, t) in params.search]
    missing = [t for t in wanted if t not in chosen]
    if missing or not chosen:
        key = training_key(problem, (missing or declared)[0])
        fix = "give it trials and a space of hyperparameters"
        raise ConfigError(f"params.yaml has no section search.{key}; {fix}")
    return chosen


def search_type(root: Path, params: Params, problem: str, model_type: str) -> dict[str, Any]:
    """Run what is left of one type's search and return the winner's hyperparameters."""
    from lockstep.models.search_objective import objective, sign_of
    from lockstep.registry.publishing.trials import open_search

    key = training_key(problem, model_type)
    training, search, layout = params.train[key], params.search[key], ProblemLayout(root, problem)
    decision, metric = params.problem(problem).decision, params.problem(problem).compare.metric
    data_digest = sha256_json([sha256_file(layout.matrix(part)) for part in PARTS])
    name, sign = study_name(key, search, training, decision, metric, data_digest), sign_of(metric)
    storage = root / ".lockstep" / "search.db"
    with usable(storage):
        study = open_study(storage, name, training.params, search)
        log = open_search(root, problem, model_type, name, metric, sign)
        log_trial = partial(report, log, key, search, sign)
        done = finished(study)
        for result in done:
            log_trial(result)
        is_left = len(done) < search.trials
        evaluate = objective(layout, training, decision, metric) if is_left else never
        winner = run_study(study, search, evaluate, log_trial)
        best = study.best_value
    print(f"{key}: best validation {metric} {sign * best:.5f} with {winner}", flush=True)
    if log:
        log.close(winner, sign * best)
    return winner


def report(log: SearchLog | None, key: str, search: Search, sign: int, result: TrialResult) -> None:
    """Print a finished trial and log its run."""
    pruned = result.pruned or result.value is None
    outcome = "pruned" if pruned else f"{sign * (result.value or 0.0):.5f}"
    params = result.params.items()
    shown = ((name, f"{v:.4g}" if isinstance(v, float) else v) for name, v in params)
    chosen = ", ".join(f"{name}={value}" for name, value in shown)
    trial = f"trial {result.number + 1}/{search.trials}"
    print(f"{key}  {trial}  {outcome}  {result.seconds:.1f} s  {chosen}", flush=True)
    if log:
        log.add(result)


def never(params: dict[str, Any], report: Report) -> float:
    """Stand for the objective of a search that is finished."""
    raise AssertionError("a finished search evaluates nothing")


def write_winner(root: Path, key: str, winner: dict[str, Any]) -> None:
    """Put a winner's hyperparameters into train.KEY.params, comments and order of the file kept."""
    text = read_params_text(root)
    current = parsed(text).train[key].params
    values: dict[KeyPath, Any] = {}
    for name, value in winner.items():
        rounded = float(f"{value:.6g}") if isinstance(value, float) else value
        if not _is_same_number(current.get(name), rounded):
            values["train", key, "params", name] = rounded
    write_text(root / "params.yaml", with_values(text, values))


def _is_same_number(one: Any, other: Any) -> bool:
    """Tell whether two numbers are equal: a trial has 5.0 where the file says 5."""
    return type(one) in (int, float) and type(other) in (int, float) and one == other


def main() -> None:
    """Parse the command line and search."""
    parser = documented_parser("python -m lockstep.commands.search", __doc__)
    problem = "a problem of params.yaml (default: accidents)"
    parser.add_argument("--problem", default="accidents", help=problem)
    parser.add_argument("--models", nargs="*", default=[], metavar="TYPE", help="only these types")
    arguments = parser.parse_args()
    if any(not name for name in arguments.models):
        raise UsageError("--models wants names of model types")
    search_problem(stage_root(), arguments.problem, arguments.models)


if __name__ == "__main__":
    run_command(main)
