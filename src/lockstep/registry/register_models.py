"""Stage register: every model of the workspace has its version in the registry.

It runs at every repro, asks the registry each time and publishes what is missing, also models that
DVC took from its cache. It fails if the server can't be reached.
"""

from __future__ import annotations

import argparse

from lockstep.config.layout import stage_root
from lockstep.errors import run_command


def main() -> None:
    """Parse the command line and register."""
    parser = argparse.ArgumentParser(
        prog="python -m lockstep.registry.register_models", description=__doc__
    )
    parser.add_argument("--problem", help="only this problem of params.yaml (default: all)")
    parser.add_argument(
        "--models", nargs="+", metavar="TYPE", help="only these model types (default: all declared)"
    )
    arguments = parser.parse_args()
    # --help needs no pandas.
    from lockstep.registry.trained_models import register_models

    register_models(stage_root(), arguments.problem, arguments.models)


if __name__ == "__main__":
    run_command(main)
