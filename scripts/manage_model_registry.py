#!/usr/bin/env python
"""Look at the model registry and move versions between stages; see --help."""

from lockstep.commands.manage_registry import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
