"""What a training does beside DVC and after it: publish each model, register, write the report.

    python -m lockstep.commands.train_beside --problem accidents

`make run-train` starts it. A word on its standard input says that DVC has ended well; the end of
the input without it, that it has not, and nothing is registered.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lockstep.config.layout import stage_root
from lockstep.config.pages import page_file
from lockstep.config.params import load_params
from lockstep.console import documented_parser
from lockstep.errors import run_command
from lockstep.registry.store import opening

DONE = b"done"
_PRIORITY = 10


def publish_beside(
    root: Path, problem: str, types: Sequence[str], ended: Callable[[float], bool]
) -> None:
    """Publish each model once its training has ended, until DVC has ended."""
    opening.prepare_store(root)
    # Its import of MLflow takes a second, in which DVC starts.
    from lockstep.registry import publish_models

    publish_models.publish_settled(root, problem, types, ended)


def finish(root: Path, problem: str) -> None:
    """Register what the registry lacks, and write the report."""
    # Their modules take time to import, in which DVC tells a fault already.
    from lockstep.commands.write_report import write_report
    from lockstep.registry import trained_models

    trained_models.register_models(root, problem)
    write_report(root, problem, page_file(root, problem))


class Starter:
    """The command that started this one, by what it writes to the standard input."""

    def __init__(self) -> None:
        self.said: bytes | None = None

    def ended(self, seconds: float) -> bool:
        """Wait so many seconds for the end of DVC; tell whether it came."""
        if self.said is None and select.select([sys.stdin], [], [], seconds)[0]:
            self.said = os.read(sys.stdin.fileno(), len(DONE))
        return self.said is not None


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = documented_parser("python -m lockstep.commands.train_beside", __doc__)
    top.add_argument("--problem", required=True, metavar="NAME", help="a problem of params.yaml")
    return top


def main() -> None:
    """Publish beside DVC; register and report once it has ended well."""
    problem, root, starter = parser().parse_args().problem, stage_root(), Starter()
    # The trainings have the processor first: their threads wait for each other.
    os.nice(_PRIORITY)
    types = load_params(root).problem(problem).model_types
    publish_beside(root, problem, types, starter.ended)
    while not starter.ended(1):
        pass
    if starter.said == DONE:
        finish(root, problem)


if __name__ == "__main__":
    run_command(main)
