"""``python -m lockstep.pipelines.train``, the earlier name of ``lockstep.commands.train``."""

from lockstep.commands.train import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
