"""Score Parquet files with Spark; see --help."""

from lockstep.commands.score_spark import main
from lockstep.errors import run_command

if __name__ == "__main__":
    run_command(main)
