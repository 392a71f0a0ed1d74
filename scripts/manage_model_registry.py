#!/usr/bin/env python
"""Look at the model registry and move versions between stages; see --help."""

from lockstep.errors import run_command
from lockstep.registry.manage import main

if __name__ == "__main__":
    run_command(main)
