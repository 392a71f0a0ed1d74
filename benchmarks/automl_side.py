"""One AutoML library on one table: fit for some seconds, then predict the test rows.

python automl_side.py LIBRARY TABLE.csv OUT.json --target COLUMN --task TASK --seconds N

It runs in the library's own environment, so it imports nothing of this project. TABLE.csv holds the
raw columns and ``part__``, train or test. OUT.json gets the seconds that were used, the test
predictions in the table's order, and what the library says it made.
"""

import argparse
import json
import tempfile
import time

import pandas as pd

METRICS = {
    "flaml": {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"},
    "autogluon": {"binary": "roc_auc", "multiclass": "log_loss", "regression": "rmse"},
    "mljar": {"binary": "auc", "multiclass": "logloss", "regression": "rmse"},
}


def flaml(train, test, target, task, metric, seconds):
    """Return FLAML's test predictions and its best estimator."""
    from flaml import AutoML

    kind = "regression" if task == "regression" else "classification"
    model = AutoML()
    budget = {"time_budget": seconds, "n_jobs": -1, "seed": 0, "verbose": 0}
    model.fit(train.drop(columns=target), train[target], task=kind, metric=metric, **budget)
    found = model.predict(test) if task == "regression" else model.predict_proba(test)
    return found, f"{model.best_estimator} {model.best_config}"


def autogluon(train, test, target, task, metric, seconds):
    """Return AutoGluon's test predictions, by its default preset, and its leaderboard's first."""
    from autogluon.tabular import TabularPredictor

    metric = {"rmse": "root_mean_squared_error"}.get(metric, metric)
    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor(
            target, eval_metric=metric, problem_type=task, path=f"{folder}/models"
        )
        predictor.fit(train, time_limit=seconds, verbosity=1)
        models = predictor.leaderboard()["model"].tolist()
        ask = predictor.predict if task == "regression" else predictor.predict_proba
        return ask(test).to_numpy(), ", ".join(models)


def mljar(train, test, target, task, metric, seconds):
    """Return mljar's test predictions in its mode Compete, and how many models it made."""
    from supervised import AutoML

    kind = {"binary": "binary_classification", "multiclass": "multiclass_classification"}
    with tempfile.TemporaryDirectory() as folder:
        model = AutoML(
            results_path=f"{folder}/results",
            mode="Compete",
            ml_task=kind.get(task, task),
            eval_metric=metric,
            total_time_limit=round(seconds),
            explain_level=0,
            random_state=0,
            verbose=0,
        )
        model.fit(train.drop(columns=target), train[target])
        found = model.predict(test) if task == "regression" else model.predict_proba(test)
        return found, ", ".join(model.get_leaderboard()["name"].tolist())


SIDES = {"flaml": flaml, "autogluon": autogluon, "mljar": mljar}


def main():
    """Read the table, fit, predict, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("library", choices=SIDES)
    parser.add_argument("table")
    parser.add_argument("out")
    parser.add_argument("--target", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    table = pd.read_csv(given.table, low_memory=False)
    parts = table.pop("part__")
    table = table.drop(columns="row__")
    train = table[parts == "train"].reset_index(drop=True)
    test = table[parts == "test"].drop(columns=given.target).reset_index(drop=True)
    metric = METRICS[given.library][given.task]
    began = time.monotonic()
    found, made = SIDES[given.library](train, test, given.target, given.task, metric, given.seconds)
    result = {"seconds": time.monotonic() - began, "made": made, "scores": found.tolist()}
    with open(given.out, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main()
