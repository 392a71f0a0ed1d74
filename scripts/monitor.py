#!/usr/bin/env python
"""Watch a served model: drift, performance as labels arrive, alarms; see --help."""

from lockstep.commands.monitor import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
