"""Train model types through DVC; see --help."""

from lockstep.commands.train_models import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
