"""DVC writes dvc.lock piece by piece: who reads it meanwhile gets whole entries or one error."""

from pathlib import Path

from lockstep.dvc import lineage
from lockstep.dvc.graph import Lock
from lockstep.dvc.lineage import is_settled
from lockstep.errors import ConfigError

TEXT = (Path(__file__).parents[2] / "dvc.lock").read_text()
PLACES = range(3000)


def test_a_lock_that_is_cut_anywhere_is_read_or_refused(tmp_path):
    refused = 0
    for place in PLACES:
        (tmp_path / "dvc.lock").write_text(TEXT[:place])
        try:
            found = Lock.read(tmp_path)
        except ConfigError:
            refused += 1
            continue
        for entry in found.entries.values():
            assert all(isinstance(path, str) for path in (*entry["deps"], *entry["outs"]))
    assert refused > 100


def test_while_it_is_cut_off_nothing_is_settled(tmp_path, monkeypatch):
    def cut_off(*_):
        raise ConfigError("dvc.lock is cut off")

    monkeypatch.setattr(lineage, "is_current", cut_off)
    assert not is_settled(tmp_path, "accidents", "xgboost")
