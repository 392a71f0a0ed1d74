"""The API beside `mlflow models serve` and BentoML with the same model, and beside an empty route.

Closed-loop clients over loopback send their next request when the last is answered. One run
measures all of them on one machine: `make bench-serve`. BentoML gets an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pyarrow import parquet

sys.path.insert(0, str(Path(__file__).parent))
from costs import write_results
from sides import ALTERNATIVES, ENVIRONMENTS, install

ROOT = Path(__file__).parents[1]
GOALS = (
    "single row at least 25 times mlflow; p50 <= 0.7 ms; 8 clients p99 <= 8 ms; "
    "1,000 rows at least 4 times, and at least 0.8 of the empty route; "
    "a table at least 20 times the rows a second of 1,000 rows in JSON"
)
TABLE_ROWS = 100_000
MLFLOW, BENTOML = "mlflow models serve", "BentoML"
CASES = ((1, 1), (1, 8), (1000, 1))
"""Records a request, and number of clients."""
WARM_UP = 0.25
Case = tuple[str, int, int]


def main() -> int:
    """Measure and report."""
    options = parser().parse_args()
    if options.empty_route:
        return serve_empty(options.problem, options.empty_route)
    from lockstep.config.layout import ProblemLayout
    from lockstep.problems.schema import load_schema

    schema = load_schema(options.problem)
    model = options.model or ProblemLayout(ROOT, options.problem).model("xgboost")
    records = request_rows(schema, 1000)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ours = stack.enter_context(own_server(options.problem, model, Path(folder)))
        several = options.workers
        beside = Path(folder, "several")
        empty = stack.enter_context(empty_server(options.problem))
        sides: dict[str, tuple[int, str, Callable[[list[dict[str, Any]]], Any]]] = {
            "lockstep": (ours, "/predict", lambda rows: rows[0] if len(rows) == 1 else rows),
            "empty route": (empty, "/predict", lambda rows: rows[0] if len(rows) == 1 else rows),
        }
        if several > 1:
            port = stack.enter_context(own_server(options.problem, model, beside, several))
            sides[f"lockstep, {several} workers"] = (port, *sides["lockstep"][1:])
        if not options.without_mlflow:
            theirs = stack.enter_context(mlflow_server(model, Path(folder), schema))
            sides[MLFLOW] = (theirs, "/invocations", split)
            check_equal(ours, records[:50], theirs, *sides[MLFLOW][1:])
        if not options.without_bentoml:
            theirs = stack.enter_context(bentoml_server(model, options.environments))
            sides[BENTOML] = (theirs, "/predict", lambda rows: {"records": rows})
            check_equal(ours, records[:50], theirs, *sides[BENTOML][1:])
        found = measured(sides, records, options.seconds)
        tables = table_speeds(ours, records, max(3, round(options.seconds / 3)))
    report(found, options.seconds)
    alone = booster_speeds(model, schema, records) | own_speeds(options.problem, model, records)
    for name, speed in {**tables, **alone}.items():
        print(f"{name:44}  {speed:21.0f} rows/s")
    if options.output:
        write(options.output, found, {**tables, **alone}, options.seconds)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(description=__doc__)
    top.add_argument("--problem", default="credit_risk")
    top.add_argument(
        "--model",
        type=Path,
        help="model file (default: the problem's xgboost model of this workspace)",
    )
    top.add_argument("--seconds", type=float, default=10.0, help="how long each measurement takes")
    text = "measure a server with so many workers beside the one with one"
    top.add_argument("--workers", type=int, default=1, help=text)
    top.add_argument("--without-mlflow", action="store_true")
    top.add_argument("--without-bentoml", action="store_true")
    where = f"folder of BentoML's environment (default: {ENVIRONMENTS})"
    top.add_argument("--environments", type=Path, default=ENVIRONMENTS, help=where)
    top.add_argument("--output", type=Path, help="a JSON file for the figures, or a folder")
    top.add_argument("--empty-route", type=int, metavar="PORT", help=argparse.SUPPRESS)
    return top


def request_rows(schema: Any, count: int) -> list[dict[str, Any]]:
    """Return valid records: golden rows whose codes and values are all known."""
    from lockstep.data.records import check_record
    from lockstep.errors import DataError
    from lockstep.models.golden_rows import golden_rows

    table = golden_rows(schema, 256, seed=1)
    rows = json.loads(table.to_json(orient="records"))
    columns = {column.name: column for column in schema.features}
    fitting = []
    for row in rows:
        for name, value in row.items():
            codes = columns[name].codes
            if codes and value is not None and value not in codes:
                row[name] = next(iter(codes))
            if value is None and not columns[name].missing:
                row[name] = next(iter(codes), columns[name].low or 1)
        try:
            check_record(schema, row)
        except DataError:
            continue
        fitting.append(row)
    return [fitting[number % len(fitting)] for number in range(count)]


def split(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return rows in the format that MLflow's server reads fastest."""
    data = [[float(v) if isinstance(v, int) else v for v in row.values()] for row in rows]
    return {"dataframe_split": {"columns": list(rows[0]), "data": data}}


@contextmanager
def process(
    command: list[str], ready: Callable[[], bool], cwd: Path = ROOT, **variables: str
) -> Iterator[None]:
    """Run a server until the block ends."""
    with tempfile.TemporaryFile() as log:
        environment = {**os.environ, **variables}
        started = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            end = time.monotonic() + 120
            while not ready():
                if started.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    raise SystemExit(f"{command[:4]} did not start:\n{log.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield
        finally:
            os.killpg(started.pid, 15)
            started.wait(timeout=30)


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def responds(port: int, path: str) -> Callable[[], bool]:
    """Return a function that tells whether a path answers 200."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1) as got:
                return bool(got.status == 200)
        except OSError:
            return False

    return ready


@contextmanager
def own_server(problem: str, model: Path, folder: Path, workers: int = 1) -> Iterator[int]:
    """Run the API as `make serve` does, with prediction log, request log and metrics."""
    port = free_port()
    variables = {
        "PROBLEM": problem,
        "MODEL_PATH": str(model),
        "PORT": str(port),
        "HOST": "127.0.0.1",
        "WORKERS": str(workers),
        "PREDICTION_LOG": str(folder / "predictions"),
        "SERVING_LOG": str(folder / "requests.jsonl"),
        "MLFLOW_TRACKING_URI": "",
        "MLFLOW_MODEL_NAME": "",
        "MODEL_URI": "",
    }
    command = [sys.executable, "-m", "lockstep.serving"]
    with process(command, responds(port, "/health/ready"), **variables):
        yield port


@contextmanager
def empty_server(problem: str) -> Iterator[int]:
    """Run the empty route in a process of its own."""
    port = free_port()
    command = [sys.executable, __file__, "--problem", problem, "--empty-route", str(port)]
    with process(command, responds(port, "/health")):
        yield port


@contextmanager
def mlflow_server(model: Path, folder: Path, schema: Any) -> Iterator[int]:
    """Run `mlflow models serve`, one worker, with the artifact that a registration would write."""
    import joblib
    from mlflow.models import Model

    from lockstep.registry.artifact.packaging import package

    card = json.loads(model.resolve().with_suffix(".json").read_text())
    artifact = folder / "artifact"
    package(joblib.load(model), schema, card).save_model(str(artifact), mlflow_model=Model())
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", str(artifact)]
    command += f"--port {port} --env-manager local --host 127.0.0.1 --workers 1".split()
    with process(command, responds(port, "/ping"), MLFLOW_DISABLE_TELEMETRY="true"):
        yield port


@contextmanager
def bentoml_server(model: Path, environments: Path) -> Iterator[int]:
    """Run `bentoml serve`, one worker, with the pipeline that the stages wrote."""
    source, environment = ALTERNATIVES / "bentoml_service", environments / "bentoml_service"
    install(source, environment)
    port = free_port()
    command = [str(environment / "bin" / "bentoml"), "serve", "service:Predictions"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    variables = {
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "MODEL_PATH": str(model.resolve()),
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
    }
    with process(command, responds(port, "/readyz"), source, **variables):
        yield port


def serve_empty(problem: str, port: int) -> int:
    """Serve a FastAPI route with the same request model and an empty answer."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import Field, create_model

    from lockstep.problems.schema import load_schema

    fields: dict[str, Any] = {}
    for column in load_schema(problem).features:
        kind: Any = float if column.holds_numbers else str
        is_range = column.holds_numbers and not column.codes
        bounds = {"ge": column.low, "le": column.high} if is_range else {}
        fields[column.name] = (kind | None if column.missing else kind, Field(..., **bounds))
    record = create_model("Record", **fields)
    app = FastAPI()

    async def predict(body: record | list[record]) -> dict[str, Any]:  # type: ignore[valid-type]
        return {}

    async def health() -> dict[str, Any]:
        return {}

    predict.__annotations__["body"] = record | list[record]
    app.post("/predict")(predict)
    app.get("/health")(health)
    uvicorn.run(
        app, port=port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )
    return 0


def check_equal(
    ours: int, records: list[dict[str, Any]], theirs: int, path: str, form: Callable[..., Any]
) -> None:
    """Stop unless both servers answer with the same probabilities."""
    predictions = posted(ours, "/predict", records)["predictions"]
    found = [one.get("probability", one.get("prediction")) for one in predictions]
    answer = posted(theirs, path, form(records))
    other = np.asarray(answer["predictions"] if isinstance(answer, dict) else answer, dtype=float)
    expected = other[:, 1] if other.ndim == 2 else other
    gap = float(np.abs(np.asarray(found) - expected).max())
    if gap > 1e-7:
        raise SystemExit(f"the servers' answers differ by up to {gap:g}: nothing to compare")
    print(f"both servers answer alike: {len(found)} probabilities differ by at most {gap:.2g}")


def posted(port: int, path: str, content: Any) -> Any:
    """Send one request and return its answer."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        json.dumps(content).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as got:
        return json.loads(got.read())


def request_bytes(path: str, content: Any) -> bytes:
    """Return a whole request, ready to send."""
    body = json.dumps(content, separators=(",", ":")).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Client:
    """One closed loop over one connection."""

    def __init__(self, port: int, messages: list[bytes], first: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.messages, self.next = messages, first
        self.times: list[float] = []
        self.send()

    def send(self) -> None:
        """Send the next request."""
        self.got, self.wanted = bytearray(), 0
        self.began = time.perf_counter()
        self.socket.sendall(self.messages[self.next % len(self.messages)])
        self.next += 1

    def receive(self) -> None:
        """Take what has arrived; after a whole answer send the next request."""
        self.got += self.socket.recv(1 << 20)
        if not self.wanted and (end := self.got.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.got[:end]).lower()
            if not head.startswith(b"http/1.1 200"):
                raise SystemExit(f"a request failed: {bytes(self.got[:400])!r}")
            found = re.search(rb"content-length: (\d+)", head)
            assert found is not None, head
            self.wanted = end + 4 + int(found[1])
        if self.wanted and len(self.got) >= self.wanted:
            self.times.append(time.perf_counter() - self.began)
            self.send()


def closed_loop(
    port: int, messages: list[bytes], clients: int, seconds: float, first: int
) -> list[float]:
    """Return each request's seconds, after a quarter of a second to warm up."""
    waiting = selectors.DefaultSelector()
    all_ = [Client(port, messages, first + number * 7) for number in range(clients)]
    for client in all_:
        waiting.register(client.socket, selectors.EVENT_READ, client)
    begin = time.perf_counter() + WARM_UP
    warm, end = True, begin + seconds
    while (now := time.perf_counter()) < end:
        if warm and now >= begin:
            warm = False
            for client in all_:
                client.times.clear()
        for key, _ in waiting.select(1):
            key.data.receive()
    for client in all_:
        client.socket.close()
    return [taken for client in all_ for taken in client.times]


def measured(
    sides: dict[str, Any],
    records: list[dict[str, Any]],
    seconds: float,
    cases: Sequence[tuple[int, int]] = CASES,
    settle: Callable[[], None] = lambda: None,
) -> dict[Case, list[list[float]]]:
    """Measure every side in every case, in turns of a second, so slow seconds hit all alike.

    Every other round is in reverse, so each side comes first as often. Return the seconds of each
    turn's requests. ``settle`` runs before each turn.
    """
    found: dict[Case, list[list[float]]] = {}
    for rows, clients in cases:
        parts = [records[i : i + rows] for i in range(0, min(len(records), 200 * rows), rows)]
        messages = {
            name: [request_bytes(path, form(part)) for part in parts]
            for name, (_, path, form) in sides.items()
        }
        for turn in range(round(seconds)):
            for name, (port, _, _) in list(sides.items())[:: -1 if turn % 2 else 1]:
                settle()
                times = closed_loop(port, messages[name], clients, 1.0, turn)
                found.setdefault((name, rows, clients), []).append(times)
    return found


def arrow_bytes(records: list[dict[str, Any]]) -> bytes:
    """Return ``TABLE_ROWS`` rows as an Arrow stream."""
    table = table_of(records)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def table_of(records: list[dict[str, Any]]) -> pa.Table:
    """Return records, over and over, as a table of ``TABLE_ROWS`` rows."""
    return pa.Table.from_pylist([records[n % len(records)] for n in range(TABLE_ROWS)])


def table_speeds(port: int, records: list[dict[str, Any]], turns: int) -> dict[str, float]:
    """Return rows a second by client wall time, medians of turns: 1,000 in JSON, and tables."""
    packed = pa.BufferOutputStream()
    parquet.write_table(table_of(records), packed)
    arrow, one = arrow_bytes(records), f"lockstep, {TABLE_ROWS:,} rows"
    bodies = {
        "lockstep, 1,000 rows in JSON": (json.dumps(records[:1000]).encode(), "json", 1000, 20),
        f"{one} in Arrow": (arrow, "vnd.apache.arrow.stream", TABLE_ROWS, 1),
        f"{one} in Parquet": (packed.getvalue(), "vnd.apache.parquet", TABLE_ROWS, 1),
    }
    found: dict[str, list[float]] = {name: [] for name in bodies}
    for turn in range(turns + 1):
        for name, (body, kind, rows, times) in list(bodies.items())[:: -1 if turn % 2 else 1]:
            began = time.perf_counter()
            for _ in range(times):
                sent(port, bytes(body), kind)
            found[name].append(times * rows / (time.perf_counter() - began))
    return {name: float(np.median(speeds[1:])) for name, speeds in found.items()}


def own_speeds(problem: str, model: Path, records: list[dict[str, Any]]) -> dict[str, float]:
    """Return rows a second of the API's own work in this process: all but the estimator.

    It is the processor time of one thread, so that other work on the machine disturbs less.
    """
    from lockstep.config.serving import load_serving
    from lockstep.serving.http_request import ARROW_STREAM
    from lockstep.serving.loaded_model import prepare
    from lockstep.serving.model_source import open_path
    from lockstep.serving.responses import predictions
    from lockstep.serving.table_answers import TableAnswer, outcome_columns
    from lockstep.serving.table_bodies import open_table

    settings = load_serving(ROOT, {"PROBLEM": problem, "MODEL_PATH": str(model.resolve())})
    served = prepare(open_path(settings, ROOT, ask=False), settings)
    body, arrow = json.dumps(records).encode(), arrow_bytes(records)
    plain = served.reader.read(body, len(records))
    scores = served.scorer.score(plain.columns, plain.rows)
    many = np.resize(scores, TABLE_ROWS)

    def in_json() -> None:
        read = served.reader.read(body, len(records))
        served.scorer.encode(read.columns, read.rows)
        predictions(served, read, scores).reply("")

    def in_arrow() -> None:
        read = served.tables.read(open_table(arrow, ARROW_STREAM, settings.limits))
        served.scorer.encode(read.columns, read.rows)
        answer = TableAnswer(served, read, many, outcome_columns(served, many))
        answer.reply("")
        len(answer.records)  # what the log keeps is made of the columns

    own = time.thread_time
    return {
        "own work, 1,000 rows in JSON": len(records) / median_seconds(in_json, own),
        f"own work, {TABLE_ROWS:,} rows in Arrow": TABLE_ROWS / median_seconds(in_arrow, own),
    }


def sent(port: int, body: bytes, kind: str) -> bytes:
    """Send one body and return the whole answer."""
    headers = {"Content-Type": f"application/{kind}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, headers)
    with urllib.request.urlopen(request, timeout=60) as got:
        return bytes(got.read())


def booster_speeds(model: Path, schema: Any, records: list[dict[str, Any]]) -> dict[str, float]:
    """Return rows a second in this process: the estimator alone, and parsing JSON alone."""
    from lockstep.data.records import records_to_table
    from lockstep.models.scoring.scorer import columns_of
    from lockstep.models.workspace import load_file

    scorer = load_file(model, ROOT).scorer
    columns = columns_of(schema, records_to_table(schema, records))
    encoded = scorer.encode(columns, len(records))
    body = json.dumps(records).encode()
    many = np.tile(encoded, (TABLE_ROWS // len(records), 1))
    works: dict[str, tuple[Callable[[], Any], int]] = {
        "the estimator alone, 1 row": (lambda: scorer.model.score(encoded[:1]), 1),
        "the estimator alone, 1,000 rows": (lambda: scorer.model.score(encoded), len(records)),
        f"the estimator alone, {TABLE_ROWS:,} rows": (lambda: scorer.model.score(many), len(many)),
        "JSON parsing alone, 1,000 rows": (lambda: orjson.loads(body), len(records)),
    }
    return {name: rows / median_seconds(work) for name, (work, rows) in works.items()}


def median_seconds(
    work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how long a call takes: the median of those within a second, three at least."""
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < 1:
        began = clock()
        work()
        taken.append(clock() - began)
    return float(np.median(taken))


def write(
    path: Path, found: dict[Case, list[list[float]]], speeds: dict[str, float], seconds: float
) -> None:
    """Write the figures as JSON: each case's speed, quantiles, and spread over its turns."""
    cases = []
    for (name, rows, clients), turns in found.items():
        times = [one for turn in turns for one in turn]
        p50, p99 = (1000 * np.quantile(times, [0.5, 0.99])).tolist()
        medians = [1000 * float(np.median(turn)) for turn in turns if turn]
        case = {"side": name, "rows": rows, "clients": clients, "p50_ms": p50, "p99_ms": p99}
        case |= {"requests_per_second": len(times) / round(seconds), "p50_ms_by_turn": medians}
        cases.append(case)
    write_results(path, "serving", {"cases": cases, "rows_per_second": speeds, "goals": GOALS})


def report(found: dict[Case, list[list[float]]], seconds: float) -> None:
    """Print the measurements and the ratios to the goals."""
    print(f"{'':44}  requests/s    rows/s   p50 ms   p99 ms")
    joined = {case: [one for turn in turns for one in turn] for case, turns in found.items()}
    speeds = {case: len(times) / round(seconds) for case, times in joined.items()}
    for (name, rows, clients), speed in speeds.items():
        p50, p99 = 1000 * np.quantile(joined[name, rows, clients], [0.5, 0.99])
        title = f"{name}, {rows} rows, {clients} clients"
        print(f"{title:44}  {speed:10.1f}  {speed * rows:8.0f}  {p50:7.2f}  {p99:7.2f}")
    for other, (rows, clients) in product((MLFLOW, BENTOML), CASES):
        if (other, rows, clients) in speeds:
            ratio = speeds["lockstep", rows, clients] / speeds[other, rows, clients]
            print(f"{rows} rows, {clients} clients: {ratio:.1f} times {other}")
    print(f"goals: {GOALS}")


if __name__ == "__main__":
    sys.exit(main())
