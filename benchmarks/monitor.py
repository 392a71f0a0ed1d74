"""What a million logged predictions cost: bytes on disk, seconds and memory of the analysis.

python benchmarks/monitor.py [--rows 1000000] [--labels 0.5] [--days 180] [--batch 1]

The log is written by the API's own code, `--batch` records a request, into a temporary folder. The
model is a registered version; run it in a project with a registered model and its data.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import orjson
import psutil

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.settings import PredictionLogSection
from lockstep.data.values import json_values
from lockstep.features.matrix_columns import ROW
from lockstep.io import read_parquet
from lockstep.monitoring.log_files import Entry, Label
from lockstep.registry.artifact.loading import open_version
from lockstep.registry.artifact.locating import find_version, locate
from lockstep.registry.store.opening import open_registry
from lockstep.serving.prediction_log import PredictionLog

ROOT = Path(__file__).parents[1]
STEP_SECONDS = 0.2


def main() -> None:
    """Write a log, analyse it in a process of its own, print seconds and gigabytes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--labels", type=float, default=0.5, help="share of rows with a label")
    parser.add_argument("--days", type=int, default=180, help="over which the requests are spread")
    parser.add_argument("--batch", type=int, default=1, help="records of a request")
    parser.add_argument("--problem", default="accidents")
    parser.add_argument("--model-name", default="Accident_Prediction_XGBoost")
    parser.add_argument("--version", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "log"
        began = time.monotonic()
        write_log(folder, options)
        written = time.monotonic()
        sizes = {kind: size_of(folder, kind) for kind in ("predictions", "feedback")}
        words = ["--problem", options.problem, "--model-name", options.model_name]
        words += ["--version", str(options.version)]
        environ = {**os.environ, "PREDICTION_LOG": str(folder)}
        code, most = watched(
            [sys.executable, str(ROOT / "scripts" / "monitor.py"), *words], environ
        )
        ended = time.monotonic()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    labels = round(options.rows * options.labels)
    figures = {
        "rows": options.rows,
        "batch": options.batch,
        "bytes_a_prediction": round(sizes["predictions"] / options.rows, 1),
        "bytes_a_label": round(sizes["feedback"] / labels, 1) if labels else None,
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "write_seconds": round(written - began, 1),
        "seconds": round(ended - written, 1),
        "gb": round(most, 2),
        "exit_code": code,
    }
    print(json.dumps(figures))


def size_of(folder: Path, kind: str) -> int:
    """Return the bytes of the log's files of a kind."""
    return sum(path.stat().st_size for path in folder.glob(f"{kind}-*"))


def watched(command: list[str], environ: dict[str, str]) -> tuple[int, float]:
    """Run a command; return its exit code and the most memory of it, in GB."""
    process, most = subprocess.Popen(command, env=environ), 0
    seen = psutil.Process(process.pid)
    while process.poll() is None:
        with suppress(psutil.Error):
            most = max(most, seen.memory_info().rss)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STEP_SECONDS)
    return process.returncode, most / 1e9


def write_log(folder: Path, options: argparse.Namespace) -> None:
    """Write the entries of all requests, and labels for some of their rows."""
    root = project_root()
    client = open_registry(root)
    version = find_version(client, options.model_name, version=options.version)
    model = open_version(locate(client, version, root))
    layout = ProblemLayout(root, options.problem)
    scored = read_parquet(layout.scores(str(version.tag("type"))))
    place = scored.loc[scored["part"] == "test", ROW].to_numpy()
    table = read_parquet(layout.tidy).iloc[place]
    rng = np.random.default_rng(0)
    names, target = model.schema.feature_names, model.schema.target
    columns = [json_values(table[name].tolist()) for name in names]
    bodies = [orjson.dumps(dict(zip(names, r, strict=True))) for r in zip(*columns, strict=True)]
    scores, labels = model.score(table), table[target].astype(int).tolist()
    log = PredictionLog(folder, PredictionLogSection(total_bytes=2**40, waiting_bytes=2**40))
    log.start()
    start = 1_767_225_600_000
    step = options.days * 86_400_000 / options.rows
    chosen = rng.integers(0, len(table), options.rows)
    labelled = rng.random(options.rows) < options.labels
    for number in range(0, options.rows, options.batch):
        places = chosen[number : number + options.batch]
        moment, request = start + int(number * step), f"{number:032x}"
        score, many = scores[places], len(places)
        known = (request, moment, model.name, model.version, model.digest, many, score)
        decided = (score >= model.threshold).astype(int).tolist()
        body = b",".join(bodies[place] for place in places.tolist())
        body = body if options.batch == 1 else b"[%s]" % body
        last = (options.problem, model.threshold, "probability")
        log.add(Entry(*known, decided, body, *last))
        told = np.flatnonzero(labelled[number : number + many]).tolist()
        if told:
            log.label([Label(request, n + 1, labels[places[n]], moment) for n in told])
    log.writer.close(600)


if __name__ == "__main__":
    main()
