"""Before the log deletes files, the counts of their days are kept."""

import os

import pandas as pd
import pytest
from tests.serving.conftest import BUSY, LOCAL, UNSET, wait_until

from lockstep.config.settings import PredictionLogSection
from lockstep.monitoring.log_files import PREDICTIONS
from lockstep.serving import day_keeper
from lockstep.serving.day_keeper import DayKeeper, day_after
from lockstep.serving.prediction_log import PredictionLog

SMALL = PredictionLogSection(total_bytes=65_536, file_bytes=65_536)
MONTHS = ("2026-01", "2026-02", "2026-03")


@pytest.fixture
def local(monkeypatch):
    """Hear no settings of the environment, as the API of a test."""
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in LOCAL.items():
        monkeypatch.setenv(name, value)


def files(served):
    return sorted(served.folder.glob(PREDICTIONS))


@pytest.mark.long
@pytest.mark.usefixtures("local")
def test_days_that_the_log_deletes_by_itself_stay_known(served):
    for month in MONTHS[:2]:
        (entry, *_) = served.answer(month)
    old = files(served)
    entry = entry._replace(time_ms=pd.Timestamp("2026-04-01", tz="UTC").value // 10**6)
    log = PredictionLog(served.folder, SMALL, DayKeeper(served.root))
    log.start()

    def deleted():
        log.add(entry._replace(request_id=str(len(os.listdir(served.folder)))))
        return not any(path.exists() for path in old)

    wait_until(deleted, 60, "the log's deletion of its oldest files")
    log.writer.close()
    assert log.keeper.failures == 0
    served.answer(MONTHS[2])
    served.run()
    rows = {month["month"]: month["rows"] for month in served.report["months"]}
    assert rows.pop("2026-04") > 0
    assert rows == {month: len(served.new(month)) for month in MONTHS}


@pytest.fixture
def failing(served, local, monkeypatch):
    """A keeper whose first counting has failed."""
    monkeypatch.setattr(day_keeper, "AGAIN_SECONDS", 3600.0)
    served.answer("2026-01")
    monkeypatch.setattr(day_keeper, "MODULE", "lockstep.commands.no_such_command")
    keeper = DayKeeper(served.root)
    assert keeper.kept(files(served)) == []
    keeper._process.wait(BUSY * 60)
    return keeper


def test_a_counting_that_fails_is_done_again_after_a_while(failing, served, monkeypatch):
    paths = files(served)
    assert [failing.kept(paths), failing.kept(paths)] == [[], []]
    assert (failing.failures, failing._process) == (1, None)
    monkeypatch.setattr(day_keeper, "AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(day_keeper, "MODULE", "lockstep.commands.monitor")
    failing._first -= day_keeper.LONGEST_SECONDS  # nothing was logged for long meanwhile
    assert [failing.kept(paths), failing.kept(paths)] == [[], []]
    assert failing._process.wait(BUSY * 60) == 0
    assert failing.kept(paths) == paths
    assert failing.failures == 1


def test_what_can_not_be_counted_for_long_goes_all_the_same(failing, served, monkeypatch):
    monkeypatch.setattr(day_keeper, "LONGEST_SECONDS", 0.0)
    assert failing.kept(files(served)) == files(served)
    assert failing.failures == 1


def test_a_counting_that_hangs_is_ended(served, monkeypatch):
    served.answer("2026-01")
    keeper = DayKeeper(served.root)
    monkeypatch.setattr(day_keeper.subprocess, "Popen", hanging(day_keeper.subprocess.Popen))
    paths = files(served)
    assert keeper.kept(paths) == []
    assert keeper.kept(paths) == []
    monkeypatch.setattr(day_keeper, "LONGEST_SECONDS", 0.0)
    assert keeper.kept([*paths, served.folder / "newer"]) == paths
    assert keeper.failures == 1


def hanging(popen):
    """Return a Popen whose process never ends by itself."""

    def start(words, **options):
        return popen(["sleep", "600"], **options)

    return start


def test_the_span_ends_with_the_day_of_the_last_prediction(served):
    served.answer("2026-01")
    damaged = served.folder / PREDICTIONS.replace("*", "20260101T000000-1-0")
    damaged.write_bytes(b"SQLite format 3\0" + bytes(2000))
    assert day_after([*files(served), damaged]) == "2026-01-29"
    assert day_after([damaged]) == "1970-01-02"
