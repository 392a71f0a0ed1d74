"""Score Parquet files with Spark, by a registered model or (development) one of this workspace.

INPUT is a Parquet file, or a folder of them, also one of Hive partitions (date=2026-01-01/). OUTPUT
gets a file of the same name for each: the input's columns, and what the model says. Rows that can't
be read go to OUTPUT/_rejected with the reason. Run the same command again to resume.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name

from lockstep.commands.model_lookup import looking_up
from lockstep.commands.predict_model import (
    add_model_choice,
    check_model_options,
    choose,
)
from lockstep.config.layout import project_root
from lockstep.config.settings import environment
from lockstep.console import Parser, add_options, common_options
from lockstep.errors import UsageError

MOST_REJECTED = 0.05


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, then score."""
    options = parser().parse_args(arguments)
    check_model_options(options)
    root = project_root()
    variables = {name: found.value for name, found in environment(root).items()}
    work = "lockstep.commands.score_parquet"
    if options.model_path:
        resolve_name(f"{work}:score_by_file")(options, root)
        return
    choice = choose(options, variables)
    with looking_up(choice, root, options.tracking_uri) as look_up:
        resolve_name(f"{work}:score_by_registry")(options, look_up)


def parser() -> Parser:
    """Return the command line's parser."""
    top = Parser(prog="score_spark.py", description=__doc__)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    top.add_argument("input", metavar="INPUT", help="a Parquet file or a folder of them", type=path)
    top.add_argument("output", metavar="OUTPUT", help="the folder of the scores", type=path)
    add_model_choice(top)
    add_options(top, OTHER_OPTIONS)
    top.set_defaults(max_rejected=MOST_REJECTED)
    common_options(top, default=None)
    return top


def path(text: str) -> Path:
    """Return a path; UsageError for an address, which only Spark itself could read."""
    if "://" in text:
        fix = "mount it under one path for this machine and all executors, and give that"
        raise UsageError(f"{text} is an address, no path; {fix}")
    return Path(text)


def names(text: str) -> list[str]:
    """Return the names in a list with commas; UsageError if there is none."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise UsageError("--keep names no column; give e.g. --keep id,date")
    return list(dict.fromkeys(found))


def share(text: str) -> float:
    """Return a share from 0 to 1; UsageError otherwise."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise UsageError(f"--max-rejected {text} is no share; give a number from 0 to 1")
    return found


OTHER_OPTIONS = {
    "--threshold": ("P", "decide by this threshold, not the model's own", float),
    "--keep": ("A,B", "the input's columns that OUTPUT holds (default: all)", names),
    "--max-rejected": (
        "SHARE",
        f"fail if more of the rows can't be read (default: {MOST_REJECTED:g})",
        share,
    ),
    "--overwrite": ("", "remove the scores that OUTPUT holds, and begin anew"),
    "--master": (
        "URL",
        "Spark's master, e.g. spark://host:7077 (default: LOCKSTEP_SPARK_MASTER, or this machine)",
    ),
}
