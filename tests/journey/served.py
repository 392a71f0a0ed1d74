"""The API as a reader of the docs starts it, asks it, and stops it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket

import pytest
from tests.journey.conftest import Project
from tests.journey.faults import stopped


def answers_while_served(project: Project, serve: str, asked: list[str]) -> list[dict]:
    """Serve as typed, on a free port; return the commands' answers before Ctrl-C ends it."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    log, answers = project.folder.parent / "terminal.txt", []

    def answered() -> bool:
        found = re.search(r" at http://(127.0.0.1:(\d+))", log.read_text())
        if not found or not listens(int(found[2])):
            return False
        answers.extend(
            json.loads(project.run(c.replace("localhost:8000", found[1]))) for c in asked
        )
        return True

    code, output = stopped(project, serve, log, answered, PORT="0")
    assert code in (0, -signal.SIGINT)
    assert output.splitlines()[-1].endswith('"event":"stopped"}')
    return answers


def listens(port: int) -> bool:
    """Tell whether somebody takes connections: the address is printed a moment before."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
