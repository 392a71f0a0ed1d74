#!/usr/bin/env python
"""Retrain a problem's models, register them in Staging, release the best; see --help."""

from lockstep.errors import run_command
from lockstep.pipelines.retrain import main

if __name__ == "__main__":
    run_command(main)
