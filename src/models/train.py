"""Train a problem's models by the engine that the environment names; see --help."""

from lockstep.commands.train_engines import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
