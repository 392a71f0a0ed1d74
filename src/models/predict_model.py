"""Predict from a file of records; see --help."""

from lockstep.commands.predict_model import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
