#!/usr/bin/env python
"""Put a version of a model into Production, or go through its checklist; see --help."""

from lockstep.errors import run_command
from lockstep.pipelines.promote import main

if __name__ == "__main__":
    run_command(main)
