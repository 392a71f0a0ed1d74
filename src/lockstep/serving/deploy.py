"""Write a folder that serves one version elsewhere, and check it: `make deploy`, `deploy-check`."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from lockstep.config.layout import project_root
from lockstep.console import Parser
from lockstep.errors import DataError, UsageError, run_command


def main() -> int | None:
    """Write a deployment folder; with --check build its environment, start it and ask it."""
    options = parser().parse_args()
    if (options.stage is None) == (options.version is None) and options.bundle is None:
        choices = "--stage STAGE or --version N (or --bundle DIR of an exported one)"
        raise UsageError(f"say which version: {choices}")
    if options.bundle is not None and not (options.bundle / "bundle.json").is_file():
        fix = "make one with `manage_model_registry.py export`"
        raise DataError(f"{options.bundle} is no exported bundle; {fix}")
    from lockstep.serving.deployment import check, export_served, report, write_deployment

    root = project_root()
    with tempfile.TemporaryDirectory(prefix="deploy-") as temporary:
        bundle = options.bundle or export_served(
            root, Path(temporary), options.model_name, options.stage, options.version
        )
        output = options.output or Path(temporary) / "deployment"
        write_deployment(bundle, output, root)
        report(f"{output}: bundle, package, requirements and Dockerfile")
        if options.check:
            check(output, Path(temporary) / "environment")
            report("the deployment serves as it stands")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = Parser(prog="python -m lockstep.serving.deploy", description=__doc__)
    add = top.add_argument
    add("--model-name", metavar="NAME", help="registered model (default: the served problem's)")
    add("--stage", help="its newest version in this stage")
    add("--version", metavar="N", help="this version")
    add("--bundle", type=Path, metavar="DIR", help="an exported bundle")
    add("--output", type=Path, metavar="DIR", help="the folder to write; it must not exist")
    add("--check", action="store_true", help="build its environment, start it, ask it, stop it")
    return top


if __name__ == "__main__":
    run_command(main)
