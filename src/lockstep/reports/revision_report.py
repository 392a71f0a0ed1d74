"""What changes against another revision, as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockstep.console import difference_text, number_text, visible
from lockstep.dvc.git import read_head, short
from lockstep.dvc.graph import value_at
from lockstep.dvc.revision import Revision, base_revision, commits_missing
from lockstep.errors import DataError, UsageError, listed, unknown
from lockstep.reports.revision_inputs import (
    ABSENT,
    CodeChanges,
    Data,
    DataChanges,
    Scope,
    code_changes,
    data_changes,
    outdated,
    params_changes,
    replaced_metrics,
    uncommitted,
)
from lockstep.reports.revision_metrics import (
    SAME,
    Change,
    ProblemMetrics,
    Scores,
    compared,
)

NONE = "no change"
MOST = 60
"""Rows of one table; the rest is counted."""
LIMIT = 60_000
"""Characters of a report: GitHub takes 65,536 in a comment."""
_LONGEST = 60
PAIRED = (
    "A change is better or worse if the 95 % interval of the paired difference leaves out zero. "
    "Both models score the same test rows, and a bootstrap draws the same groups of rows for both. "
    "Of twenty changes that are only noise, about one is called better or worse."
)
BY_INTERVAL = (
    "Without a paired difference, the verdict only says whether the new value lies inside the 95 % "
    "interval of base. That is no test. On the same test rows, a real change can stay inside, as "
    "both share the noise of the rows. On other test rows, noise alone can lead outside."
)


@dataclass(frozen=True)
class Report:
    """All differences of two revisions."""

    base: Revision
    now: Revision
    scope: Scope
    metrics: list[ProblemMetrics]
    params: list[tuple[str, Any, Any]]
    data: DataChanges
    code: CodeChanges
    details: bool = True
    """Whether the tables of other metrics are shown."""

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        metrics = any(one.differs for one in self.metrics)
        data = bool(self.data.paths or self.data.scores)
        return metrics or bool(self.params) or data or self.code.differs or bool(self.entries())

    def entries(self) -> list[str]:
        """Return a line for each problem and model type that only one revision has."""
        return _added_entries(self.base, self.now, self.scope)


def report(root: Path, base_name: str, problem: str = "") -> str:
    """Return the differences of the project's folder from a branch, tag or commit, as Markdown.

    UsageError for an unknown revision or problem, ConfigError or DataError where one of both was
    never trained.
    """
    base, now = base_revision(root, base_name), Revision(root, "the working tree")
    scope = Scope.of(base, now, "")
    if problem:
        if problem not in scope.problems:
            raise UsageError(unknown("problem", problem, scope.problems))
        scope = Scope.of(base, now, problem)
    scores = Scores(base, now)
    metrics = [compared(base, now, name, scores) for name in scope.problems]
    _check_trained(metrics, base)
    found = Report(
        base,
        now,
        scope,
        metrics,
        params_changes(base, now, scope),
        data_changes(base, now, scope),
        code_changes(base, now, scope),
    )
    text = page(found)
    return text if len(text) <= LIMIT else page(replace(found, details=False))


def _check_trained(metrics: list[ProblemMetrics], base: Revision) -> None:
    """Raise DataError if one side has no metrics at all."""
    names = ", ".join(one.problem for one in metrics)
    if not any(one.now.rows for one in metrics):
        fix = "run `make run-train PROBLEM=NAME`, or `git checkout metrics` if it was trained"
        raise DataError(f"there are no metrics of {names} here; {fix}")
    if not any(one.base.rows for one in metrics):
        fault = f"{base.name} ({short(base.commit)}) has no metrics of {names}"
        raise DataError(f"{fault}; choose another BASE, or train there and commit metrics/")


def page(found: Report) -> str:
    """Return the Markdown of a report."""
    head = [f"# Changes against {_code(found.base.name)}", _what_is_compared(found)]
    notes = _notes(found)
    if not found.differs:
        same = "No difference: metrics, champions, parameters, data and code are the same."
        return _joined([*head, *notes, same])
    sections = [
        _section("Problems and model types", _bullets(found.entries())),
        _section("Metrics", _metrics(found)),
        _section("Parameters", _params(found.params)),
        _section("Data", _data(found.data)),
        _section("Code", _code_section(found)),
    ]
    return _joined([*head, *notes, *sections])


def _what_is_compared(found: Report) -> str:
    head = read_head(found.now.root)
    base = f"Base: {_code(found.base.name)}, commit {_code(short(found.base.commit))}."
    files = uncommitted(found.now.root)
    tree = f" and {_count(len(files), 'uncommitted file')} of the working tree" if files else ""
    return f"{base} Now: commit {_code(short(head.commit))}{tree}."


def _notes(found: Report) -> list[str]:
    """Return what a reader must know before he believes the rest."""
    base, now, scope = found.base, found.now, found.scope
    notes = []
    if behind := commits_missing(now.root, base):
        its = "its change appears" if behind == 1 else "their changes appear"
        fix = f"merge {_code(base.name)} for a report on your own changes alone"
        lacks = f"This branch lacks {_count(behind, 'commit')} of {_code(base.name)}"
        notes.append(f"⚠ {lacks}, so {its} here in reverse; {fix}.")
    older = "its metrics may be those of an earlier state"
    for revision, fix in ((now, "run `dvc repro`, then this again"), (base, older)):
        if stages := outdated(revision, scope):
            where = "here" if revision is now else f"at {_code(base.name)}"
            names = listed([_code(name) for name in stages], 4)
            told = f"⚠ `dvc.lock` {where} is not up to date in {_count(len(stages), 'stage')}"
            notes.append(f"{told} ({names}); {fix}.")
    if files := replaced_metrics(now, scope):
        names = listed([_code(name) for name in files], 4)
        notes.append(f"⚠ {names} differs from what `dvc.lock` names; run `dvc repro`.")
    return notes


# ---------------------------------------------------------------- problems and types


def _added_entries(base: Revision, now: Revision, scope: Scope) -> list[str]:
    lines = []
    for name in scope.problems:
        key = f"problems.{name}.model_types"
        old, new = (value_at(one.graph.params, key) for one in (base, now))
        if old is None or new is None:
            word = "new" if old is None else "removed"
            lines.append(f"problem {_code(name)}: {word}, with {', '.join(new or old or [])}")
            continue
        added = [kind for kind in new if kind not in old]
        removed = [kind for kind in old if kind not in new]
        for word, kinds in (("new", added), ("removed", removed)):
            lines += [f"model type {_code(kind)} of {_code(name)}: {word}" for kind in kinds]
    return lines


# ---------------------------------------------------------------- metrics


def _metrics(found: Report) -> str:
    problems = found.metrics
    declared = found.now.graph.params.get("problems") or {}
    untrained = any(one.problem in declared and not one.now.rows for one in problems)
    if not untrained and not any(one.differs for one in problems):
        return ""
    blocks = [_problem(one, one.problem in declared, found.details) for one in problems]
    changes = [change for one in problems for change in one.changes]
    rules = [PAIRED] if any(change.difference for change in changes) else []
    rules += [BY_INTERVAL] if any(one.unpaired for one in problems) else []
    return _joined([*rules, *blocks])


def _problem(found: ProblemMetrics, declared: bool, details: bool) -> str:
    title, fix = f"### {_code(found.problem)}", f"run `make run-train PROBLEM={found.problem}`"
    if not found.now.rows and declared:
        return f"{title}\n\nNo metrics here: it was not trained yet; {fix}."
    if not found.differs:
        return f"{title}\n\n{NONE}"
    main = [change for change in found.changes if change.metric == found.metric]
    other = [c for c in found.changes if c.metric != found.metric and c.verdict != SAME]
    table = _table(
        ("model type", f"{found.metric} of base", "now", "change (95 % interval)", "verdict"),
        [(_marked(found, change), *_cells(change)) for change in main],
        numbers=(1, 2, 3),
    )
    return _joined(
        [title, " ".join([_champion(found), *_rows_note(found)]), table, _details(other, details)]
    )


def _champion(found: ProblemMetrics) -> str:
    old, new = found.base.champion, found.now.champion
    if not old or not new:
        one = new or old
        word = "now" if new else "at base"
        return f"Champion {word}: {_named(one)}."
    if (old["type"], old["metric"]) == (new["type"], new["metric"]):
        values = dict.fromkeys(_number(one["value"]) for one in (old, new))
        same = f"Champion as before: {_code(new['type'])}"
        return f"{same} (validation {new['metric']} {' → '.join(values)})."
    return f"Champion: {_named(old)} → {_named(new)}."


def _named(champion: dict[str, Any]) -> str:
    """Return a champion with the value that made it one."""
    value = f"{champion['metric']} {_number(champion['value'])}"
    return f"{_code(champion['type'])} (validation {value})"


def _rows_note(found: ProblemMetrics) -> list[str]:
    """Say on which rows, and why a change can't be compared with noise."""
    old, new = found.base.test_rows(), found.now.test_rows()
    rows = f"{int(new or old or 0):,} test rows"
    if old and new and old != new:
        rows = f"{int(old):,} test rows at base, {int(new):,} now"
    lines = [f"The metrics are those of {rows}."]
    reasons: dict[str, list[str]] = {}
    for kind, reason in found.unpaired.items():
        reasons.setdefault(reason, []).append(_code(kind))
    lines += [f"No paired difference of {', '.join(k)}: {r}." for r, k in reasons.items()]
    return lines


def _marked(found: ProblemMetrics, change: Change) -> str:
    own = change.model_type == found.now.champion.get("type")
    return f"{_code(change.model_type)}{' (champion)' if own else ''}"


def _details(changes: list[Change], shown: bool) -> str:
    """Return the table of the other metrics, folded, or how many there are."""
    if not changes:
        return ""
    summary = f"{_count(len(changes), 'other figure')} with a change"
    if not shown:
        return f"{summary}; `--problem` shows them."
    heads = ("model type", "metric", "base", "now", "change (95 % interval)", "verdict")
    rows = [(_code(one.model_type), one.metric, *_cells(one)) for one in changes]
    table = _table(heads, rows, numbers=(2, 3, 4))
    return f"<details><summary>{summary}</summary>\n\n{table}\n\n</details>"


def _cells(change: Change) -> tuple[str, str, str, str]:
    gap = ""
    if found := change.difference:
        estimate, low, high = map(difference_text, (found.estimate, found.low, found.high))
        gap = f"{estimate} ({low} … {high})"
    elif change.base is not None and change.now is not None and change.verdict != SAME:
        gap = difference_text(change.now - change.base)
    return _number(change.base), _number(change.now), gap, change.verdict


def _number(value: float | None) -> str:
    return "" if value is None else number_text(value)


# ---------------------------------------------------------------- parameters


def _params(changes: list[tuple[str, Any, Any]]) -> str:
    return _bullets([f"{_code(key)}: {_old_and_new(old, new)}" for key, old, new in changes])


def _old_and_new(old: Any, new: Any) -> str:
    """Return both values; whole if they differ only where long ones are cut off."""
    cut = _value(old, "new", _LONGEST), _value(new, "removed", _LONGEST)
    if cut[0] != cut[1]:
        return " → ".join(cut)
    return f"{_value(old, 'new')} → {_value(new, 'removed')}"


def _value(value: Any, absent: str, longest: int | None = None) -> str:
    if value is ABSENT:
        return absent
    if isinstance(value, dict):
        return f"a section of {_count(len(value), 'key')}"
    return _code(value, longest)


# ---------------------------------------------------------------- data


def _data(found: DataChanges) -> str:
    rows = [(_code(path), *_both_held(old, new)) for path, (old, new) in found.paths.items()]
    table = _table(("data", "base", "now"), rows) if rows else ""
    scores = f"The scores of {_count(found.scores, 'model')} differ." if found.scores else ""
    return _joined([table, scores])


def _both_held(old: Data | None, new: Data | None) -> tuple[str, str]:
    before, after = _held(old), _held(new)
    return before, f"{after}, with other content" if before == after else after


def _held(data: Data | None) -> str:
    if data is None:
        return "not there"
    files = _count(data.files, "file") if data.files else ""
    return ", ".join(filter(None, (data.rows, files, _size(data.size)))) or data.sum[:9]


def _size(size: int | None) -> str:
    if size is None:
        return ""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


# ---------------------------------------------------------------- code


def _code_section(found: Report) -> str:
    code = found.code
    blocks = []
    if code.unknown:
        blocks.append(f"The code of the stages can't be compared: {visible(code.unknown)}.")
    if code.parts:
        blocks.append(f"The code of {_stages(code.stages, found.now)} means something else:")
        heads = ("module, file or package", "change", "runs in")
        rows = [
            (_code(part), _part(part, old, new), _stages(stages, found.now))
            for part, (old, new, stages) in code.parts.items()
        ]
        blocks.append(_table(heads, rows))
    if code.declared:
        stages = _stages(code.declared, found.now)
        blocks.append(f"dvc.yaml declares otherwise: {stages}.")
    if code.other:
        word = "other file" if code.parts else "file"
        why = "" if code.unknown else ", without a change that counts for these problems' stages"
        names = listed([_code(path) for path in code.other], 4)
        where = "`src/` and `requirements.lock`"
        blocks.append(f"{_count(len(code.other), word)} of {where} changed{why}: {names}.")
    return _joined(blocks)


def _part(part: str, old: str | None, new: str | None) -> str:
    if old is None or new is None:
        return "new" if old is None else "no longer run"
    return f"{old} → {new}" if ":" in part else "changed"


def _stages(names: Sequence[str], now: Revision) -> str:
    """Return stages by name; those of one template together, if they are more than two."""
    by_template: dict[str, list[str]] = {}
    for name in names:
        by_template.setdefault(name.partition("@")[0], []).append(name)
    every = [name.partition("@")[0] for name in now.graph.names]
    shown = []
    for template, own in by_template.items():
        if len(own) == every.count(template):
            shown.append(template)
        else:
            shown += (
                own if len(own) <= 2 else [f"{template} ({len(own)} of {every.count(template)})"]
            )
    return ", ".join(shown)


# ---------------------------------------------------------------- Markdown


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body or NONE}"


def _joined(blocks: Iterable[str]) -> str:
    return "\n\n".join(block for block in blocks if block)


def _bullets(lines: Sequence[str]) -> str:
    shown = [f"- {line}" for line in lines[:MOST]]
    more = len(lines) - len(shown)
    return "\n".join([*shown, *([f"- … and {more} more"] if more else [])])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Return a table, some columns aligned to the right."""
    rule = ["---:" if column in numbers else "---" for column in range(len(heads))]
    lines = [heads, rule, *rows[:MOST]]
    text = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    more = len(rows) - MOST
    return f"{text}\n\n… and {more} more rows" if more > 0 else text


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(value: object, longest: int | None = None) -> str:
    """Return a value as a code span, in which no Markdown, mention or HTML counts."""
    text = visible(str(value)).replace("`", "'")
    text = text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"
    return f"`{text}`" if text else "empty"


def _count(number: int | None, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
