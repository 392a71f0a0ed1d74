"""Model types side by side on the same rows: metrics with intervals, paired differences, the champion."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from lockstep.config.params import Compare
from lockstep.errors import DataError
from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.evaluation.metrics import Scored, better, evaluate
from lockstep.features.matrix_columns import GROUP, ROW, TARGET, TRUTH
from lockstep.models.matrices import DECISION, SCORE

if TYPE_CHECKING:
    from numpy.typing import NDArray


SHOWN = (
    "average_precision",
    "f1",
    "macro_f1",
    "macro_roc_auc",
    "balanced_accuracy",
    "log_loss",
    "rmse",
    "r2",
)
"""What the terminal shows beside the metric that chooses the champion, as far as the task has it."""


@dataclass(frozen=True)
class Candidate:
    """One model type's evaluated rows, parts choose and test, and figures that the rows don't give."""

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
        """Return one part's rows as they are kept."""
        return self.scores[self.scores["part"] == part]


def check_same_rows(candidates: list[Candidate]) -> None:
    """Raise a DataError unless all candidates scored the same rows in the same order."""
    first = candidates[0]
    for other in candidates[1:]:
        same = len(first.scores) == len(other.scores) and all(
            (first.scores[name].to_numpy() == other.scores[name].to_numpy()).all()
            for name in (ROW, "part", TARGET)
        )
        if not same:
            raise DataError(
                f"{first.model_type} and {other.model_type} were evaluated on different rows; run `dvc repro`"
            )


def champion_of(candidates: list[Candidate], metric: str) -> tuple[str, float]:
    """Return the best type by a metric of the choose part, and its value; of equal ones the first declared."""
    values = {c.model_type: evaluate(c.rows("choose"))[metric] for c in candidates}
    best = next(iter(values))
    for name, value in values.items():
        if better(metric, value, values[best]):
            best = name
    return best, values[best]


def comparison_table(candidates: list[Candidate], settings: Compare, champion: str) -> pd.DataFrame:
    """Return a row a type: metrics of the test part with 95 % intervals, and the difference to the champion.

    Columns: type, champion, rows, threshold; METRIC, METRIC_low, METRIC_high for every metric on the
    test part; difference, difference_low, difference_high of ``settings.metric``, this type minus the
    champion on the same resamples; validation_METRIC on the choose part; what is known of the type besides
    (train_METRIC, interval_coverage and interval_width of the test part).
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
        record |= _with_intervals(figures[name], drawn[name])
        record |= _difference(settings.metric, name, champion, figures, drawn)
        record |= {f"validation_{k}": v for k, v in evaluate(candidate.rows("choose")).items()}
        record |= candidate.more
        records.append(record)
    return pd.DataFrame(records)


def _with_intervals(figures: dict[str, float], drawn: dict[str, NDArray[Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric, value in figures.items():
        low, high = interval(drawn[metric])
        found |= {metric: value, f"{metric}_low": low, f"{metric}_high": high}
    return found


def _difference(
    metric: str, name: str, champion: str, figures: dict[str, Any], drawn: dict[str, Any]
) -> dict[str, float]:
    low, high = interval(drawn[name][metric] - drawn[champion][metric])
    gap = figures[name][metric] - figures[champion][metric]
    return {"difference": gap, "difference_low": low, "difference_high": high}


def best_reachable(candidate: Candidate) -> dict[str, float] | None:
    """Return what the generator's truth scores by part, the best any model can reach; None where unknown.

    That is the ROC AUC of the true probability, or the RMSE of the true value.
    """
    if TRUTH not in candidate.scores or DECISION in candidate.scores:
        return None
    threshold, metric = (None, "rmse") if candidate.threshold is None else (0.5, "roc_auc")
    found = {}
    for part, label in (("choose", "validation"), ("test", "test")):
        table = candidate.part(part)
        truth = Scored(table[TARGET].to_numpy(), table[TRUTH].to_numpy(), threshold)
        found[label] = evaluate(truth)[metric]
    return found


def readable(table: pd.DataFrame, metric: str, reachable: dict[str, float] | None) -> str:
    """Return the comparison for a terminal: the metric with interval and difference, then the main others."""
    head = f"{table['rows'].iloc[0]:,} test rows; * champion by {metric} on the validation rows"
    others = [m for m in SHOWN if m in table and m != metric]
    titles = [
        "",
        "model type",
        f"validation {metric}",
        f"test {metric}",
        "95 % interval",
        "to champion",
        *others,
    ]
    lines = [titles, *(_line(row, metric, others) for _, row in table.iterrows())]
    widths = [max(len(line[i]) for line in lines) for i in range(len(titles))]
    body = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    if reachable:
        named = (
            "RMSE (the sample's true values)"
            if "rmse" in table
            else "ROC AUC (the sample's true probabilities)"
        )
        body.append(
            f"best reachable {named}: validation {reachable['validation']:.4f}, test {reachable['test']:.4f}"
        )
    return "\n".join([head, *body])


def _line(row: pd.Series, metric: str, others: list[str]) -> list[str]:
    gap = f"{row['difference']:+.4f} ({row['difference_low']:+.4f} … {row['difference_high']:+.4f})"
    return [
        "*" if row["champion"] else "",
        row["type"],
        f"{row[f'validation_{metric}']:.4f}",
        f"{row[metric]:.4f}",
        f"{row[f'{metric}_low']:.4f} … {row[f'{metric}_high']:.4f}",
        "" if row["champion"] else gap,
        *(f"{row[name]:.4f}" for name in others),
    ]
