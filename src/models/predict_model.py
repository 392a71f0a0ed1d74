"""Predict from a file of records; see --help."""

from lockstep.errors import run_command
from lockstep.registry.predict import main

if __name__ == "__main__":
    run_command(main)
