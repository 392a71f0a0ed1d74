"""Train a problem's models, California housing where none is named; see --help."""

from functools import partial

from lockstep.errors import run_command
from lockstep.pipelines.train import main

if __name__ == "__main__":
    run_command(partial(main, "california_housing"))
