"""Requests and answers of a real server over one file."""

import json
import os
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.serving.conftest import RECORD, Running, rest_of, wait_until

from lockstep.data.records import records_to_table
from lockstep.models.workspace import load_file
from lockstep.problems.schema import load_schema
from lockstep.serving.prediction_log import predictions_table

MODEL = "models/accidents/xgboost_model.joblib"
ACCIDENTS = load_schema("accidents")


def raw(server: Running, content: bytes, seconds: float = 15) -> bytes:
    """Send bytes as they are and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        connection.sendall(content)
        return rest_of(connection)


def test_a_record_is_answered_as_the_file_prediction_answers_it(server: Running):
    model = load_file(server.root / MODEL, server.root)
    told = server.post("/predict", RECORD)
    assert told.status == 200
    score = float(model.score(records_to_table(ACCIDENTS, [RECORD]))[0])
    assert told.json["probability"] == score
    assert told.json["threshold"] == model.threshold
    assert told.json["decision"] == int(score >= model.threshold)
    assert (
        told.json["meaning"]
        == list(ACCIDENTS.columns["grav"].codes.values())[told.json["decision"]]
    )
    assert told.json["model_digest"] == model.digest
    assert told.json["request_id"] == told.headers["x-request-id"]


@pytest.mark.parametrize("rows", [1, 2, 150, 1000])
def test_a_list_is_answered_row_by_row_with_equal_scores(server: Running, rows: int):
    from tests.models.conftest import make_rows

    table = make_rows(256, seed=5)
    records = [record(line) for line in json.loads(table.to_json(orient="records"))]
    fitting = [one for one in records if server.post("/predict", one).status == 200][:20]
    assert len(fitting) > 3
    wanted = [server.post("/predict", one).json["probability"] for one in fitting]
    told = server.post("/predict", (fitting * rows)[:rows])
    assert told.status == 200
    assert [one["probability"] for one in told.json["predictions"]] == (wanted * rows)[:rows]
    assert [one["row"] for one in told.json["predictions"]] == list(range(1, rows + 1))


def record(line):
    return {name: value for name, value in line.items() if name in ACCIDENTS.feature_names}


def test_an_id_of_the_clients_own_is_kept_and_any_other_replaced(server: Running):
    assert (
        server.post("/predict", RECORD, {"X-Request-ID": "loan-17.a"}).json["request_id"]
        == "loan-17.a"
    )
    for odd in ("a b", "x" * 65, "<script>"):
        found = server.post("/predict", RECORD, {"X-Request-ID": odd}).json["request_id"]
        assert re.fullmatch("[0-9a-f]{24}", found)


def test_contributions_and_base_add_up_to_the_margin(server: Running):
    for content in (RECORD, [RECORD, RECORD]):
        told = server.post("/explain", content)
        assert told.status == 200
        rows = told.json["explanations"] if isinstance(content, list) else [told.json]
        for one in rows:
            assert set(one["contributions"]) == set(ACCIDENTS.feature_names)
            assert one["base"] + sum(one["contributions"].values()) == pytest.approx(
                one["margin"], abs=1e-4
            )
            assert one["probability"] == server.post("/predict", RECORD).json["probability"]


FAULTS = [
    ("unknown code", {**RECORD, "catu": 99}, "catu"),
    ("out of range", {**RECORD, "victim_age": -3}, "victim_age"),
    ("text", {**RECORD, "lat": "north"}, "lat"),
    ("bool", {**RECORD, "hour": True}, "hour"),
    ("unknown field", {**RECORD, "colour": 1}, "colour"),
    ("missing field", {k: v for k, v in RECORD.items() if k != "lum"}, "lum"),
    ("list", {**RECORD, "lat": [1]}, "lat"),
]


@pytest.mark.parametrize(("what", "content", "field"), FAULTS, ids=[f[0] for f in FAULTS])
def test_a_record_that_does_not_fit_is_refused_by_field_value_and_allowed(
    server: Running, what, content, field
):
    told = server.post("/predict", content)
    assert told.status == 422
    fault = next(f for f in told.json["faults"] if f["field"] == field)
    assert fault["row"] == 1
    assert fault["message"]
    assert fault["allowed"]
    assert told.json["request_id"] == told.headers["x-request-id"]


BODIES = [
    ("empty", b"", 400),
    ("cut off", b'{"place": 1', 400),
    ("NaN", json.dumps({**RECORD, "lat": float("nan")}).encode(), 400),
    ("infinite", json.dumps({**RECORD, "lat": float("inf")}).encode(), 400),
    ("1e999", json.dumps(RECORD).encode().replace(b'"lat":', b'"lat": 1e999, "lat_":'), (400, 422)),
    ("not UTF-8", b'{"place": "\xff"}', 400),
    ("deep", b"[" * 100_000 + b"]" * 100_000, (400, 422)),
    ("deep objects", b'{"a":' * 5_000 + b"1" + b"}" * 5_000, (400, 422)),
    ("a number", b"3", 422),
    ("null", b"null", 422),
    ("no record", b"[]", 422),
    ("list of numbers", b"[1, 2]", 422),
    ("10,001 rows", b"[" + b",".join([b"{}"] * 10_001) + b"]", 413),
    ("too large", b'"' + b"x" * 17_000_000 + b'"', 413),
    ("huge", b" " * 100_000_000, 413),
]


@pytest.mark.parametrize("path", ["/predict", "/explain", "/feedback"])
@pytest.mark.parametrize(("what", "body", "status"), BODIES, ids=[b[0] for b in BODIES])
def test_a_malformed_body_has_its_status_and_the_server_lives(
    server: Running, path, what, body, status
):
    told = server.post(path, body)
    allowed = status if isinstance(status, tuple) else (status,)
    if path == "/feedback" and told.status == 400:
        allowed = (*allowed, 400)
    assert told.status in ((*allowed, 413) if path == "/explain" else allowed), told.json
    assert told.json["error"]
    assert server.post("/predict", RECORD).status == 200


def test_content_types(server: Running):
    body = json.dumps(RECORD).encode()
    for good in (
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/ld+json",
    ):
        assert server.ask("POST", "/predict", body, {"Content-Type": good}).status == 200
    for bad in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "",
    ):
        told = server.ask("POST", "/predict", body, {"Content-Type": bad})
        assert (told.status, "application/json" in told.json["error"]) == (415, True)
    told = server.ask(
        "POST", "/predict", body, {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert told.status == 415


def test_paths_and_methods_that_are_none_are_told_in_json(server: Running):
    assert server.get("/predictions").status == 404
    assert "/predict" in server.get("/predictions").json["error"]
    told = server.get("/predict")
    assert (told.status, told.headers["allow"]) == (405, "POST")
    assert server.ask("DELETE", "/health").status == 405
    assert server.ask("HEAD", "/health").status == 200


def test_what_is_no_http_is_refused_and_ends_the_connection(server: Running):
    assert raw(server, b"hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert b"431" in raw(server, b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000).split(b"\r\n")[0]
    assert server.lives()


def test_pages_and_description_come_from_the_server_itself(server: Running):
    page, docs, told = server.get("/"), server.get("/docs"), server.get("/openapi.json")
    assert (page.status, docs.status, told.status) == (200, 200, 200)
    for text in (page.body.decode(), docs.body.decode()):
        linked = re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)
        assert all(not link.startswith(("http", "//")) for link in linked)
        for link in linked:
            if link.startswith("/") and link != "/board":  # hidden: a file has no board
                assert server.get(link).status == 200, link
    example = told.json["components"]["schemas"]["Record"]["example"]
    assert server.post("/predict", example).status == 200


def test_no_request_that_the_description_allows_or_forbids_meets_an_undocumented_answer(
    server: Running, tmp_path
):
    address = f"http://127.0.0.1:{server.port}/openapi.json"
    config = str(Path(__file__).with_name("schemathesis.toml"))
    command = [str(Path(sys.executable).with_name("st")), "--config-file", config, "run", address]
    command += ["--max-examples", "15", "--seed", "1", "--no-color", "--workers", "1"]
    hooks, judged = Path(__file__).with_name("schemathesis_hooks.py"), tmp_path / "judged"
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(hooks), "JUDGED": str(judged)}
    root = hooks.parents[2]  # the hooks import the tests' own tables
    environment["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(root)])
    ended = subprocess.run(
        command,
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[:6000]
    assert "5xx" not in ended.stdout
    answers = judged.read_text().split()
    assert min(answers.count("taken"), answers.count("refused")) > 100  # by API and file alike
    assert server.lives()


def test_each_field_refuses_what_is_no_value_of_it_under_its_own_name(server: Running):
    schema = load_schema("accidents")
    for column in schema.features:
        bad = [[], {}, [RECORD[column.name]], "☃", "1e999"]
        bad += [1e300, "1e300"] if column.codes or column.high is not None else []
        bad += [-1e300, "-1e300"] if column.codes or column.low is not None else []
        bad += [0.123456789, "0.123456789"] if column.codes or column.integer else []
        bad += [True, False] if set(column.codes) != {0, 1} else []
        bad += [] if column.missing else [None, "", "NA"]
        for value in bad:
            told = server.post("/predict", RECORD | {column.name: value})
            assert told.status == 422, (column.name, value)
            assert column.name in told.json["error"], (column.name, value)
        without = {name: value for name, value in RECORD.items() if name != column.name}
        assert server.post("/predict", without).status == 422, column.name
    assert server.post("/predict", RECORD | {"no such column": 1}).status == 422
    assert server.post("/predict", RECORD).status == 200


def test_version_and_health_name_the_model(server: Running):
    version, health = server.get("/version").json, server.get("/health").json
    assert (health["status"], health["ready"], health["source"]["served_from"]) == (
        "ok",
        True,
        "path",
    )
    assert version["model_digest"] == server.post("/predict", RECORD).json["model_digest"]
    assert (version["problem"], version["type"], version["score_scale"]) == (
        "accidents",
        "xgboost",
        "probability",
    )
    assert server.get("/health/ready").status == 200


def test_metrics_count_by_route_and_status(server: Running):
    def count(route: str, status: int) -> float:
        text = server.get("/metrics").body.decode()
        found = re.search(
            rf'lockstep_requests_total{{route="{route}",status="{status}"}} (\S+)', text
        )
        return float(found[1]) if found else 0.0

    before, faults, unknown = count("/predict", 200), count("/predict", 422), count("other", 404)
    server.post("/predict", [RECORD, RECORD])
    server.post("/predict", {})
    server.get("/a/secret/path")
    assert (count("/predict", 200), count("/predict", 422)) == (before + 1, faults + 1)
    assert count("other", 404) == unknown + 1
    text = server.get("/metrics").body.decode()
    assert "lockstep_request_seconds_bucket" in text
    assert "secret" not in text
    assert 'lockstep_model_info{digest="' in text


def test_the_log_has_a_line_a_request_and_nothing_of_what_was_sent(server: Running):
    odd = {**RECORD, "place": 123456789}
    server.post("/predict", odd, {"X-Request-ID": "logged-1"})
    server.get("/?name=somebody")
    wait_until(
        lambda: any(line.get("request_id") == "logged-1" for line in server.lines),
        5,
        "the log's line",
    )
    line = next(line for line in server.lines if line.get("request_id") == "logged-1")
    assert (line["route"], line["status"], line["method"]) == ("/predict", 422, "POST")
    assert line["ms"] > 0
    text = server.log.read_text()
    assert "123456789" not in text
    assert "somebody" not in text


def test_predictions_and_their_labels_are_kept(server: Running):
    told = server.post("/predict", [RECORD, RECORD], {"X-Request-ID": "kept-1"}).json
    assert server.post("/feedback", {"request_id": "kept-1", "row": 2, "label": 1}).status == 202
    folder = server.root / "predictions"

    def kept():
        table = predictions_table(folder)
        rows = table[table["request_id"] == "kept-1"] if len(table) else table
        return rows if len(rows) == 2 and rows["label"].notna().any() else None

    wait_until(lambda: kept() is not None, 5, "the prediction log")
    rows = kept()
    assert rows["score"].tolist() == [one["probability"] for one in told["predictions"]]
    assert rows["lat"].tolist() == [RECORD["lat"]] * 2
    assert rows["label"].tolist()[1] == 1


def test_batches_and_single_records_at_the_same_time_are_answered_as_alone(server: Running):
    other = {**RECORD, "agg_": 3 - RECORD["agg_"]}
    alone = [server.post("/predict", one).json["probability"] for one in (RECORD, other)]
    assert alone[0] != alone[1]

    def ask(number: int) -> bool:
        rows = (1, 2, 1, 1000)[number % 4]  # together, in the loop; and in a thread
        told = server.post("/predict", ([RECORD, other] * rows)[: rows + number % 2])
        found = [one["probability"] for one in told.json["predictions"]]
        return found == (alone * rows)[: rows + number % 2]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(160)))
