"""Run `dvc repro`, its stages in forks of one process that has imported the libraries.

    python -m lockstep.commands.repro                       (all stages; `make repro`)
    python -m lockstep.commands.repro compare@accidents     (what DVC takes as a target)

Stages, output and outputs are those of `dvc repro`.
"""

from __future__ import annotations

from lockstep.commands.train_models import check_registration, repro_preloaded
from lockstep.config.layout import stage_root
from lockstep.config.params import load_params
from lockstep.console import documented_parser
from lockstep.dvc.lineage import have_run, training_stage
from lockstep.errors import run_command


def main() -> None:
    """Parse the command line, then let DVC work."""
    parser = documented_parser("python -m lockstep.commands.repro", __doc__)
    what = "a stage or an output, as DVC takes it (default: all stages)"
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=what)
    targets, root = parser.parse_args().targets, stage_root()
    check_registration(root)
    problems = load_params(root).problems
    types = [(problem, name) for problem, own in problems.items() for name in own.model_types]
    # Where all stages have run with today's parameters, mostly none runs.
    wanted = not have_run(root, (training_stage(*one) for one in types))
    repro_preloaded(root, (name for _, name in types), targets, wanted)


if __name__ == "__main__":
    run_command(main)
