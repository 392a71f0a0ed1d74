"""What changes against another branch or commit, as Markdown for a pull request.

python -m lockstep.commands.report_diff --base main [--problem NAME] [--output FILE]
                                                              (make report-diff BASE=main)

It compares the files of the project's folder with those of the base: champions, metrics,
parameters, data and code. Git reads the base; nothing is checked out, trained or downloaded.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from lockstep.config.layout import project_root
from lockstep.console import documented_parser
from lockstep.errors import UsageError, run_command
from lockstep.io import write_text


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = documented_parser("python -m lockstep.commands.report_diff", __doc__)
    top.add_argument("--base", default="main", metavar="REVISION", help="a branch, tag or commit")
    top.add_argument("--problem", default="", metavar="NAME", help="one problem alone")
    top.add_argument("--output", default="", metavar="FILE", help="write there, not to the screen")
    return top


def main() -> None:
    """Print the report, or write it into a file."""
    given, root = parser().parse_args(), project_root()
    if not given.base.strip():
        raise UsageError("name what to compare with: make report-diff BASE=main")
    # `--help` needs no pandas.
    from lockstep.reports.revision_report import report

    text = report(root, given.base.strip(), given.problem)
    if given.output:
        write_text(Path(given.output), f"{text}\n")
    else:
        print(text)


if __name__ == "__main__":
    run_command(main)
