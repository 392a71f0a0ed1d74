"""Requests that are scored in one call.

Each gets the bits it gets alone, by its own model, and its own fault.
"""

import asyncio
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lockstep.errors import DataError
from lockstep.serving.microbatch import MicroBatcher
from lockstep.serving.request_parsing import Read


def all_at_once(asked: list[tuple[object, Read]]) -> list[object]:
    async def ask() -> list[object]:
        together = MicroBatcher()
        waiting = [together.score(scorer, read) for scorer, read in asked]
        return await asyncio.gather(*waiting, return_exceptions=True)

    return asyncio.run(ask())


@dataclass
class Counting:
    """Doubles the rows' amounts, and remembers how many rows each call had."""

    factor: float = 2.0
    calls: list[int] = field(default_factory=list)

    def score(self, columns: dict[str, np.ndarray], rows: int) -> np.ndarray:
        self.calls.append(rows)
        if np.isinf(columns["loan_amount"]).any():
            raise DataError("a value is too large")
        return columns["loan_amount"] * self.factor


def amounts(*values: float) -> Read:
    return Read({"loan_amount": np.array(values)}, len(values), len(values) == 1, b"")


def test_what_arrives_together_is_one_call():
    scorer = Counting()
    found = all_at_once(
        [(scorer, amounts(1.0)), (scorer, amounts(2.0, 3.0)), (scorer, amounts(4.0))]
    )
    assert [one.tolist() for one in found] == [[2.0], [4.0, 6.0], [8.0]]
    assert scorer.calls == [4]


def test_each_model_scores_its_own_requests():
    old, new = Counting(2.0), Counting(3.0)
    found = all_at_once(
        [(old, amounts(1.0)), (new, amounts(1.0)), (old, amounts(2.0)), (new, amounts(2.0))]
    )
    assert [one.tolist() for one in found] == [[2.0], [3.0], [4.0], [6.0]]
    assert (old.calls, new.calls) == ([2], [2])


def test_a_fault_meets_only_the_request_that_has_it():
    scorer = Counting()
    found = all_at_once([(scorer, amounts(1.0)), (scorer, amounts(np.inf)), (scorer, amounts(3.0))])
    assert found[0].tolist() == [2.0]
    assert isinstance(found[1], DataError)
    assert found[2].tolist() == [6.0]


def test_a_request_that_was_given_up_hinders_nobody():
    async def ask() -> np.ndarray:
        together, scorer = MicroBatcher(), Counting()
        given_up = asyncio.create_task(together.score(scorer, amounts(1.0)))
        kept = asyncio.create_task(together.score(scorer, amounts(2.0)))
        await asyncio.sleep(0)
        given_up.cancel()
        return await kept

    assert asyncio.run(ask()).tolist() == [4.0]


@given(
    st.lists(st.lists(st.floats(0, 1e6), min_size=1, max_size=5), min_size=1, max_size=8), st.data()
)
def test_any_mixture_is_answered_as_each_alone(requests, data):
    scorers = [Counting(2.0), Counting(3.0)]
    asked = [(data.draw(st.sampled_from(scorers)), amounts(*values)) for values in requests]
    alone = [scorer.score(read.columns, read.rows).tolist() for scorer, read in asked]
    assert [one.tolist() for one in all_at_once(asked)] == alone
