#!/usr/bin/env python
"""Retrain a problem's models, register them in Staging, release the best; see --help."""

from lockstep.commands.retrain_model import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
