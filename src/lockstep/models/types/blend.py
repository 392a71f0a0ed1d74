"""A weighted mean of other types' probabilities or values, which this training fits itself."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lockstep.errors import ConfigError, unknown
from lockstep.models import types
from lockstep.models.matrices import Columns, Matrix
from lockstep.models.model_type import Draft, FastScorer, Fitted, ModelType, OnStep, Recipe

if TYPE_CHECKING:
    import pandas as pd

CODE_MODULES = ("lockstep.models.types.{member}",)
"""Any type may be a member: a change in one of their files trains every blend again."""
PROBE = 7.0
"""A class ratio, to compare by which weight of a positive row the members are fitted."""
_NO_COLUMNS = Columns({})


class Type(ModelType):
    """The mean is scikit-learn's soft vote; its weights are at least 0 and add up to 1.

    ``members`` holds the hyperparameters of each member by the name of its type. Without it, the
    members are the types of a new problem, with the hyperparameters of its draft.
    """

    place = 8
    tasks = ("binary", "multiclass", "regression")
    registered_part = "Blend"
    short_name = "blend"
    estimators = (
        "sklearn.ensemble._voting.VotingClassifier",
        "sklearn.ensemble._voting.VotingRegressor",
    )
    has_history = False
    draft = Draft(params={}, space={}, trials=1, included=False)

    def known(self, task: str) -> Set[str]:
        """Return the two hyperparameters there are."""
        return {"members", "weight_folds"}

    def members(self, recipe: Recipe) -> dict[str, Recipe]:
        """Return each member's recipe by its type, in the order of listings."""
        given = _given(recipe.params, recipe.task)
        return {name: replace(recipe, params=dict(own)) for name, own in given.items()}

    def check_params(self, task: str, params: Mapping[str, Any]) -> None:
        """Raise ConfigError for a fault of a member, or for members on different score scales."""
        super().check_params(task, params)
        folds = params.get("weight_folds", 0)
        if type(folds) is not int or folds < 0 or folds == 1:
            raise ConfigError(
                f"params.yaml: {self.name}: weight_folds is {folds!r}; give 2 or more folds of the "
                "training rows, or 0 for the early stopping part"
            )
        for name, own in _given(params, task).items():
            types.check_recipe(types.model_type(name), Recipe(task, _NO_COLUMNS, dict(own)))
        if task == "binary":
            self._check_scales(params)

    def _check_scales(self, params: Mapping[str, Any]) -> None:
        weights = {
            name: types.model_type(name).positive_weight(own, PROBE)
            for name, own in _given(params, "binary").items()
        }
        if len(set(weights.values())) > 1:
            shown = ", ".join(
                f"{name} {'balanced' if weight == PROBE else f'{weight:g}'}"
                for name, weight in weights.items()
            )
            raise ConfigError(
                f"params.yaml: {self.name}: its members weigh a positive row differently "
                f"({shown}), so their probabilities have no common scale; weigh it alike in all"
            )

    def check_columns(self, recipe: Recipe) -> None:
        """Raise ConfigError for columns that a member does not support."""
        for name, own in self.members(recipe).items():
            types.model_type(name).check_columns(own)

    def positive_weight(self, params: Mapping[str, Any], balanced: float) -> float:
        """Return the members' weight of a positive row, which is the same in all."""
        name, own = next(iter(_given(params, "binary").items()))
        return types.model_type(name).positive_weight(own, balanced)

    def build(self, recipe: Recipe) -> Any:
        """Return the vote over members that are not fitted."""
        from lockstep.models.blending import vote

        members = self.members(recipe).items()
        built = {name: types.model_type(name).build(own) for name, own in members}
        return vote(recipe.task, built, None)

    def fit(
        self, recipe: Recipe, train: Matrix, stop: Matrix, rounds: int, on_step: OnStep
    ) -> Fitted:
        """Fit each member, then the weights of the least loss on rows that no member learned from.

        These are the early stopping part, or with ``weight_folds`` the training rows out of fold.
        """
        from lockstep.models.blending import fit_blend

        return fit_blend(self, recipe, train, stop, rounds, on_step)

    def refusals(self, recipe: Recipe) -> tuple[type[Exception], ...]:
        """Return the errors by which a member's library refuses the value of a hyperparameter."""
        members = self.members(recipe).items()
        return tuple({e for name, own in members for e in types.model_type(name).refusals(own)})

    def importance(self, estimator: Any, features: pd.DataFrame) -> dict[str, float]:
        """Return the weighted mean of the members' importances, each as shares of its sum."""
        from lockstep.models.blending import importance

        return importance(estimator, features)

    def scorer(self, estimator: Any, task: str) -> FastScorer:
        """Return the weighted mean of the members' outputs, as scikit-learn takes it."""
        from lockstep.models.blending import BlendScorer

        return BlendScorer(estimator, task).scorer

    def resolved_params(self, estimator: Any) -> dict[str, Any]:
        """Return the weights by member; one that is left out had weight 0."""
        names = [name for name, _ in estimator.estimators]
        return {"weights": dict(zip(names, estimator.weights, strict=True))}


def _given(params: Mapping[str, Any], task: str) -> dict[str, Mapping[str, Any]]:
    """Return the members' hyperparameters by type, in the order of listings."""
    own = [kind for kind in types.local_types() if not isinstance(kind, Type)]
    if "members" not in params:
        included = (kind for kind in own if kind.draft.included and task in kind.tasks)
        return {kind.name: kind.draft.params for kind in included}
    given = params["members"]
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(
            "params.yaml: members of a blend are model types with their hyperparameters, as in "
            "members: {xgboost: {max_depth: 5}, ridge: {}}"
        )
    names = [kind.name for kind in own]
    for name, settings in given.items():
        if name not in names:
            raise ConfigError(f"params.yaml: {unknown('member of a blend', name, names)}")
        if not isinstance(settings, Mapping):
            raise ConfigError(f"params.yaml: members.{name} of a blend must be a mapping, as {{}}")
    return {name: given[name] for name in names if name in given}
