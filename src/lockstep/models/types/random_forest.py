"""scikit-learn's random forest."""

from __future__ import annotations

from lockstep.models.model_type import Draft
from lockstep.models.types._forest import IMPUTER_CLASSES, Forest


class Type(Forest):
    """Trees over bootstrap samples, with the best of some columns' splits."""

    place = 3
    registered_part = "Random_Forest"
    short_name = "rf"
    estimators = (
        "sklearn.ensemble._forest.RandomForestClassifier",
        "sklearn.ensemble._forest.RandomForestRegressor",
    )
    classes = (
        *IMPUTER_CLASSES,
        "sklearn.tree._classes.DecisionTreeClassifier",
        "sklearn.tree._classes.DecisionTreeRegressor",
        "sklearn.tree._tree.Tree",
    )
    draft = Draft(
        params={
            "n_estimators": 100,
            "min_samples_leaf": 5,
            "max_leaf_nodes": 1500,
            "max_features": 0.3,
        },
        space={
            "min_samples_leaf": {"low": 2, "high": 20},
            "max_leaf_nodes": {"low": 300, "high": 2000, "log": True},
            "max_features": {"low": 0.1, "high": 0.7},
        },
        trials=8,
        calibration={"binary": "sigmoid"},
    )
