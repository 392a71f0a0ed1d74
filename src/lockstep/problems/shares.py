"""Shares of faulty rows, which are judged once: parts of a source that are read apart add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

from lockstep.errors import DataError

MOST_EXAMPLES = 5


@dataclass(frozen=True)
class Share:
    """How many of some rows have a fault, and the share beyond which they are refused."""

    bad: int
    rows: int
    most: float
    fault: str
    """The message, with the places {bad}, {rows}, {share} and {examples}."""
    examples: tuple[str, ...] = ()

    def __add__(self, other: Share) -> Share:
        """Return the share of both parts together."""
        examples = sorted({*self.examples, *other.examples})[:MOST_EXAMPLES]
        both = self.bad + other.bad, self.rows + other.rows
        return Share(*both, self.most, self.fault, tuple(examples))

    def check(self) -> None:
        """Raise a DataError for too large a share."""
        if self.bad <= self.most * self.rows:
            return
        share, examples = self.bad / self.rows, ", ".join(self.examples)
        known = {"bad": self.bad, "rows": self.rows, "share": share, "examples": examples}
        raise DataError(self.fault.format(**known))


def added(parts: Iterable[dict[str, Share]]) -> dict[str, Share]:
    """Return the shares of all parts together, by name."""
    return reduce(_both, parts, {})


def _both(one: dict[str, Share], other: dict[str, Share]) -> dict[str, Share]:
    more = {name: one[name] + share if name in one else share for name, share in other.items()}
    return one | more


def check_shares(shares: dict[str, Share]) -> None:
    """Raise a DataError for the first share that is too large."""
    for share in shares.values():
        share.check()
