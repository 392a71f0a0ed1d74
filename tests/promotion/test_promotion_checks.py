"""Which of several versions is the one to promote."""

import pytest

from lockstep.promotion.promotion_checks import best_of, stable
from lockstep.registry.store.versions import Version


def version(number: int, **scores: float) -> Version:
    tags = {f"lockstep.validation_{name}": str(value) for name, value in scores.items()}
    return Version("credit-risk-model", number, 0, None, "", "None", tags)


def test_the_best_has_the_highest_value_and_a_tie_is_no_loss() -> None:
    rivals = [version(1, roc_auc=0.7), version(2, roc_auc=0.8), version(3, roc_auc=0.8), version(4)]
    assert best_of(rivals[1], rivals, "roc_auc") == (
        True,
        "validation_roc_auc 0.8000 is the best of 4 versions trained on these data",
    )
    assert best_of(rivals[2], rivals, "roc_auc")[0]
    assert best_of(rivals[0], rivals[:1], "roc_auc") == (
        True,
        "validation_roc_auc 0.7000, of the only version trained on these data",
    )
    assert best_of(rivals[0], rivals, "roc_auc") == (
        False,
        "validation_roc_auc 0.7000, version 2 has 0.8000",
    )
    assert best_of(rivals[3], rivals, "roc_auc") == (
        False,
        "validation_roc_auc was never recorded with the version",
    )


def test_of_errors_the_lowest_is_best() -> None:
    rivals = [version(1, rmse=2.0), version(2, rmse=1.0)]
    assert [best_of(one, rivals, "rmse")[0] for one in rivals] == [False, True]


def test_within_the_slack_it_is_as_good() -> None:
    rivals = [version(1, ks=0.40), version(2, ks=0.42)]
    assert best_of(rivals[0], rivals, "ks", 0.03) == (
        True,
        "validation_ks 0.4000, version 2 has 0.4200, within a fold's 0.0300",
    )
    assert not best_of(rivals[0], rivals, "ks", 0.01)[0]


@pytest.mark.parametrize(
    ("folds", "fine", "found"),
    [
        ([0.70, 0.71, 0.69], True, "over 3 folds roc_auc 0.7000 ± 0.0100"),
        ([0.6, 0.8], False, "over 2 folds roc_auc 0.7000 ± 0.1414, more than 5% of it"),
        (
            [],
            False,
            "no roc_auc fold by fold was logged; "
            "train with cv_folds (retrain_model.py --cv-folds 5)",
        ),
        (
            [0.7],
            False,
            "no roc_auc fold by fold was logged; "
            "train with cv_folds (retrain_model.py --cv-folds 5)",
        ),
    ],
)
def test_folds_that_differ_little_are_stable(folds: list, fine: bool, found: str) -> None:
    assert stable("roc_auc", folds) == (fine, found)
