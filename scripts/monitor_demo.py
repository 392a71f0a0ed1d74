"""Two minutes of monitoring: a served model degrades, an alarm comes, a retrain wins, a person
promotes it, and the alarm ends.

    make monitor-demo

Applications of a sample that drifts until the alarm are sent to the real API month by month; labels
arrive for those that were approved. Everything happens in a clone in a temporary folder, which is
removed. Only the clock of the demo's server is not real: it is set to the month that is replayed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import yaml

from lockstep.monitoring.log_files import FEEDBACK, PREDICTIONS, read_tables

ROOT = Path(__file__).resolve().parents[1]
PROBLEM, NAME = "credit_risk", "credit-risk-model"
UNSET = (
    "MLFLOW_TRACKING_URI", "DAGSHUB_REPO", "LOCKSTEP_PUBLISH", "MLFLOW_EXPERIMENT_NAME", "SHADOW",
    "DVC_EXP_NAME", "DVC_ROOT", "DVC_STAGE", "PREDICTION_LOG", "MODEL_PATH", "MODEL_URI", "PORT",
    "MLFLOW_MODEL_NAME", "API_KEYS_FILE", "HOST", "DECISION_THRESHOLD", "APPROVAL_BAND",
)  # fmt: skip
SAMPLE = {"units": 24_000, "months": 12, "last_month": "2024-12", "drift": 2.0, "seed": 2025}
MOST_MONTHS, MONTHS_AFTER = 9, 2
A_REQUEST = 40
LONGEST_WAIT = 180.0
"""Seconds: the challenger's process has a low priority and may start on a busy machine."""
CLOCK, PORT_FILE = "clock", "port"


def main() -> int:
    """Run the demo, or with --server the API whose clock the demo sets."""
    if sys.argv[1:2] == ["--server"]:
        return serve(Path(sys.argv[2]))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as made:
        Demo(Path(made)).run()
    say(f"done in {time.monotonic() - began:.0f} seconds; the clone is removed")
    return 0


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n── {text}", flush=True)


def months_after(last: str, many: int) -> list[str]:
    """Return so many months after one, as YYYY-MM."""
    return [str(np.datetime64(last, "M") + n) for n in range(1, many + 1)]


def months_between(first: Any, last: str) -> int:
    """Return how many months lie between two."""
    return int((np.datetime64(last, "M") - first).astype(int))


class Demo:
    """A clone, the API over its registry, and the months that are replayed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "lockstep"
        self.port = self.requests = 0
        self.settled: str | None = None
        """The month after which nothing changes any more; None while things change."""
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        self.variables = kept | {
            "PYTHONPATH": str(self.root / "src"),
            "LOCKSTEP_ACTOR": os.environ.get("LOCKSTEP_ACTOR", "demo"),
            "SHADOW": "Staging",
        }

    def run(self) -> None:
        """Tell the whole story."""
        self.prepare()
        months = iter(months_after(str(SAMPLE["last_month"]), MOST_MONTHS + 1 + MONTHS_AFTER))
        with self.api():
            alarm = self.until_alarm(months)
            say("After an alarm, --retrain trains on the window up to that month; gates judge it")
            self.monitor(alarm, "--retrain")
            say("The new version is in Staging, so it scores the next month in the shadow")
            self.wait(lambda: self.health()["shadow"].get("version") == 2)
            self.replay(next(months), shadowed=True)
            compare = "manage_model_registry.py compare --version 2 --against 1 --on-traffic"
            self.command(*f"{compare} --model-name {NAME}".split())
            say("A person promotes it; the API follows")
            promote = "promote_model.py --version 2 --archive-current --reason"
            self.command(*promote.split(), "won on unseen rows and in the shadow", last=2)
            self.wait_for_version(2)
            say("Nothing changes further; version 2 answers, and the alarm ends")
            for month in (next(months), next(months)):
                self.replay(month)
            if self.monitor(month) != 0:
                raise SystemExit("the demo failed: version 2 raises an alarm, too")

    def prepare(self) -> None:
        """Clone the project, train a first version, and put it into Production."""
        subprocess.run(["git", "clone", "-q", ROOT, self.root], check=True)
        for key, value in (("name", "demo"), ("email", "demo@example.org")):
            subprocess.run(["git", "config", f"user.{key}", value], cwd=self.root, check=True)
        params = yaml.safe_load((self.root / "params.yaml").read_text())
        (self.root / "params.yaml").write_text(yaml.safe_dump(lightgbm_alone(params)))
        subprocess.run(["git", "commit", "-qam", "a drifting sample"], cwd=self.root, check=True)
        say("A model of 2024's applications is trained and put into Production")
        self.command("-m", "lockstep.commands.train", "--problem", PROBLEM, last=3)
        self.command(*["promote_model.py", "--version", "1", "--reason"], "first release", last=1)

    def until_alarm(self, months: Iterator[str]) -> str:
        """Replay and watch month after month until there is an alarm; return that month."""
        say("Month by month applications are answered, and labels of the approved arrive")
        for _ in range(MOST_MONTHS):
            self.replay(month := next(months))
            if self.monitor(month) == 3:
                self.settled = month
                return month
        raise SystemExit(f"the demo failed: no alarm in {MOST_MONTHS} months")

    # ---- the API --------------------------------------------------------------------------------

    @contextmanager
    def api(self) -> Iterator[None]:
        """Run the API until the block ends."""
        (self.folder / CLOCK).write_text(months_after(str(SAMPLE["last_month"]), 1)[0])
        with (self.folder / "api.log").open("wb") as log:
            started = subprocess.Popen(
                [sys.executable, __file__, "--server", self.folder],
                cwd=self.root, env=self.variables | {"PROBLEM": PROBLEM}, stdout=log, stderr=log,
            )  # fmt: skip
            try:
                self.wait(lambda: (self.folder / PORT_FILE).exists(), started)
                self.port = int((self.folder / PORT_FILE).read_text())
                self.wait(lambda: self.health().get("status") == "ok", started)
                # Its process says so once it has looked at Staging. Requests sent earlier would
                # wait for it, and the version that comes to Staging would score them, too.
                self.wait(lambda: "model" in self.health().get("shadow", {}), started)
                yield
            finally:
                started.terminate()
                started.wait(30)

    def wait(self, ready: Any, started: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until something is so; the log of a server that ended is printed."""
        end = time.monotonic() + LONGEST_WAIT
        while not ready():
            if time.monotonic() > end or (started is not None and started.poll() is not None):
                log = (self.folder / "api.log").read_text()
                raise SystemExit(f"{log[:3000]}\n{self.health()}\nthe demo failed: the API")
            time.sleep(0.1)

    def health(self) -> dict[str, Any]:
        """Return what the API says of itself; nothing before it listens."""
        try:
            return self.asked("/health")
        except OSError:
            return {}

    def wait_for_version(self, version: int) -> None:
        """Wait until a version answers."""
        self.wait(lambda: self.health().get("version") == version)

    def asked(self, path: str, content: Any = None, **headers: str) -> dict[str, Any]:
        """Send one request and return its answer."""
        given = {"Content-Type": "application/json"} | headers
        body = None if content is None else orjson.dumps(content)
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, given)
        with urllib.request.urlopen(request, timeout=30) as got:
            found: dict[str, Any] = orjson.loads(got.read())
            return found

    def replay(self, month: str, shadowed: bool = False) -> None:
        """Send a month's applications, then the outcome of each approved one.

        With ``shadowed`` it waits until the version in Staging has scored all of them.
        """
        table = applications(month, self.settled)
        truth = table.pop("default").to_numpy()
        records = orjson.loads(table.to_json(orient="records"))
        for number, first in enumerate(range(0, len(records), A_REQUEST)):
            (self.folder / CLOCK).write_text(f"{month}-{1 + number % 28:02}")
            part, name = records[first : first + A_REQUEST], f"{month}-{number}"
            answers = self.asked("/predict", part, **{"X-Request-ID": name})["predictions"]
            labels = [
                {"request_id": name, "row": row, "label": int(truth[first + row - 1])}
                for row, answer in enumerate(answers, 1)
                if answer["decision"] == 0
            ]
            self.asked("/feedback", labels)
        self.requests += len(range(0, len(records), A_REQUEST))
        self.wait(lambda: self.logged(PREDICTIONS) == self.logged(FEEDBACK) == self.requests)
        if shadowed:
            self.wait(lambda: self.health()["shadow"].get("rows") == len(records))

    def logged(self, pattern: str) -> int:
        """Return how many requests the prediction log holds of a kind."""
        query = f"SELECT COUNT(DISTINCT request_id) FROM {pattern.partition('-')[0]}"
        folder = self.root / ".lockstep" / "predictions"
        return sum(many for rows in read_tables(folder, pattern, query) for (many,) in rows)

    # ---- commands -------------------------------------------------------------------------------

    def monitor(self, month: str, *more: str) -> int:
        """Watch up to the end of a month; print the lines that matter, return the exit code."""
        until = months_after(month, 1)[0]
        words = f"monitor.py --problem {PROBLEM} --until {until}-01".split()
        done = self.quiet(ROOT / "scripts" / words[0], *words[1:], *more, codes=(0, 3))
        print(f"$ python scripts/{' '.join([*words, *more])}   (exit code {done.returncode})")
        found, _, retrained = done.stdout.partition("Retrained ")
        shown = (f"{month}:", "no alarm", "alarm:", "warning:", "What to do", "  python")
        lines = [line for line in found.splitlines() if line.startswith(shown)]
        lines = [f"Retrained {retrained.rstrip()}"] if retrained else lines
        print("\n".join(lines), flush=True)
        return done.returncode

    def command(self, *words: str, last: int | None = None) -> None:
        """Run a command of the project's and print it with its last lines (default: all)."""
        print(f"$ python {'' if words[0] == '-m' else 'scripts/'}{' '.join(words)}", flush=True)
        start = list(words) if words[0] == "-m" else [str(ROOT / "scripts" / words[0]), *words[1:]]
        done = self.quiet(*start)
        lines = done.stdout.rstrip().splitlines()
        print("\n".join(lines if last is None else lines[-last:]), flush=True)

    def quiet(self, *words: Any, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        """Run Python in the clone; another exit code ends the demo with what was printed."""
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.root, env=self.variables, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode not in codes:
            raise SystemExit(f"{done.stdout}\n{done.stderr}\nthe demo failed: {words}")
        return done


def lightgbm_alone(params: dict[str, Any]) -> dict[str, Any]:
    """Return parameters by which one type is trained, without folds, on the drifting sample."""
    section, key = params["problems"][PROBLEM], f"{PROBLEM}-lightgbm"
    section["source"]["sample"] = dict(SAMPLE)
    section["model_types"] = ["lightgbm"]
    section["split"] |= {"test": 0.1, "validation": 0.1}
    for part in ("train", "search"):
        known = params[part]
        params[part] = {k: v for k, v in known.items() if not k.startswith(PROBLEM) or k == key}
    params["train"][key]["cv_folds"] = 0
    return params


def applications(month: str, settled: str | None) -> pd.DataFrame:
    """Return a month's applications with their outcome, as the API takes them.

    They drift as the sample does, up to month ``settled``; those after it are like that month's.
    """
    from lockstep.problems.credit_risk.sample import FIRST, month_table
    from lockstep.problems.draws import Draws
    from lockstep.problems.schema import load_schema

    units = int(SAMPLE["units"]) // int(SAMPLE["months"])
    drift = float(SAMPLE["drift"])
    if settled is not None:
        drift *= months_between(FIRST, settled) / months_between(FIRST, month)
    table = month_table(Draws(int(SAMPLE["seed"])), month, units, drift)
    names = load_schema(PROBLEM).feature_names
    return table.to_pandas()[[*names, "default"]]


def serve(folder: Path, environ: Mapping[str, str] = os.environ) -> int:
    """Run the API on a free port; the log's times are those of the day that the clock file says."""
    from lockstep.config.layout import project_root
    from lockstep.config.serving import load_serving
    from lockstep.serving.__main__ import take_port
    from lockstep.serving.server import serve as answer

    def time_ns() -> int:
        return int(np.datetime64((folder / CLOCK).read_text(), "ns").astype(np.int64))

    time.time_ns = time_ns
    root = project_root()
    settings = load_serving(root, {**environ, "HOST": "127.0.0.1", "PORT": "0"})
    listening = take_port(settings)
    (folder / PORT_FILE).write_text(str(listening.getsockname()[1]))
    answer(settings, root, listening)
    return 0


if __name__ == "__main__":
    sys.exit(main())
