"""`make repro` runs DVC itself, with a preloaded process where something seems to be trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep.commands import repro, train_models
from lockstep.dvc import repro as dvc

ROOT = Path(__file__).parents[2]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked: the preloaded libraries or None, then DVC's words and variables."""
    for name in ("dvc.yaml", "params.yaml", "dvc.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.chdir(tmp_path)
    calls: list[Any] = []

    @contextmanager
    def preloaded(libraries: Sequence[str], wanted: bool) -> Iterator[Any]:
        calls.append(set(libraries) if wanted else None)
        yield SimpleNamespace(variables={"PATH": "here"}) if wanted else None

    monkeypatch.setattr(train_models, "preloaded", preloaded)
    monkeypatch.setattr(dvc, "repro", lambda _, *words, variables: calls.append((words, variables)))
    return calls


def run(monkeypatch: pytest.MonkeyPatch, *targets: str) -> None:
    monkeypatch.setattr("sys.argv", ["repro", *targets])
    repro.main()


def test_where_all_has_run_nothing_is_preloaded(asked, monkeypatch):
    run(monkeypatch)
    assert asked == [None, ((), {})]


def test_where_a_parameter_changed_all_libraries_are_preloaded(asked, monkeypatch):
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("{alpha: 10.0,", "{alpha: 11.0,"))
    run(monkeypatch, "compare@accidents", "register")
    assert asked[0] >= {"sklearn", "xgboost", "lightgbm"}
    assert asked[1] == (("compare@accidents", "register"), {"PATH": "here"})


def test_variables_of_the_caller_stay(asked):
    train_models.repro_preloaded(Path(), ["xgboost"], ["x"], variables={"A": "b"})
    assert asked == [{"xgboost"}, (("x",), {"PATH": "here", "A": "b"})]
