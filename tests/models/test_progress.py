"""The progress line is rewritten in a terminal and stays rare and plain elsewhere."""

import io

import pytest

from lockstep.models import progress
from lockstep.models.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def _train(stream: io.StringIO, clock: list[float]) -> str:
    line = ProgressLine("accidents xgboost", stream, started=100.0)
    for step in range(1, 101):
        clock[0] += 0.125
        line(step, 100, 1 / step)
    line.end("done")
    return stream.getvalue()


def test_a_file_gets_a_plain_line_now_and_then(clock: list[float]) -> None:
    assert _train(io.StringIO(), clock).splitlines() == [
        "accidents xgboost  1/100  early stopping loss 1.0000  0.1 s",
        "accidents xgboost  41/100  early stopping loss 0.0244  5.1 s",
        "accidents xgboost  81/100  early stopping loss 0.0123  10.1 s",
        "accidents xgboost  done  12.5 s",
    ]


def test_a_terminal_gets_one_line_rewritten(clock: list[float]) -> None:
    text = _train(Terminal(), clock)
    assert text.count("\n") == 1
    assert 30 < text.count("\r\x1b[K") <= 52
    assert text.endswith("accidents xgboost  done  12.5 s\n")


def test_a_single_step_has_no_counter(clock: list[float]) -> None:
    stream = io.StringIO()
    ProgressLine("m", stream, started=100.0)(0, 1, None)
    assert stream.getvalue() == "m  fitting  0.0 s\n"
