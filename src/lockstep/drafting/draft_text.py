"""A draft as the texts people keep: schema.yaml, and what params.yaml and dvc.yaml get."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lockstep.drafting.draft import Draft, Planned
from lockstep.models.model_type import ModelType
from lockstep.models.types import local_types

_METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
_DECISION = {
    "binary": "{policy: f1}",
    "multiclass": "{policy: argmax}",
    "regression": "{policy: interval, coverage: 0.9}",
}
_TRAIN_SHARE = 0.64
"""The share of training rows: what test, then validation leave (`_problem`)."""
_SMALL = ((100, 0.3), (150, 0.25))
"""Shares of validation rows below so many rows: an interval that holds 90 % needs 9 of them."""


def drafted_types(task: str) -> list[ModelType]:
    """Return the model types that a new problem of this task gets."""
    return [kind for kind in local_types() if kind.draft.included and task in kind.tasks]


def title_of(problem: str) -> str:
    """Return a problem's name as the base of its registered models' names: ``Telco_Churn``."""
    return "_".join(word[:1].upper() + word[1:] for word in problem.split("_") if word)


# ---------------------------------------------------------------- schema.yaml


def schema_text(draft: Draft) -> str:
    """Return the text of schema.yaml; ``decide:`` marks what a person must look at."""
    head = [
        f"# Drafted from {_remark(draft.source)} ({draft.rows:,} rows, {draft.width} columns).",
        "# Check every comment with `decide:`; the rest may stay. Users of the models see "
        "descriptions and units.",
        "# The comment after a number is its minimum, median and maximum; after a code, its rows.",
        f"name: {draft.problem}",
        f"title: {title_of(draft.problem).replace('_', ' ')}",
        f"task: {draft.task}    # {_remark(draft.why_task)}; "
        "draft again with TASK=binary, multiclass or regression to change it",
        "unit: row    # what a row is: a customer, a loan …",
        f"registered_name: {title_of(draft.problem)}",
        f"experiment: {draft.problem}",
    ]
    if draft.task == "binary":
        positive = list(draft.target.codes)[-1]
        head.append(f"positive: {_scalar(f'{draft.target.source} is {positive}')}")
    lines = [*head, "columns:", *_column(draft.target)]
    for column in draft.columns:
        lines += _column(column)
    lines += _derived(draft) + _left_out(draft)
    return "\n".join(lines) + "\n"


def _column(column: Planned) -> list[str]:
    """Return a column's lines: on one line without codes, else a line a code."""
    decide = [f"  # decide: {_remark(what)}" for what in column.decide]
    keys = {**column.keys, "description": column.source}
    facts = f"    # {_remark(column.facts)}" if column.facts else ""
    if not column.codes:
        return [*decide, f"  {_scalar(column.name)}: {_inline(keys)}{facts}"]
    lines = [*decide, f"  {_scalar(column.name)}:{facts}"]
    lines += [f"    {key}: {_flow(value)}" for key, value in keys.items()]
    codes = [
        f"      {_flow(code)}: {_scalar(str(code))}    # {count:,}"
        for code, count in column.codes.items()
    ]
    return [*lines, "    codes:", *codes]


def _derived(draft: Draft) -> list[str]:
    if not draft.derived:
        return []
    texts = {
        "target_encoded": "mean of the target, out of fold",
        "frequency": "rows with the same value",
    }
    rows = [{**item, "description": texts[item["kind"]]} for item in draft.derived]
    head = "derived:    # models see these in place of texts with many levels"
    return [head, *(f"  - {_inline(row)}" for row in rows)]


def _left_out(draft: Draft) -> list[str]:
    what = "columns of the file that are not used, and why"
    if not draft.left_out:
        return [f"left_out: {{}}    # {what}; any other new column is refused"]
    lines = [f"left_out:    # {what}; to use one, declare it under columns"]
    for name, why in draft.left_out.items():
        if why.startswith("suspected"):
            lines.append("  # decide: if its value is known before the target, it is no leak")
        lines.append(f"  {_scalar(name)}: {_scalar(why)}")
    return lines


def _inline(keys: Mapping[str, Any]) -> str:
    return f"{{{', '.join(f'{key}: {_flow(value)}' for key, value in keys.items())}}}"


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        return _inline({_scalar(str(key)): item for key, item in value.items()})
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    return _scalar(str(value))


def _number(value: float) -> str:
    """Return a number as YAML 1.1 and 1.2 read it: whole without a point, exponents with one."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = repr(value)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


_BARE = re.compile(r"[^\W\d][\w]*(?: [\w]+)*")
_WORDS = frozenset(
    ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "none")
)


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar, quoted unless YAML can read it only as that text."""
    if _BARE.fullmatch(text) and text.lower() not in _WORDS and text.isprintable():
        return text
    return '"' + "".join(_escaped(sign) for sign in text) + '"'


def _escaped(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    if sign.isprintable():
        return sign
    return f"\\U{ord(sign):08X}"


def _remark(text: str) -> str:
    """Return a text that fits a comment: one line, no signs that break it."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


# ---------------------------------------------------------------- params.yaml


def params_text(draft: Draft) -> str:
    """Return the sections of params.yaml: problems, train (a row a model type), search."""
    types = drafted_types(draft.task)
    lines = [*_problem(draft, [kind.name for kind in types]), "train:"]
    for kind in types:
        lines += _training(draft, kind)
    lines.append("search:")
    for kind in types:
        lines += [f"  {draft.problem}-{kind.name}:", f"    trials: {kind.draft.trials}"]
        space = kind.draft.space.items()
        lines += ["    space:", *(f"      {name}: {_mapping(way)}" for name, way in space)]
    return "\n".join(lines) + "\n"


def _problem(draft: Draft, types: list[str]) -> list[str]:
    lost = draft.max_dropped
    rows = f"    # {lost:.0%}: rows without a target and copies are dropped" if lost > 0.2 else ""
    alike = ", alike: together" if draft.alike else ""
    validation = _validation(draft)
    metric, decision = _METRIC[draft.task], _DECISION[draft.task]
    return [
        "problems:",
        f"  {draft.problem}:",
        "    source:",
        "      kind: table",
        f"      external: data/external/{draft.problem}",
        f"    preprocess: {{max_unknown_codes: 0.02, max_dropped: {lost:g}, "
        f"duplicates: {draft.duplicates}}}{rows}",
        f"    # decide: kind is time, group or given; {_remark(draft.why_split)}",
        f"    split: {{kind: {draft.split}, test: 0.2, validation: {validation}, seed: 0{alike}}}",
        "    features: {seed: 0, folds: 5}",
        f"    decision: {decision}    # decide: set the costs of errors if they are known",
        f"    compare: {{metric: {metric}, resamples: 1000, seed: 0}}",
        f"    model_types: [{', '.join(types)}]",
    ]


def _validation(draft: Draft) -> float:
    """Return the share of validation rows: more of a small table, as intervals need some."""
    if draft.task != "regression":
        return 0.2
    return next((share for rows, share in _SMALL if draft.kept_rows < rows), 0.2)


def _training(draft: Draft, kind: ModelType) -> list[str]:
    params, remark = kind.draft_params(draft.task, draft.rows * _TRAIN_SHARE)
    rounds = kind.draft.early_stopping_rounds
    return [
        f"  {draft.problem}-{kind.name}:",
        f"    problem: {draft.problem}",
        f"    type: {kind.name}",
        "    seed: 0",
        f"    calibration: {kind.draft.calibration.get(draft.task, 'none')}",
        *([f"    early_stopping_rounds: {rounds}"] if rounds else []),
        f"    params: {_mapping(params)}{f'    # {remark}' if remark else ''}",
    ]


def _mapping(values: Mapping[str, Any]) -> str:
    """Return plain values as a YAML mapping on one line; numbers as Python writes them."""
    shown = {name: str(v).lower() if isinstance(v, bool) else repr(v) for name, v in values.items()}
    return f"{{{', '.join(f'{name}: {value}' for name, value in shown.items())}}}"
