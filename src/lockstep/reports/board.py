"""What the board shows, as plain values: ``promotion.board_facts`` gathers them from a registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from lockstep.checks import FORCED, PASSED, REFUSED

STAGES = ("Production", "Staging", "None", "Archived")
"""The columns of a model, in the order of the page."""
SHOWN = {"Production": 5, "Staging": 5, "None": 3, "Archived": 3}
"""So many of the newest versions of a stage are shown at once."""
MOST_FOLDED = 30
"""So many further versions of a stage are on the page, folded; the rest is counted."""
REPAIR, ALARM, DECIDE, START, NOTHING = "repair", "alarm", "decide", "start", "nothing"
"""What a next step is about, the most urgent first."""
URGENCY = (REPAIR, ALARM, DECIDE, START, NOTHING)
TONES = {PASSED: "good", REFUSED: "bad", FORCED: "up", REPAIR: "bad", ALARM: "bad", DECIDE: "up"}
"""The class of style.css that colours a verdict or a step; ``quiet`` for all others."""


@dataclass(frozen=True)
class GateLine:
    """One check of a stored verdict."""

    check: str
    verdict: str
    found: str


@dataclass(frozen=True)
class Verdict:
    """What the gates said of a version.

    ``current`` tells whether it was compared with today's champion (``against``; None: it was the
    first). ``lines`` are empty where only the record's line is known; ``note`` then says why.
    """

    outcome: str
    summary: str
    against: int | None
    time: datetime | None
    current: bool = True
    lines: tuple[GateLine, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Analysis:
    """The newest analysis of a served version."""

    time: datetime | None
    alarm: bool
    proposal: str = ""
    newest_month: str = ""


@dataclass(frozen=True)
class Moved:
    """Who put a version into its stage, when and why."""

    time: datetime | None
    actor: str
    reason: str = ""


@dataclass(frozen=True)
class BoardVersion:
    """One version; ``rows`` names the rows that its metrics were computed on.

    ``rolled_back`` is the rollback that took it out of Production, if it neither came back nor was
    judged since.
    """

    number: int
    stage: str
    type: str
    created: datetime | None
    metric: float | None
    scores: Mapping[str, float] = field(default_factory=dict)
    rows: str = ""
    commit: str = ""
    dirty: bool | None = None
    digest: str = ""
    pruned: bool = False
    moved: Moved | None = None
    analysis: Analysis | None = None
    verdict: Verdict | None = None
    rolled_back: Moved | None = None


@dataclass(frozen=True)
class Span:
    """A version in Production, from when to when (None: still)."""

    version: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class NextStep:
    """What to do about a model: why, the command to type now, and those that follow."""

    kind: str
    title: str
    why: str
    commands: tuple[str, ...] = ()

    @property
    def tone(self) -> str:
        """The class that colours its mark."""
        return TONES.get(self.kind, "quiet")


@dataclass(frozen=True)
class BoardModel:
    """A registered model; ``champion`` is the version that challengers are compared with."""

    name: str
    problem: str
    metric: str
    versions: tuple[BoardVersion, ...]
    champion: BoardVersion | None = None
    spans: tuple[Span, ...] = ()
    open_events: tuple[int, ...] = ()
    faults: tuple[str, ...] = ()
    can_go_back: bool = False
    steps: tuple[NextStep, ...] = ()

    def in_stage(self, stage: str) -> tuple[BoardVersion, ...]:
        """Return the versions in a stage, the newest first."""
        return tuple(v for v in reversed(self.versions) if v.stage == stage)

    @property
    def production(self) -> BoardVersion | None:
        """The version in Production."""
        return next(iter(self.in_stage("Production")), None)

    @property
    def challengers(self) -> tuple[BoardVersion, ...]:
        """The versions in Staging, the newest first."""
        return self.in_stage("Staging")

    @property
    def columns(self) -> list[Column]:
        """The versions by stage."""
        return [_column(stage, self.in_stage(stage)) for stage in STAGES]

    @property
    def rivals(self) -> list[BoardVersion]:
        """The champion and the newest challengers, as they are compared side by side."""
        first = [] if self.champion is None else [self.champion]
        return [*first, *self.challengers[: SHOWN["Staging"]]]

    @property
    def score_names(self) -> list[str]:
        """The metrics that any of them has, the one that models are compared by first."""
        known = dict.fromkeys(name for one in self.rivals for name in one.scores)
        first = [f"validation_{self.metric}", f"test_{self.metric}"]
        return [*(n for n in first if n in known), *(n for n in known if n not in first)]

    @property
    def rows_text(self) -> str:
        """Whether their recorded metrics are of the same rows, in a sentence."""
        rows = {one.rows for one in self.rivals}
        if len(rows - {""}) > 1:
            found = "Each version’s own rows differ"
        elif "" in rows:
            found = "They are not known to be of the same rows"
        else:
            return "All are of the same rows."
        return f"{found}, so these figures don’t decide: the gates compare on the same rows."


@dataclass(frozen=True)
class Column:
    """The versions of a stage: those shown, those folded, and how many more there are."""

    stage: str
    count: int
    shown: tuple[BoardVersion, ...]
    folded: tuple[BoardVersion, ...]
    left_out: int


def _column(stage: str, versions: tuple[BoardVersion, ...]) -> Column:
    first = SHOWN[stage]
    folded = versions[first : first + MOST_FOLDED]
    left_out = max(len(versions) - first - MOST_FOLDED, 0)
    return Column(stage, len(versions), versions[:first], folded, left_out)


@dataclass(frozen=True)
class TimelineEntry:
    """One event of a model's record, as people read it."""

    model: str
    number: int
    time: datetime | None
    action: str
    moved: str
    actor: str
    reason: str
    outcome: str
    verdict: str = ""
    summary: str = ""
    undoes: int | None = None
    undone_by: int | None = None

    @property
    def tone(self) -> str:
        """The class that colours the gates' verdict."""
        return TONES.get(self.verdict, "quiet")


@dataclass(frozen=True)
class Board:
    """All that the page shows; ``earlier`` counts the moves that are left out."""

    place: str
    read: datetime
    models: tuple[BoardModel, ...] = ()
    timeline: tuple[TimelineEntry, ...] = ()
    earlier: int = 0
    notes: tuple[str, ...] = ()

    @property
    def problems(self) -> dict[str, list[BoardModel]]:
        """The models by problem, by name; those of other tools come last."""
        names = sorted({one.problem for one in self.models}, key=lambda name: (not name, name))
        return {name: sorted(self._of(name), key=_by_interest) for name in names}

    def _of(self, problem: str) -> list[BoardModel]:
        return [one for one in self.models if one.problem == problem]

    @property
    def steps(self) -> list[tuple[BoardModel, NextStep]]:
        """What to do next, the most urgent first."""
        pairs = [(model, step) for model in self.models for step in model.steps]
        return sorted(pairs, key=lambda pair: URGENCY.index(pair[1].kind))

    @property
    def to_do(self) -> list[tuple[BoardModel, NextStep]]:
        """The next steps that ask for something."""
        return [pair for pair in self.steps if pair[1].kind != NOTHING]

    @property
    def summary(self) -> str:
        """One line: how many models, versions, in Production, waiting, to do."""
        serving = sum(one.production is not None for one in self.models)
        waiting = sum(len(one.challengers) for one in self.models)
        versions = sum(len(one.versions) for one in self.models)
        return (
            f"{many(len(self.models), 'model')}, {many(versions, 'version')}: "
            f"{serving} in Production, {waiting} in Staging; "
            f"{len(self.to_do) or 'nothing'} to do"
        )


def _by_interest(model: BoardModel) -> tuple[bool, bool, str]:
    """Return the place of a model in its problem: first what serves, then what waits."""
    return model.production is None, not model.challengers, model.name


@dataclass(frozen=True)
class Away:
    """A registry that can't be read: why, and since when."""

    why: str
    since: datetime


def many(count: int, what: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def stamp(time: datetime | None) -> str:
    """Return a time for people, in UTC."""
    return "unknown" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
