"""The record is a fold of chained events: a removed or altered one shows, and stages follow."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.errors import UsageError
from lockstep.registry.record.events import (
    BEGUN,
    ENDED,
    HEAD,
    LONGEST_REASON,
    End,
    Event,
    Step,
    Who,
    begin_tag,
    end_tag,
    head_tag,
    read_record,
    to_undo,
    turns,
)
from lockstep.registry.store.names import STAGES


def record_of(*moves: tuple[int, str], **content) -> dict[str, str]:
    """Return a record's tags: each version went to a stage in turn, Production's was archived."""
    tags: dict[str, str] = {}
    stages: dict[int, str] = {}
    before = ""
    for place, (version, stage) in enumerate(moves, start=1):
        steps = [
            Step(v, s, "Archived")
            for v, s in stages.items()
            if s == stage == "Production" and v != version
        ]
        steps.append(Step(version, stages.get(version, "None"), stage))
        stages |= {step.version: step.now for step in steps}
        event = Event(
            place,
            "transition",
            Who("a"),
            "t",
            f"token {place}",
            "c",
            before,
            version,
            tuple(steps),
            **content,
        )
        event = replace(event, end=End("done", "t"))
        tags |= dict([begin_tag(event), end_tag(event), head_tag(event)])
        before = event.digest
    return tags


MOVES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(STAGES)), min_size=1, max_size=12)


@given(moves=MOVES)
def test_what_is_written_is_read_back_and_whole(moves):
    record = read_record(record_of(*moves))
    assert record.faults == ()
    assert [event.number for event in record.events] == list(range(1, len(moves) + 1))
    assert list(record.stages.values()).count("Production") <= 1
    assert record.stages[moves[-1][0]] == moves[-1][1]


@given(moves=MOVES)
def test_who_stands_in_a_stage_turns_as_the_fold_does(moves):
    record = read_record(record_of(*moves))
    found = turns(record, "Production")
    assert all(turn.before != turn.after for turn in found)
    standing = {v for v, stage in record.stages.items() if stage == "Production"}
    assert (found[-1].after if found else frozenset()) == standing


@settings(max_examples=60)
@given(moves=MOVES.filter(lambda m: len(m) > 2), data=st.data())
def test_an_event_taken_out_or_altered_shows(moves, data):
    tags = record_of(*moves)
    key = data.draw(st.sampled_from(sorted(tags)))
    if key == HEAD:
        return
    number = int(key.rpartition(".")[2])
    if data.draw(st.booleans()):
        del tags[key]
        if key.startswith(ENDED) and number == len(moves):
            assert read_record(tags).faults != ()  # the head still names it
            return
    else:
        content = json.loads(tags[key])
        content["time"] = "another"
        tags[key] = json.dumps(content)
    assert read_record(tags).faults != ()


def test_faults_name_what_is_wrong():
    tags = record_of((1, "Production"), (2, "Production"), (3, "Staging"), (3, "Archived"))
    without = {key: value for key, value in tags.items() if not key.endswith("000002")}
    assert read_record(without).faults == ("event 2 is missing from the record",)
    forged = {**tags, f"{BEGUN}000002": tags[f"{BEGUN}000002"].replace('"a"', '"b"')}
    assert read_record(forged).faults == (
        "event 2 was altered: it is not the one that event 3 follows",
    )
    cut = {key: value for key, value in tags.items() if not key.endswith("000004")}
    assert read_record(cut).faults == ("event 4, the last that ended, is missing from the record",)
    broken = {**tags, f"{BEGUN}000003": "{"}
    assert read_record(broken).faults[0] == "event 3 cannot be read: it was altered"
    headless = {key: value for key, value in tags.items() if key != HEAD}
    assert "head is missing" in read_record(headless).faults[0]


KINDS = {
    BEGUN: {"version": int, "stage": str, "gate": dict, "details": dict, "undoes": int},
    ENDED: {"outcome": str, "time": str, "version": int, "mended_by": str},
}


@pytest.mark.parametrize(("part", "key"), [(part, key) for part in KINDS for key in KINDS[part]])
def test_a_part_of_another_kind_is_an_altered_event_and_no_crash(part, key):
    tags = record_of((1, "Production"), (2, "Production"))
    for value in ([3], {"a": 1}, True, 1.5, 1, "x"):
        if type(value) is not KINDS[part][key]:
            content = {**json.loads(tags[f"{part}000002"]), key: value}
            record = read_record({**tags, f"{part}000002": json.dumps(content)})
            assert record.faults[0] == "event 2 cannot be read: it was altered"
            assert record.stages == {1: "Production"}


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null", "[" * 4000])
def test_an_event_that_is_no_object_is_an_altered_one(text):
    tags = record_of((1, "Production"), (2, "Production"))
    for part in (BEGUN, ENDED):
        record = read_record({**tags, f"{part}000002": text})
        assert record.faults[0] == "event 2 cannot be read: it was altered"


def test_a_head_one_behind_is_a_crash_and_no_fault():
    tags = record_of((1, "Production"), (2, "Production"))
    first = read_record(tags).events[0]
    assert read_record({**tags, HEAD: f"1 {first.digest}"}).faults == ()


def test_an_open_event_has_not_happened():
    tags = record_of((1, "Production"), (2, "Production"))
    del tags[f"{ENDED}000002"]
    first = read_record(tags).events[0]
    record = read_record({**tags, HEAD: f"1 {first.digest}"})
    assert record.stages == {1: "Production"}
    assert [event.number for event in record.open] == [2]


def test_an_accepted_fault_is_none_any_more():
    tags = record_of((1, "Production"), (2, "Production"), (3, "Staging"))
    tags = {key: value for key, value in tags.items() if not key.endswith("000002")}
    record = read_record(tags)
    assert record.faults
    last = record.last
    assert last is not None
    event = Event(
        4, "accept", Who("a"), "t", "x", "c", last.digest, steps=(Step(2, "None", "Production"),)
    )
    event = replace(event, end=End("done", "t"))
    after = read_record({**tags, **dict([begin_tag(event), end_tag(event), head_tag(event)])})
    assert after.faults == ()
    assert after.stages[2] == "Production"


def test_undoing_goes_back_one_turn_each_time():
    record = read_record(
        record_of((1, "Production"), (2, "Production"), (3, "Staging"), (3, "Production"))
    )
    turn = to_undo(record, "Production")
    assert (turn.event.number, turn.before, turn.after) == (4, frozenset({2}), frozenset({3}))
    undone = replace(turn.event, number=5, undoes=4, end=End("done", "t"))
    turn = to_undo(replace(record, events=(*record.events, undone)), "Production")
    assert (turn.event.number, turn.before) == (2, frozenset({1}))
    assert to_undo(record, "Archived").event.number == 4


@pytest.mark.parametrize(
    ("actor", "reason", "told"),
    [
        ("a" * 101, "", "the actor has 101 characters; give at most 100"),
        ("a", "r" * 10_000, f"the reason has 10,000 characters; give at most {LONGEST_REASON}"),
        ("a\x1b[31m", "", "the actor holds control characters"),
        ("a", "one\ntwo", "the reason holds control characters or line breaks"),
        (" ", "", "the actor is empty"),
    ],
)
def test_who_and_why_fit_one_line(actor, reason, told):
    with pytest.raises(UsageError, match=told):
        Who(actor, reason)


def test_letters_of_any_script_are_plain_text():
    event = Event(1, "promote", Who("Zoë Müller", "日本 → ok"), "t", "x", "c")
    key, value = begin_tag(event)
    assert "日本" in value
    assert read_record({key: value}).events[0].who == event.who
