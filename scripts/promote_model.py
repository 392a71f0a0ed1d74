#!/usr/bin/env python
"""Put a version of a model into Production, or go through its checklist; see --help."""

from lockstep.commands.promote_model import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
