"""Predict from a file of records with a registered model, or (for development) with a file of this workspace.

FILE holds one record, a list of records, JSON Lines or CSV; - reads standard input. One option says which model;
USE_BEST_MODEL=true or USE_MLFLOW_PRODUCTION=true in the environment or .env say it where no option does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.config.layout import project_root
from lockstep.console import Parser, aligned, as_json, common_options
from lockstep.errors import (
    DataError,
    RegistryError,
    UsageError,
    leave_objects_to_the_system,
    run_command,
)
from lockstep.registry.store.names import check_stage, check_version

if TYPE_CHECKING:
    from lockstep.models.scoring.prediction import Model
    from lockstep.registry.artifact.loading import Located

DEFAULT_TYPE = "xgboost"
"""The type that --use-mlflow-production means."""
_ONCE = ("run_id", "model_digest")
"""What is the same in every row, and is told people once."""
_MOST_CLASSES = 3
WAYS = (
    "--use-best-model, --use-mlflow-production, --model-name NAME, --run-id ID or --model-path FILE"
)


@dataclass(frozen=True)
class Choice:
    """Which model of a registry is meant: ``best`` over a problem's types, or one by type, name or run."""

    problem: str
    best: bool = False
    type: str | None = None
    name: str | None = None
    version: int | None = None
    stage: str | None = None
    run_id: str | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, read the records, find and check the model, predict, print."""
    from lockstep.models.scoring.prediction import parse_records, predict

    options = parser().parse_args(arguments)
    check_options(options)
    root = project_root()
    choice = None if options.model_path else choose(options, variables(root))
    given = parse_records(read_text(options.file), str(options.file))
    model = open_model(options, choice, root)
    rows = predict(model, given.typed(model.schema), options.threshold)
    report(rows, options)


def parser() -> Parser:
    """Return the command line's parser; building it imports nothing heavy."""
    top = Parser(
        prog="predict_model.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument(
        "file", metavar="FILE", help="records: JSON, JSON Lines or CSV; - for standard input"
    )
    which = top.add_argument_group("which model").add_mutually_exclusive_group()
    which.add_argument(
        "--use-best-model",
        action="store_true",
        help="the best Production model over all types of the problem",
    )
    which.add_argument(
        "--use-mlflow-production",
        action="store_true",
        help="the Production model of the default type, XGBoost",
    )
    which.add_argument(
        "--model-name",
        metavar="NAME",
        help="a registered model: its Production version, or --stage, or --version",
    )
    which.add_argument("--run-id", metavar="ID", help="the version that this run made")
    which.add_argument(
        "--model-path",
        metavar="FILE",
        type=Path,
        help="a model file of this workspace (development only)",
    )
    part = top.add_argument_group("which of its versions").add_mutually_exclusive_group()
    part.add_argument(
        "--stage", metavar="STAGE", help="with --model-name: the newest version in this stage"
    )
    part.add_argument("--version", metavar="N", help="with --model-name: this version")
    top.add_argument(
        "--problem",
        default="accidents",
        help="with the two --use options: whose models (default: accidents)",
    )
    top.add_argument(
        "--threshold", type=float, metavar="P", help="decide by this threshold, not the model's own"
    )
    top.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the predictions there (.json, .jsonl or .csv) and not to the terminal",
    )
    common_options(top, default=None)
    return top


def check_options(options: argparse.Namespace) -> None:
    """Refuse options that can't be meant, before anything is read or asked."""
    if (options.stage or options.version) and not options.model_name:
        raise UsageError(
            "--stage and --version say which version of --model-name NAME; give that too"
        )
    if options.stage is not None:
        check_stage(options.stage)
    if options.version is not None:
        check_version(options.version)
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise UsageError(
            f"--threshold {options.threshold:g} is no probability; give a number from 0 to 1"
        )
    if options.output and options.output.suffix not in WRITERS:
        raise UsageError(f"--output {options.output}: the name must end in {', '.join(WRITERS)}")


def choose(options: argparse.Namespace, environment: Mapping[str, str]) -> Choice:
    """Return the model that is meant: by an option, else by the environment, BEST before PRODUCTION."""
    from lockstep.config.settings import is_on
    from lockstep.problems.schema import load_schema

    problem = load_schema(options.problem).name
    if options.model_name or options.run_id:
        number = None if options.version is None else check_version(options.version)
        return Choice(
            problem,
            name=options.model_name,
            version=number,
            stage=options.stage,
            run_id=options.run_id,
        )

    def on(name: str) -> bool:
        return name in environment and is_on(environment[name], name)

    if options.use_best_model or (not options.use_mlflow_production and on("USE_BEST_MODEL")):
        return Choice(problem, best=True)
    if options.use_mlflow_production or on("USE_MLFLOW_PRODUCTION"):
        return Choice(problem, type=DEFAULT_TYPE, stage="Production")
    raise UsageError(f"say which model: {WAYS} (or USE_BEST_MODEL=true in the environment)")


def variables(root: Path) -> dict[str, str]:
    """Return the variables of .env and, before them, of the environment."""
    from lockstep.config.settings import environment

    return {name: found.value for name, found in environment(root).items()}


def read_text(file: str) -> str:
    """Return what a file or standard input (-) holds, as UTF-8."""
    try:
        return (
            sys.stdin.buffer.read().decode()
            if file == "-"
            else Path(file).read_text(encoding="utf-8")
        )
    except FileNotFoundError:
        raise DataError(
            f"{file} is missing; give a file of records, e.g. src/models/test_features.json"
        ) from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder; give a file of records") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from None


def open_model(options: argparse.Namespace, choice: Choice | None, root: Path) -> Model:
    """Return the model, checked: a file of the workspace, or what the registry holds for a choice."""
    if choice is None:
        from lockstep.models.workspace import load_file

        return load_file(options.model_path, root)
    located, reason = beside_imports(look_up, choice, root, options.tracking_uri)
    if reason:
        print(
            f"{located.version.name} version {located.version.version}: {reason}", file=sys.stderr
        )
    from lockstep.registry.artifact.loading import open_version

    return open_version(located)


def look_up(choice: Choice, root: Path, tracking_uri: str | None) -> tuple[Located, str]:
    """Ask the registry for a choice; return where its artifact lies and why this one, where that needs a word."""
    from lockstep.promotion.best_production import best_production
    from lockstep.registry.artifact.loading import find_version, locate
    from lockstep.registry.store.opening import open_registry

    client = open_registry(root, tracking_uri)
    if choice.best:
        best = best_production(client, root, choice.problem)
        return locate(client, best.version, root), best.reason
    name = _name_of_type(root, choice.problem, choice.type) if choice.type else choice.name
    version = find_version(
        client, name, version=choice.version, stage=choice.stage, run_id=choice.run_id
    )
    return locate(client, version, root), ""


def _name_of_type(root: Path, problem: str, model_type: str) -> str:
    from lockstep.config.settings import load_settings
    from lockstep.registry.publishing.destinations import model_name

    return model_name(load_settings(root), problem, model_type)


def beside_imports(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a second process while this one imports what it needs afterwards.

    MLflow and the model libraries take two seconds each to import; side by side a prediction starts sooner.
    """
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_leave_interrupts) as pool:
        asked: Future[Any] = pool.submit(_asked, function, *arguments)

        from lockstep.models.artifact import import_skops

        import_skops()
        import lockstep.features.columns_v1  # noqa: F401

        try:
            return asked.result()
        except BrokenProcessPool:
            raise RegistryError(
                "the process that asked the registry was killed; run the command again"
            ) from None


def _asked(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function and spare this process the last collections over all it imported: it is waited for."""
    found = function(*arguments)
    leave_objects_to_the_system()
    return found


def _leave_interrupts() -> None:
    """Leave Ctrl-C to the main process, which then ends this one."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print the predictions, or write them to --output."""
    if options.output:
        from lockstep.io import write_text

        write_text(options.output, WRITERS[options.output.suffix](rows))
        print(f"wrote {len(rows)} predictions to {options.output}", file=sys.stderr)
    else:
        print(as_json(rows) if options.json else _for_people(rows))


def _for_people(rows: list[dict[str, Any]]) -> str:
    """Return a table; the model's digest and the run are there once, the rest in each row."""
    short = [
        {k: _likeliest(v) if k == "probabilities" else v for k, v in row.items() if k not in _ONCE}
        for row in rows
    ]
    origin = f"run {rows[0]['run_id'] or '-'}, digest {(rows[0]['model_digest'] or '-')[:12]}"
    return f"{aligned(short)}\n{origin}"


def _likeliest(probabilities: dict[str, float]) -> str:
    """Return the most probable classes with their probabilities, and how many more there are."""
    ordered = sorted(probabilities.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{label} {chance:.4f}" for label, chance in ordered[:_MOST_CLASSES])
    return shown + (
        f", {len(ordered) - _MOST_CLASSES} more" if len(ordered) > _MOST_CLASSES else ""
    )


def _jsonl(rows: list[dict[str, Any]]) -> str:
    import json

    return "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _csv(rows: list[dict[str, Any]]) -> str:
    import csv
    import io

    flat = [dict(_cells(row)) for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(flat[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def _cells(row: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield a prediction's cells, one a class where it has probabilities of several."""
    for key, value in row.items():
        if key == "probabilities":
            yield from ((f"probability of {label}", chance) for label, chance in value.items())
        else:
            yield key, value


WRITERS: dict[str, Callable[[list[dict[str, Any]]], str]] = {
    ".json": lambda rows: as_json(rows) + "\n",
    ".jsonl": _jsonl,
    ".csv": _csv,
}


if __name__ == "__main__":
    run_command(main)
