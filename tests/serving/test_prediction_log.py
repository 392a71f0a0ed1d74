import os
import sqlite3
import threading
import time

import numpy as np
import pytest

from lockstep.config.settings import PredictionLogSection
from lockstep.monitoring.log_files import FEEDBACK, PREDICTIONS, Entry, Label
from lockstep.serving.background_writer import BackgroundWriter
from lockstep.serving.prediction_log import (
    PredictionLog,
    predictions_table,
    read_entries,
    read_labels,
)


def entry(request: str, rows: int = 1, time_ms: int = 1_000, records: bytes = b'{"a": 1}') -> Entry:
    scores = np.linspace(0.1, 0.9, rows)
    return Entry(request, time_ms, "model", 3, "d" * 64, rows, scores, [1] * rows, records)


def write(folder, *items, **rules):
    log = PredictionLog(folder, PredictionLogSection(**rules))
    log.start()
    for item in items:
        log.add(item) if isinstance(item, Entry) else log.label(item)
    log.writer.close()
    return log


def test_what_was_answered_is_read_back_with_its_labels(tmp_path):
    batch = entry("b", 2, records=b'[{"a": 1, "t": null}, {"a": 2, "t": "x"}]')
    write(tmp_path, entry("a"), batch, [Label("b", 2, 0, 5), Label("b", 2, 1, 6)])
    table = predictions_table(tmp_path)
    assert table[["request_id", "row", "score", "a"]].values.tolist() == [
        ["a", 1, 0.1, 1],
        ["b", 1, 0.1, 1],
        ["b", 2, 0.9, 2],
    ]
    assert table["label"].tolist()[2] == 1
    assert read_labels(tmp_path) == {("b", 2): 1}
    assert (
        tmp_path.stat().st_mode & 0o077,
        next(tmp_path.glob(PREDICTIONS)).stat().st_mode & 0o077,
    )[1] == 0


def test_scores_of_several_classes_keep_their_shape_and_times_select(tmp_path):
    several = entry("c", 2, time_ms=2_000)._replace(
        scores=np.array([[0.2, 0.3, 0.5], [1, 0, 0]]), decisions=["x", None]
    )
    write(tmp_path, entry("a"), several)
    (found,) = read_entries(tmp_path, since_ms=1_500)
    assert found.scores.tolist() == [[0.2, 0.3, 0.5], [1, 0, 0]]
    assert found.decisions == ["x", None]
    assert [e.request_id for e in read_entries(tmp_path, until_ms=2_000)] == ["a"]


def test_nothing_in_it_can_be_changed_or_deleted(tmp_path):
    write(tmp_path, entry("a"))
    (path,) = tmp_path.glob(PREDICTIONS)
    with sqlite3.connect(path) as connection:
        for move in ("UPDATE predictions SET rows = 2", "DELETE FROM predictions"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(move)


BIG = b'{"a": "' + b"x" * 90_000 + b'"}'


def test_files_turn_over_by_size_and_the_oldest_go(tmp_path):
    rules = PredictionLogSection(file_bytes=65_536, total_bytes=300_000)
    log = PredictionLog(tmp_path, rules)
    tmp_path.mkdir(exist_ok=True)
    big = b'{"a": "' + b"x" * 50_000 + b'"}'
    for number in range(20):
        log._write([entry(str(number), records=big)])
    log._close()
    kept = [e.request_id for e in read_entries(tmp_path)]
    assert kept[-1] == "19"
    assert "0" not in kept
    assert len(kept) >= 2
    assert sum(p.stat().st_size for p in tmp_path.glob(PREDICTIONS)) < 500_000


def aged(folder, pattern, hours, number):
    """Make the newest file of a kind one that another process wrote some hours ago."""
    path = max(folder.glob(pattern), key=lambda found: found.stat().st_mtime_ns)
    moment = time.time() - 3600 * hours
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(moment))
    older = path.rename(folder / f"{path.name.partition('-')[0]}-{stamp}-0-{number}.sqlite")
    os.utime(older, (moment, moment))
    return older


def old_files(folder):
    """Write requests of 9, 6 and 3 hours ago with a label each; return both kinds of files."""
    rows, labels = [], []
    for number, hours in enumerate((9, 6, 3)):
        write(folder, entry(str(number), records=BIG), [Label(str(number), 1, 1, 5)])
        rows.append(aged(folder, PREDICTIONS, hours, number))
        labels.append(aged(folder, FEEDBACK, hours, number))
    return rows, labels


def turn_over(folder):
    """Write one more request with its label, where two requests fit."""
    log = PredictionLog(folder, PredictionLogSection(file_bytes=65_536, total_bytes=200_000))
    log._write([entry("3", records=BIG), [Label("3", 1, 1, 5)]])
    log._close()
    assert read_labels(folder)["3", 1] == 1


def test_labels_go_with_the_rows_that_they_concern(tmp_path):
    _, labels = old_files(tmp_path)
    turn_over(tmp_path)
    assert {found.request_id for found in read_entries(tmp_path)} == {"2", "3"}
    assert [path.exists() for path in labels] == [False, False, True]


def test_labels_that_a_killed_process_left_in_its_journal_are_young(tmp_path):
    _, labels = old_files(tmp_path)
    journal = tmp_path / f"{labels[1].name}-wal"
    journal.touch()
    turn_over(tmp_path)
    assert [path.exists() for path in labels] == [False, True, True]


def test_labels_alone_have_a_limit_too(tmp_path):
    log = PredictionLog(tmp_path, PredictionLogSection(file_bytes=65_536, total_bytes=200_000))
    for number in range(40):
        log._write([[Label(f"{number} {row}" + "x" * 100, 1, 1, 5) for row in range(100)]])
    log._close()
    kept = read_labels(tmp_path)
    assert "39 99" + "x" * 100 in {request for request, _ in kept}
    assert sum(path.stat().st_size for path in tmp_path.glob(FEEDBACK)) < 400_000


def test_labels_stay_where_the_rows_may_be_in_a_file_that_somebody_named(tmp_path):
    rows, labels = old_files(tmp_path)
    rows[2].rename(tmp_path / "predictions-copied.sqlite")
    turn_over(tmp_path)
    assert {found.request_id for found in read_entries(tmp_path)} == {"2", "3"}
    assert all(path.exists() for path in labels)


def test_a_file_taken_away_is_replaced(tmp_path):
    log = PredictionLog(tmp_path, PredictionLogSection())
    log._write([entry("a")])
    for path in tmp_path.iterdir():
        path.unlink()
    log._write([entry("b")])
    log._close()
    assert [e.request_id for e in read_entries(tmp_path)] == ["b"]


def test_a_queue_that_is_full_drops_and_counts_and_never_waits():
    going, written = threading.Event(), []

    def slow(batch):
        assert going.wait(10)
        written.extend(batch)

    writer = BackgroundWriter(slow, most_bytes=100, every=0.01)
    writer.start()
    taken = [writer.put(number, 30) for number in range(50)]
    going.set()
    writer.close()
    assert writer.dropped == taken.count(False) > 0
    assert written == [number for number, was in enumerate(taken) if was]


def test_a_full_disk_is_told_and_costs_no_answer():
    def full(batch):
        raise OSError(28, "No space left on device")

    writer = BackgroundWriter(full, most_bytes=1000, every=0.01)
    writer.put(1, 10)
    writer.start()
    writer.close()
    assert writer.dropped == 1
    assert "No space left" in writer.fault
