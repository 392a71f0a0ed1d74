"""Train a problem's models on Spark; see --help."""

from functools import partial

from lockstep.commands.train_engines import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(partial(main, "spark"))
