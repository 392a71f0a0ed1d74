"""Write the report of a problem: one HTML file to look at, without a network or a server.

    make report PROBLEM=accidents
    python -m lockstep.commands.report --problem accidents [--output FILE]

It is built from the files that the stages wrote; nothing is trained or scored. The registry adds
the versions of the models and their moves.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from pkgutil import resolve_name

from lockstep.config.layout import project_root
from lockstep.config.pages import page_file
from lockstep.console import TRACKING_URI, documented_parser
from lockstep.errors import run_command
from lockstep.problems.schema import load_schema


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = documented_parser("python -m lockstep.commands.report", __doc__)
    top.add_argument("--problem", required=True, metavar="NAME", help="a problem of params.yaml")
    top.add_argument("--output", type=Path, metavar="FILE", help="default: reports/NAME.html")
    top.add_argument("--tracking-uri", metavar="URI", help=TRACKING_URI)
    return top


def main() -> None:
    """Write the report and print where it is."""
    given, root = parser().parse_args(), project_root()
    output = given.output or page_file(root, load_schema(given.problem).name)
    write = resolve_name("lockstep.commands.write_report:write_report")
    print(write(root, given.problem, output, given.tracking_uri))


if __name__ == "__main__":
    run_command(main)
