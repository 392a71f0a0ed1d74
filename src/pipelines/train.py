"""Train a problem's models, California housing where none is named; see --help."""

from functools import partial

from lockstep.commands.train import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(partial(main, "california_housing"))
