"""Train model types through DVC; see --help."""

from lockstep.errors import run_command
from lockstep.pipelines.train_models import main

if __name__ == "__main__":
    run_command(main)
