"""Predict from a file of records with a registered model, or (development) one of this workspace.

FILE holds one record, a list of records or JSON Lines, or it is a table: CSV, TSV or Parquet, read
as the file that was trained on; - reads standard input. Columns of that file that are no features
are named and ignored. Choose the model by one option, or by USE_BEST_MODEL=true or
USE_MLFLOW_PRODUCTION=true in the environment or .env.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from lockstep.commands.model_lookup import looking_up
from lockstep.config.layout import project_root
from lockstep.config.settings import DEFAULT_MODEL_TYPE, environment, is_on
from lockstep.console import Parser, add_options, common_options
from lockstep.data.record_text import Given, given
from lockstep.errors import DataError, UsageError
from lockstep.problems.schema import load_schema
from lockstep.registry.store.names import check_stage, check_version

FORMATS = (".json", ".jsonl", ".csv")
"""How predictions can be written to a file."""
WAYS = (
    "--use-best-model, --use-mlflow-production, --model-name NAME, --run-id ID or --model-path FILE"
)


@dataclass(frozen=True)
class Choice:
    """A model of a registry: ``best`` over a problem's types, or one by type, name or run."""

    problem: str
    best: bool = False
    type: str | None = None
    name: str | None = None
    version: int | None = None
    stage: str | None = None
    run_id: str | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, then predict."""
    options = parser().parse_args(arguments)
    check_options(options)
    root = project_root()
    variables = {name: found.value for name, found in environment(root).items()}
    choice = None if options.model_path else choose(options, variables)
    content = read_given(options.file)
    work = "lockstep.commands.predict_records"
    if choice is None:
        resolve_name(f"{work}:predict_by_file")(options, content, root)
        return
    with looking_up(choice, root, options.tracking_uri) as look_up:
        resolve_name(f"{work}:predict_by_registry")(options, content, look_up)


def read_given(file: str) -> Given:
    """Return what a file or standard input (-) holds; records in JSON are parsed at once."""
    where = "standard input" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{file} is missing; give a file of records, e.g. src/models/test_features.json"
        ) from None
    except IsADirectoryError:
        raise DataError(f"{file} is a folder; give a file of records") from None
    path = Path(file) if file != "-" and Path(file).is_file() else None
    return given(content, where, path)


def parser() -> Parser:
    """Return the command line's parser."""
    top = Parser(prog="predict_model.py", description=__doc__)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    records = "records: JSON, JSON Lines, CSV, TSV or Parquet; - for standard input"
    top.add_argument("file", metavar="FILE", help=records)
    add_model_choice(top)
    add_options(top, OTHER_OPTIONS)
    common_options(top, default=None)
    return top


def add_model_choice(top: argparse.ArgumentParser) -> None:
    """Add the options that say which model, and which of its versions."""
    which = top.add_argument_group("which model").add_mutually_exclusive_group()
    add_options(which, MODEL_OPTIONS)
    part = top.add_argument_group("which of its versions").add_mutually_exclusive_group()
    add_options(part, VERSION_OPTIONS)
    problem = "with the two --use options: whose models (default: accidents)"
    top.add_argument("--problem", default="accidents", help=problem)


MODEL_OPTIONS = {
    "--use-best-model": ("", "the best Production model over all types of the problem"),
    "--use-mlflow-production": ("", "the Production model of the default type, XGBoost"),
    "--model-name": (
        "NAME",
        "a registered model: its Production version, or --stage, or --version",
    ),
    "--run-id": ("ID", "the version that this run made"),
    "--model-path": ("FILE", "a model file of this workspace (development only)", Path),
}
VERSION_OPTIONS = {
    "--stage": ("STAGE", "with --model-name: the newest version in this stage", check_stage),
    "--version": ("N", "with --model-name: this version", check_version),
}
OTHER_OPTIONS = {
    "--threshold": ("P", "decide by this threshold, not the model's own", float),
    "--output": (
        "FILE",
        "write the predictions there (.json, .jsonl or .csv) and not to the terminal",
        Path,
    ),
}


def check_model_options(options: argparse.Namespace) -> None:
    """Refuse impossible options of a model before anything is read."""
    if (options.stage or options.version) and not options.model_name:
        raise UsageError(
            "--stage and --version say which version of --model-name NAME; give that too"
        )
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise UsageError(
            f"--threshold {options.threshold:g} is no probability; give a number from 0 to 1"
        )


def check_options(options: argparse.Namespace) -> None:
    """Refuse impossible options before anything is read."""
    check_model_options(options)
    if options.output and options.output.suffix not in FORMATS:
        raise UsageError(f"--output {options.output}: the name must end in {', '.join(FORMATS)}")


def choose(options: argparse.Namespace, variables: Mapping[str, str]) -> Choice:
    """Return the model to use: by an option, else by the environment, BEST before PRODUCTION."""
    problem = load_schema(options.problem).name
    if options.model_name or options.run_id:
        name, version = options.model_name, options.version
        return Choice(problem, False, None, name, version, options.stage, options.run_id)

    def on(name: str) -> bool:
        return name in variables and is_on(variables[name], name)

    if options.use_best_model or (not options.use_mlflow_production and on("USE_BEST_MODEL")):
        return Choice(problem, best=True)
    if options.use_mlflow_production or on("USE_MLFLOW_PRODUCTION"):
        return Choice(problem, type=DEFAULT_MODEL_TYPE, stage="Production")
    raise UsageError(f"say which model: {WAYS} (or USE_BEST_MODEL=true in the environment)")
