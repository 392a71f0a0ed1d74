"""Watch a served model: drift, performance as labels arrive, alarms, and what to do next.

    python scripts/monitor.py --problem credit_risk
    python scripts/monitor.py --problem credit_risk --since 2026-03-01 --until 2026-06-01
    python scripts/monitor.py --problem accidents --input rows.csv --model-name NAME
    python scripts/monitor.py --problem credit_risk --retrain    (only after an alarm)

It reads the API's prediction log, or a table of rows with --input, and compares them with the
reference of the version that answered. It writes a page, JSON and Prometheus' text, and logs a run
that is linked to the version. Times are UTC. Exit code 3: there is an alarm.
"""

from __future__ import annotations

import datetime
import os
import time
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from lockstep.config.layout import project_root
from lockstep.config.monitoring import DAY_MS
from lockstep.config.serving import load_serving
from lockstep.console import add_options, documented_parser
from lockstep.errors import UsageError, run_command, unknown
from lockstep.problems.schema import problem_names
from lockstep.registry.store.names import check_name, check_version

ANY = 2**62
"""Milliseconds before and after 1970 that hold any day."""
ALARM_CODE = 3
"""The exit code of an alarm; a faulty command ends with 1 or 2."""


@dataclass(frozen=True)
class MonitorOptions:
    """The options of the command; ``since`` and ``until`` in milliseconds since 1970."""

    problem: str
    """Empty with ``keep``: every problem's."""
    since: int
    until: int
    input: Path | None = None
    model_name: str | None = None
    version: int | None = None
    retrain: bool = False
    keep: bool = False


def main() -> int:
    """Parse the command line, analyse, write, print; return 3 if there is an alarm."""
    options = read_arguments()
    root = project_root()
    if options.keep:
        os.nice(10)  # the API starts it, and answers meanwhile
        print(resolve_name("lockstep.commands.monitor_report:keep_days")(root, options))
        return 0
    found = resolve_name("lockstep.commands.monitor_report:monitor")(root, options)
    print(found.summary, flush=True)
    if options.retrain:
        print(resolve_name("lockstep.commands.monitor_report:retrained")(root, found))
    return ALARM_CODE if found.alarms else 0


def read_arguments() -> MonitorOptions:
    """Return the command line's options; UsageError for impossible ones."""
    parser = documented_parser("python scripts/monitor.py", __doc__)
    add_options(parser, OPTIONS)
    given = parser.parse_args()
    given.problem = given.problem or ("" if given.keep else load_serving(project_root()).problem)
    if given.problem and given.problem not in problem_names():
        raise UsageError(unknown("problem", given.problem, problem_names()))
    if given.version is not None and given.model_name is None:
        raise UsageError("--version needs --model-name, as numbers belong to a name")
    # A table may hold days of any time; the log holds none before 1970, or of tomorrow.
    first, last = (0, round(time.time() * 1000) + DAY_MS) if given.input is None else (-ANY, ANY)
    since = first if given.since is None else given.since
    until = last if given.until is None else given.until
    if given.until is not None and until <= since:
        raise UsageError("--until must be later than --since")
    return MonitorOptions(**{**vars(given), "since": since, "until": until})


def moment(text: str) -> int:
    """Return a date or time as milliseconds since 1970; without a zone it is UTC."""
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is no date; give YYYY-MM-DD, or 2026-03-01T12:00+01:00"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    return round(found.timestamp() * 1000)


OPTIONS = {
    "--problem": ("NAME", "the problem of the served model (default: the one that is served)"),
    "--since": ("DATE", "first day (default: the log's first)", moment),
    "--until": ("DATE", "the day after the last one (default: now)", moment),
    "--input": ("FILE", "a table of rows to analyse in place of the log", Path),
    "--model-name": ("NAME", "registered model (default: the one that answered last)", check_name),
    "--version": (
        "N",
        "its version (default: the one that answered last; with --input, the one in Production)",
        check_version,
    ),
    "--keep": ("", "keep the counts of the log's days (default: of all problems); analyse nothing"),
    "--retrain": ("", "after an alarm, retrain on newer data; a person promotes"),
}

if __name__ == "__main__":
    run_command(main)
