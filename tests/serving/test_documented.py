"""What docs/api.md says is so: commands, answers, statuses, settings, metrics, limits."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import Any

from tests.serving.conftest import PROJECT, Answer, Followed, Running

from lockstep.config import serving as settings
from lockstep.config.settings import LimitsSection
from lockstep.problems.schema import load_schema
from lockstep.serving import request_parsing as records
from lockstep.serving.connection_limits import HEADER_BYTES, HEADER_SECONDS
from lockstep.serving.openapi import openapi

PAGE = (PROJECT / "docs/api.md").read_text()
EXAMPLES = re.findall(r"^(curl .*)\n(\{(?:.*\n)*?)(?=curl|```)", PAGE, re.MULTILINE)
OF_A_FILE = {"version", "run_id"}
"""What is null where a file answers."""


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def run_curl(server: Running, command: str) -> Answer:
    """Do what a curl command says, at a server of ours."""
    words = shlex.split(command)
    assert words[:2] == ["curl", "-s"]
    path = words[2].removeprefix("localhost:8000")
    options = dict(zip(words[3::2], words[4::2], strict=True))
    name, _, value = options.pop("-H").partition(": ")
    body = (PROJECT / options.pop("-d").removeprefix("@")).read_bytes()
    assert not options
    return server.ask("POST", path, body, {name: value})


def of_one_kind(told: Any, found: Any, where: str, free: frozenset[str] = frozenset()) -> None:
    """Compare names and kinds, in order for what every answer has; … stands for more of a kind."""
    if where.rpartition(".")[2] in free and found is None:
        return
    assert type(told) is type(found), (where, told, found)
    if isinstance(told, list):
        for one in found:
            of_one_kind(told[0], one, f"{where}[]", free)
    if not isinstance(told, dict):
        return
    if "…" in told:
        assert set(told) - {"…"} <= set(found), where
        assert {type(value) for value in found.values()} == {type(told["…"])}
        return
    assert sorted(told) == sorted(found), where
    for name, value in told.items():
        of_one_kind(value, found[name], f"{where}.{name}", free)


def test_the_examples_of_credit_risk_are_answered_as_they_are_shown(credit_server: Running):
    shown = [(command, json.loads(text)) for command, text in EXAMPLES if "credit_risk" in command]
    assert [shlex.split(command)[2] for command, _ in shown] == [
        "localhost:8000/predict",
        "localhost:8000/explain",
    ]
    words = load_schema("credit_risk").decisions
    for command, told in shown:
        found = run_curl(credit_server, command)
        assert found.status == 200
        of_one_kind(told, found.json, "answer", frozenset(OF_A_FILE))
        assert found.json["threshold"] == told["threshold"] == 0.4542
        for one in (told, found.json):
            assert one["decision"] == int(one["probability"] >= one["threshold"])
            assert one["meaning"] == words[one["decision"]]
    of_one = found.json
    assert found.json["model"] == credit_server.variables["MODEL_PATH"]
    several = credit_server.post(
        "/explain",
        [json.loads((PROJECT / "src/models/test_features_credit_risk.json").read_text())],
    )
    (row,) = several.json["explanations"]
    assert row == {"row": 1, **{name: of_one[name] for name in row if name != "row"}}


def test_the_example_of_accidents_is_answered_as_it_is_shown(followed: Followed):
    ((command, text),) = [one for one in EXAMPLES if "credit_risk" not in one[0]]
    told, found = json.loads(text), run_curl(followed.server, command)
    assert found.status == 200
    of_one_kind(told, found.json, "answer")
    meanings = list(load_schema("accidents").columns["grav"].codes.values())
    assert (told["meaning"], found.json["meaning"]) == (
        meanings[1],
        meanings[found.json["decision"]],
    )


def test_each_route_that_is_told_is_there_and_each_that_is_there_is_told(server: Running):
    told = {(method, path) for method, path in re.findall(r"`(GET|POST) (/\S*?)`", PAGE)}
    told |= {("GET", path) for path in re.findall(r"`(/[\w./]*)`", PAGE.partition("## ")[0])}
    told -= {("GET", path) for method, path in told if method == "POST"}
    described = server.get("/openapi.json").json["paths"]
    known = {(method.upper(), path) for path, ways in described.items() for method in ways}
    assert told == known | {("GET", path) for path in ("/docs", "/openapi.json", "/", "/board")}
    assert server.get("/board").status == 404  # a server over a file has no registry to show
    for method, path in told - {("GET", "/board")}:
        assert server.ask(method, path).status == (415 if method == "POST" else 200), path


def test_each_status_that_is_told_is_described_and_each_described_one_is_told():
    rows = re.findall(r"^\| ([\d, ]+) \|", section("What is refused"), re.MULTILINE)
    told = {status for row in rows for status in row.split(", ")}
    paths = openapi(load_schema("accidents"), LimitsSection())["paths"]
    described = {
        status for ways in paths.values() for way in ways.values() for status in way["responses"]
    }
    nowhere = {"404", "405"}  # of paths and methods that are not described
    assert told == {status for status in described if status >= "4"} | nowhere


def test_each_variable_that_is_told_is_read_and_each_that_is_read_is_told(tmp_path, monkeypatch):
    read: set[str] = set()

    class Listening(dict):
        def get(self, name: str, default: Any = None) -> Any:
            read.add(name)
            return super().get(name, default)

    monkeypatch.setattr(settings, "environment", lambda *_: Listening())
    settings.load_serving(tmp_path, {})
    told = set(re.findall(r"`([A-Z][A-Z_]{3,})\b[^`]*`", PAGE)) - {"POST", "SIGTERM"}
    assert told == read


def test_the_defaults_that_are_told_are_those_in_force(tmp_path):
    found = settings.load_serving(tmp_path, {})
    for told in (
        f"`HOST` ({found.host})",
        f"`PORT` ({found.port}; ",
        f"`PROBLEM` ({found.problem})",
        f"`WORKERS` ({found.workers})",
    ):
        assert told in section("Settings")


def test_the_limits_that_are_told_are_those_in_force():
    limits, text = LimitsSection(), " ".join(PAGE.split())
    assert (
        f"`MAX_BODY_BYTES` ({limits.body_bytes // 2**20} MiB) or `MAX_ROWS` ({limits.rows:,})"
        in text
    )
    assert f"a list of up to {limits.rows:,}" in text
    assert f"`MAX_TABLE_ROWS` ({limits.table_rows:,})" in text
    assert f"`MAX_TABLE_BYTES` ({limits.table_bytes // 2**20} MiB)" in text
    assert f"takes up to {limits.explain_rows:,} records" in text
    assert f"(headers: {HEADER_SECONDS:g} s); headers above {HEADER_BYTES // 1024} KiB" in text
    assert f"at most {records.MOST_FAULTS}" in text
    for scale in settings.SCALES:
        assert f"`{scale}`" in text


def test_each_metric_that_is_told_is_there_and_each_that_is_there_is_told(server: Running):
    text = server.get("/metrics").body.decode()
    known = {
        name
        for name in re.findall(r"^# TYPE lockstep_(\w+) ", text, re.MULTILINE)
        if not name.endswith("_created")
    }
    told = section("Settings").partition("**Metrics**")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([a-z_]+)`", told.partition("before:")[2])) == known
    assert "process_resident_memory_bytes" in text


def test_a_fault_names_what_the_page_says(server: Running):
    told = server.post("/predict", {"nothing": 1}).json
    named = re.search(r"\| 422 \| .*?`faults` with ([^,]+(?:, `\w+`)*)", PAGE)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) == set(told["faults"][0])
    assert set(told) == {"error", "request_id", "faults"}


def test_a_key_is_made_as_the_page_says(tmp_path):
    (command,) = set(re.findall(r"`(python -m lockstep\.serving --new-key NAME)`", PAGE))
    ended = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    key, line = re.findall(r": (\S+)$", ended.stdout, re.MULTILINE)
    (tmp_path / "keys").write_text(line)
    from lockstep.serving.api_keys import ApiKeys

    assert ApiKeys(tmp_path / "keys").name_of(key) == "NAME"


def test_targets_and_functions_that_the_page_names_are_there():
    makefile = (PROJECT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([\w-]+)", PAGE)):
        assert f"\n{target}:" in makefile
    from lockstep.serving.prediction_log import predictions_table

    assert f"{predictions_table.__module__}.{predictions_table.__name__}(folder)" in PAGE
