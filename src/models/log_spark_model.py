"""Log a random forest's version for Spark as well; see --help."""

from lockstep.commands.log_spark_model import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
