"""Model types compared on the same rows: metrics with intervals, paired differences, champion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from lockstep.config.params import Compare
from lockstep.console import difference_text, number_text
from lockstep.errors import DataError
from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.evaluation.metrics import Scored, best_of, evaluate
from lockstep.features.matrix_columns import DECISION, GROUP, ROW, SCORE, TARGET, TRUTH

SHOWN = (
    "average_precision", "f1", "macro_f1", "macro_roc_auc", "balanced_accuracy", "log_loss", "rmse",
    "r2",
)  # fmt: skip
"""Metrics that the terminal shows besides the champion's, if the task has them."""


@dataclass(frozen=True)
class Candidate:
    """One model type's scored rows of the parts choose and test, and its other figures."""

    model_type: str
    threshold: float | None
    scores: pd.DataFrame
    more: dict[str, float] = field(default_factory=dict)

    def rows(self, part: str) -> Scored:
        """Return one part's rows with their scores."""
        table = self.part(part)
        target = table[TARGET].to_numpy()
        if DECISION not in table:
            return Scored(target, table[SCORE].to_numpy(), self.threshold)
        classes = [name for name in table if str(name).startswith(f"{SCORE}_")]
        return Scored(target, table[classes].to_numpy(), decision=table[DECISION].to_numpy())

    def part(self, part: str) -> pd.DataFrame:
        """Return one part's rows of the scores table."""
        return self.scores[self.scores["part"] == part]


def check_same_rows(candidates: list[Candidate]) -> None:
    """Raise DataError unless all candidates scored the same rows in the same order."""
    first = candidates[0]
    for other in candidates[1:]:
        same = len(first.scores) == len(other.scores) and all(
            (first.scores[name].to_numpy() == other.scores[name].to_numpy()).all()
            for name in (ROW, "part", TARGET)
        )
        if not same:
            raise DataError(
                f"{first.model_type} and {other.model_type} were evaluated on different rows; "
                "run `dvc repro`"
            )


def champion_of(candidates: list[Candidate], metric: str) -> tuple[str, float]:
    """Return the best type by a metric of the choose part, and its value; of ties the first."""
    values = {c.model_type: evaluate(c.rows("choose"))[metric] for c in candidates}
    best = best_of(values, metric)
    return best, values[best]


def comparison_table(candidates: list[Candidate], settings: Compare, champion: str) -> pd.DataFrame:
    """Return a row a type: its metrics of the test part, and the difference to the champion.

    Columns: type, champion, rows, threshold; METRIC, METRIC_low and METRIC_high with the ends of
    95 % intervals; difference, difference_low and difference_high of ``settings.metric``, this type
    minus the champion on the same resamples; validation_METRIC on the choose part; then the type's
    other figures.
    """
    groups = candidates[0].part("test")[GROUP].to_numpy()
    tests = {c.model_type: c.rows("test") for c in candidates}
    drawn = resampled(tests, groups, settings.resamples, settings.seed)
    figures = {name: evaluate(rows) for name, rows in tests.items()}
    records = []
    for candidate in candidates:
        name = candidate.model_type
        record = {"type": name, "champion": name == champion, "rows": len(groups)}
        record |= {"threshold": candidate.threshold} if candidate.threshold is not None else {}
        for metric, value in figures[name].items():
            record |= _with_interval(metric, value, drawn[name][metric])
        gap = figures[name][settings.metric] - figures[champion][settings.metric]
        gaps = drawn[name][settings.metric] - drawn[champion][settings.metric]
        record |= _with_interval("difference", gap, gaps)
        record |= {f"validation_{k}": v for k, v in evaluate(candidate.rows("choose")).items()}
        records.append(record | candidate.more)
    return pd.DataFrame(records)


def _with_interval(name: str, value: float, drawn: NDArray[Any]) -> dict[str, float]:
    low, high = interval(drawn)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def best_reachable(candidate: Candidate) -> dict[str, float] | None:
    """Return the score of the generator's truth by part, which no model can beat; None if unknown.

    That is the ROC AUC of the true probability, or the RMSE of the true value.
    """
    if TRUTH not in candidate.scores or DECISION in candidate.scores:
        return None
    found = {}
    for part, label in (("choose", "validation"), ("test", "test")):
        table = candidate.part(part)
        truth = Scored(table[TARGET].to_numpy(), table[TRUTH].to_numpy(), candidate.threshold)
        found[label] = evaluate(truth)["rmse" if truth.task == "regression" else "roc_auc"]
    return found


def readable(table: pd.DataFrame, metric: str, reachable: dict[str, float] | None) -> str:
    """Return the comparison for a terminal: the metric with interval and difference, and others."""
    head = f"{table['rows'].iloc[0]:,} test rows; * champion by {metric} on the validation rows"
    others = [m for m in SHOWN if m in table and m != metric]
    titles = ["", "model type", f"validation {metric}", f"test {metric}", "95 % interval"]
    titles += ["to champion", *others]
    lines = [titles, *(_line(row, metric, others) for _, row in table.iterrows())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    body = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    if reachable:
        name, truth = ("RMSE", "values") if "rmse" in table else ("ROC AUC", "probabilities")
        body.append(
            f"best reachable {name} (the sample's true {truth}): "
            f"validation {number_text(reachable['validation'])}, "
            f"test {number_text(reachable['test'])}"
        )
    return "\n".join([head, *body])


def _line(row: pd.Series, metric: str, others: list[str]) -> list[str]:
    names = (f"validation_{metric}", metric, f"{metric}_low", f"{metric}_high")
    chosen, tested, low, high = (number_text(row[name]) for name in names)
    gap, *ends = (difference_text(row[f"difference{end}"]) for end in ("", "_low", "_high"))
    return [
        "*" if row["champion"] else "",
        row["type"],
        chosen,
        tested,
        f"{low} … {high}",
        "" if row["champion"] else f"{gap} ({ends[0]} … {ends[1]})",
        *(number_text(row[name]) for name in others),
    ]
