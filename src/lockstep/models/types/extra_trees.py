"""scikit-learn's extremely randomised trees."""

from __future__ import annotations

from lockstep.models.model_type import Draft
from lockstep.models.types._forest import IMPUTER_CLASSES, Forest


class Type(Forest):
    """Trees over all rows, with the best of some random splits (Geurts, Ernst, Wehenkel 2006)."""

    place = 6
    registered_part = "Extra_Trees"
    short_name = "et"
    estimators = (
        "sklearn.ensemble._forest.ExtraTreesClassifier",
        "sklearn.ensemble._forest.ExtraTreesRegressor",
    )
    classes = (
        *IMPUTER_CLASSES,
        "sklearn.tree._classes.ExtraTreeClassifier",
        "sklearn.tree._classes.ExtraTreeRegressor",
        "sklearn.tree._tree.Tree",
    )
    draft = Draft(
        params={
            "n_estimators": 200,
            "min_samples_leaf": 5,
            "max_leaf_nodes": 3000,
            "max_features": 0.5,
        },
        space={
            "min_samples_leaf": {"low": 2, "high": 20},
            "max_leaf_nodes": {"low": 500, "high": 4000, "log": True},
            "max_features": {"low": 0.2, "high": 1.0},
        },
        trials=8,
        calibration={"binary": "sigmoid"},
        included=False,
    )

    def draft_params(self, task: str, rows: float) -> tuple[dict[str, object], str]:
        """Return the draft's hyperparameters; a share of the rows needs bootstrap samples."""
        params, remark = super().draft_params(task, rows)
        return ({**params, "bootstrap": True} if remark else params), remark
