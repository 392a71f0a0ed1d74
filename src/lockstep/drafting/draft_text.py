"""A draft as the texts people keep: schema.yaml, and what params.yaml and dvc.yaml get."""

from __future__ import annotations

import re
from typing import Any

from lockstep.drafting.draft import Draft, Planned

MODEL_TYPES = {
    "binary": ("logistic_regression", "random_forest", "xgboost", "lightgbm"),
    "multiclass": ("logistic_regression", "random_forest", "xgboost", "lightgbm"),
    "regression": ("ridge", "random_forest", "xgboost", "lightgbm"),
}
_METRIC = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"}
_DECISION = {
    "binary": "{policy: f1}",
    "multiclass": "{policy: argmax}",
    "regression": "{policy: interval, coverage: 0.9}",
}
_PARAMS = {
    "logistic_regression": "{C: 0.1, bins: 16, min_frequency: 10}",
    "ridge": "{alpha: 1.0, bins: 16, min_frequency: 10}",
    "random_forest": "{n_estimators: 100, min_samples_leaf: 5, max_leaf_nodes: 1500, "
    "max_features: 0.3}",
    "xgboost": "{n_estimators: 1000, learning_rate: 0.06, max_depth: 5, min_child_weight: 5, "
    "subsample: 0.8, "
    "colsample_bytree: 0.5, reg_lambda: 10.0, max_cat_to_onehot: 4}",
    "lightgbm": "{n_estimators: 1000, learning_rate: 0.06, num_leaves: 15, min_child_samples: "
    "20, subsample: 0.8, "
    "subsample_freq: 1, colsample_bytree: 0.5, reg_lambda: 10.0, cat_smooth: 40, cat_l2: 20, "
    "max_cat_to_onehot: 12}",
}
_TREE_ROWS = 200_000
"""Rows that a forest's tree sees at most: more make it slower in proportion and hardly better."""
_TRAIN_SHARE = 0.64
"""Of all rows those that are trained on: what test, then validation leave (`_problem`)."""
_SPACES = {
    "logistic_regression": ("C: {low: 0.001, high: 10.0, log: true}", "bins: {low: 6, high: 32}"),
    "ridge": ("alpha: {low: 0.01, high: 100.0, log: true}", "bins: {low: 6, high: 32}"),
    "random_forest": (
        "min_samples_leaf: {low: 2, high: 20}",
        "max_leaf_nodes: {low: 300, high: 2000, log: true}",
        "max_features: {low: 0.1, high: 0.7}",
    ),
    "xgboost": (
        "learning_rate: {low: 0.02, high: 0.2, log: true}",
        "max_depth: {low: 3, high: 8}",
        "min_child_weight: {low: 1.0, high: 50.0, log: true}",
        "colsample_bytree: {low: 0.2, high: 0.9}",
        "reg_lambda: {low: 1.0, high: 100.0, log: true}",
    ),
    "lightgbm": (
        "learning_rate: {low: 0.02, high: 0.2, log: true}",
        "num_leaves: {low: 7, high: 63, log: true}",
        "min_child_samples: {low: 10, high: 200, log: true}",
        "colsample_bytree: {low: 0.2, high: 0.9}",
        "reg_lambda: {low: 1.0, high: 100.0, log: true}",
    ),
}
_TRIALS = {"logistic_regression": 8, "ridge": 8, "random_forest": 8, "xgboost": 12, "lightgbm": 12}


def title_of(problem: str) -> str:
    """Return a problem's name as the base of its registered models' names: ``Telco_Churn``."""
    return "_".join(word[:1].upper() + word[1:] for word in problem.split("_") if word)


# ---------------------------------------------------------------- schema.yaml


def schema_text(draft: Draft) -> str:
    """Return the text of schema.yaml; ``decide:`` marks what a person must look at."""
    head = [
        f"# Drafted from {_remark(draft.source)} ({draft.rows:,} rows, {draft.width} columns).",
        "# A comment with `decide:` wants a person's word; the rest may stay. Descriptions and "
        "units are shown to",
        "# the models' users. Behind a number stand its least, middle and greatest value, behind "
        "a code its rows.",
        f"name: {draft.problem}",
        f"title: {title_of(draft.problem).replace('_', ' ')}",
        f"task: {draft.task}    # {_remark(draft.why_task)}; TASK=binary, multiclass or "
        "regression says it otherwise",
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
        inside = ", ".join(f"{key}: {_flow(value)}" for key, value in keys.items())
        return [*decide, f"  {_scalar(column.name)}: {{{inside}}}{facts}"]
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
    told = {"target_encoded": "mean of the target, out of fold", "frequency": "rows with the same"}
    lines = ["derived:    # of texts of many levels, in place of the levels themselves"]
    for item in draft.derived:
        keys = {**item, "description": told[item["kind"]]}
        lines.append(
            f"  - {{{', '.join(f'{key}: {_flow(value)}' for key, value in keys.items())}}}"
        )
    return lines


def _left_out(draft: Draft) -> list[str]:
    if not draft.left_out:
        return [
            "left_out: {}    # columns of the file that are not used, and why; any other new "
            "column is refused"
        ]
    lines = [
        "left_out:    # columns of the file that are not used, and why; to use one, declare it "
        "under columns"
    ]
    for name, why in draft.left_out.items():
        decide = (
            ["  # decide: known before the target is? Then it is no leak"]
            if why.startswith("suspected")
            else []
        )
        lines += [*decide, f"  {_scalar(name)}: {_scalar(why)}"]
    return lines


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(_flow(item) for item in value)}]"
    return _scalar(str(value))


def _number(value: float) -> str:
    """Return a number for YAML 1.1 and 1.2: whole ones without a point, exponents with one."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    told = repr(value)
    return told.replace("e", ".0e") if "e" in told and "." not in told else told


_BARE = re.compile(r"[^\W\d][\w]*(?: [\w]+)*")
_WORDS = frozenset(
    ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "none")
)


def _scalar(text: str) -> str:
    """Return a text as a YAML scalar, quoted unless it is plain words."""
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
    types = MODEL_TYPES[draft.task]
    lines = [*_problem(draft, types), "train:"]
    for name in types:
        lines += _training(draft, name)
    lines.append("search:")
    for name in types:
        lines += [f"  {draft.problem}-{name}:", f"    trials: {_TRIALS[name]}", "    space:"]
        lines += [f"      {line}" for line in _SPACES[name]]
    return "\n".join(lines) + "\n"


def _problem(draft: Draft, types: tuple[str, ...]) -> list[str]:
    lost = draft.max_dropped
    rows = f"    # {lost:.0%}: rows without a target, or copies, are dropped" if lost > 0.2 else ""
    metric, decision = _METRIC[draft.task], _DECISION[draft.task]
    return [
        "problems:",
        f"  {draft.problem}:",
        "    source:",
        "      kind: table",
        f"      external: data/external/{draft.problem}",
        "    preprocess: "
        f"{{max_unknown_codes: 0.02, max_dropped: {lost:g}, duplicates: {draft.duplicates}}}{rows}",
        f"    # decide: time, group or given? {_remark(draft.why_split)}",
        f"    split: {{kind: {draft.split}, test: 0.2, validation: 0.2, seed: 0}}",
        "    features: {seed: 0, folds: 5}",
        f"    decision: {decision}    # decide: what errors cost, where that is known",
        f"    compare: {{metric: {metric}, resamples: 1000, seed: 0}}",
        f"    model_types: [{', '.join(types)}]",
    ]


def _training(draft: Draft, name: str) -> list[str]:
    boosted = name in ("xgboost", "lightgbm")
    calibration = "sigmoid" if draft.task == "binary" and name == "random_forest" else "none"
    return [
        f"  {draft.problem}-{name}:",
        f"    problem: {draft.problem}",
        f"    type: {name}",
        "    seed: 0",
        f"    calibration: {calibration}",
        *(["    early_stopping_rounds: 30"] if boosted else []),
        f"    params: {_params(draft, name)}",
    ]


def _params(draft: Draft, name: str) -> str:
    """Return a type's first hyperparameters: fewer, larger steps for several classes."""
    params = _PARAMS[name]
    trained = draft.rows * _TRAIN_SHARE
    if name == "random_forest" and trained > _TREE_ROWS:
        share = f", max_samples: {_TREE_ROWS / trained:.2g}}}    # a tree sees {_TREE_ROWS:,} rows"
        return params.replace("}", share)
    if draft.task == "multiclass":
        return params.replace(
            "n_estimators: 1000, learning_rate: 0.06", "n_estimators: 400, learning_rate: 0.1"
        )
    return params
