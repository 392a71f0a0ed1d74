"""Pictures of regressions, and of types side by side."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from lockstep.decision.score_scale import Scale, equivalent
from lockstep.evaluation import curves_multiclass
from lockstep.evaluation.curves_binary import tables
from lockstep.evaluation.metrics import evaluate
from lockstep.evaluation.scored_rows import Scored
from lockstep.reports import plots
from lockstep.reports.plots import Facts
from lockstep.reports.report_files import MOST_CLASSES, frequent_classes

WEIGHT = 5.8


@pytest.fixture(scope="module")
def scored() -> Scored:
    """Calibrated scores of two classes on the balanced scale."""
    rng = np.random.default_rng(0)
    chance = rng.beta(1, 4, 6000)
    score = np.array([equivalent(one, 1.0, WEIGHT) for one in chance])
    return Scored((rng.random(6000) < chance).astype(np.int8), score, threshold=0.4542)


def drawn(
    name: str, scored: Scored, facts: Facts | None = None
) -> tuple[Axes, dict[str, np.ndarray]]:
    """Draw a curve; return its axes, and the points of each line by its name in the legend."""
    (axes,) = plots.draw(name, tables(scored)[name], "pears ridge", facts).axes
    return axes, {str(line.get_label()): line.get_xydata() for line in axes.lines}


def legend(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_ks_marks_its_maximum_and_the_threshold(scored: Scored) -> None:
    axes, lines = drawn("ks", scored, Facts(0.4542))
    value = evaluate(scored)["ks"]
    (told,) = [text for text in legend(axes) if text.startswith("KS ")]
    assert told.startswith(f"KS {value:.3f} at 0.")
    assert lines["threshold 0.4542"][:, 0].tolist() == [0.4542, 0.4542]
    (gap,) = axes.collections[0].get_segments()
    assert gap[1][1] - gap[0][1] == pytest.approx(value)
    assert "threshold" not in " ".join(legend(drawn("ks", scored)[0]))


def test_roc_tells_its_area_and_where_the_threshold_is(scored: Scored) -> None:
    axes, lines = drawn("roc", scored, Facts(0.4542, metrics={"roc_auc": 0.87654}))
    assert legend(axes) == ["AUC 0.877", "by chance", "threshold 0.4542"]
    rejected = scored.score >= 0.4542
    rates = [rejected[scored.target == one].mean() for one in (0, 1)]
    assert lines["threshold 0.4542"][0] == pytest.approx(rates, abs=0.01)
    assert legend(drawn("roc", scored)[0]) == ["model", "by chance"]


def test_scores_of_weighted_classes_have_a_diagonal_of_their_own(scored: Scored) -> None:
    _, plain = drawn("calibration", scored)
    assert list(plain) == ["model", "calibrated probabilities"]
    _, lines = drawn("calibration", scored, Facts(scale=Scale("balanced", WEIGHT)))
    (label,) = set(lines) - set(plain)
    assert label == "calibrated scores on the balanced scale,\nodds 5.8 times a probability's"
    model, own = lines["model"], lines[label]
    assert np.abs(model[:, 1] - np.interp(model[:, 0], *own.T)).max() < 0.06
    assert np.abs(model[:, 1] - model[:, 0]).max() > 0.3


def test_a_calibrated_model_s_curve_has_what_was_before(scored: Scored) -> None:
    before = scored.score**2
    table = tables(scored, before)["calibration"]
    (axes,) = plots.draw("calibration", table, "pears ridge").axes
    lines = {str(line.get_label()): line.get_xydata() for line in axes.lines}
    assert list(lines) == ["before calibration", "after calibration", "calibrated probabilities"]
    columns = ["uncalibrated_predicted", "uncalibrated_observed"]
    assert lines["before calibration"].tolist() == table[columns].to_numpy().tolist()


def test_precision_and_recall_tell_the_threshold_and_what_chance_gives(scored: Scored) -> None:
    axes, lines = drawn("pr", scored, Facts(0.4542, metrics={"average_precision": 0.8765}))
    rate = scored.target.mean()
    assert legend(axes) == ["average precision 0.876", f"by chance {rate:.3f}", "threshold 0.4542"]
    rejected = scored.score >= 0.4542
    hits = scored.target[rejected].sum()
    expected = [hits / scored.target.sum(), hits / rejected.sum()]
    assert lines["threshold 0.4542"][0] == pytest.approx(expected, abs=0.01)


def test_curves_of_several_classes_have_a_line_a_class() -> None:
    rng = np.random.default_rng(0)
    rows = Scored(rng.integers(0, 3, 600), rng.dirichlet(np.ones(3), 600))
    found = curves_multiclass.tables(rows, ["a", "b", "c"], rows.score**2)
    for name, lines in (("roc", 4), ("pr", 3), ("calibration", 7)):
        (axes,) = plots.draw(name, found[name], "pears ridge").axes
        assert (legend(axes), len(axes.lines)) == (["a", "b", "c"], lines)
    assert axes.get_legend().get_title().get_text() == "dotted: before calibration"


def test_a_confusion_matrix_has_counts_and_shares_of_the_actual_class() -> None:
    table = pd.DataFrame({"actual": [0, 0, 1], "predicted": [0, 1, 1], "rows": [3000, 1000, 5]})
    (axes,) = plots.draw("confusion_matrix", table, "pears ridge").axes
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["3,000\n75.0%", "1,000\n25.0%", "0\n0.0%", "5\n100.0%"]


def test_folds_are_whole_numbers_and_the_legend_stands_beside_them() -> None:
    table = pd.DataFrame({"fold": [1, 2, 3], "brier": [0.1, 0.2, 0.3], "roc_auc": [0.7, 0.8, 0.9]})
    figure = plots.draw("folds", table, "pears ridge")
    (axes,) = figure.axes
    assert legend(axes) == ["roc auc 0.8 ± 0.1", "brier 0.2 ± 0.1"]
    assert axes.get_xticks().tolist() == [1, 2, 3]
    figure.draw_without_rendering()
    beside = axes.get_legend().get_window_extent()
    assert axes.get_window_extent().x1 < beside.x0 < beside.x1 <= figure.bbox.x1


def test_what_a_card_says_is_marked() -> None:
    card = {"threshold": 0.3, "score_scale": "balanced", "positive_weight": 2.0, "seed": 1}
    assert Facts.of(card, {"ks": 0.5}) == Facts(0.3, Scale("balanced", 2.0), {"ks": 0.5})
    assert Facts.of({"threshold": None}, {}) == Facts()


@pytest.mark.parametrize(("metric", "top"), [("roc_auc", "high"), ("rmse", "low")])
def test_the_best_type_is_on_top(metric: str, top: str) -> None:
    table = pd.DataFrame({"type": ["low", "high"], metric: [0.3, 0.6]})
    labels = [
        label.get_text() for label in plots.comparison(table, metric).axes[0].get_yticklabels()
    ]
    assert labels[-1] == top


@pytest.mark.parametrize(
    ("name", "second"), [("predicted_actual", "actual"), ("residuals", "residual")]
)
def test_rows_are_dots_beside_a_perfect_models_line(name: str, second: str) -> None:
    table = pd.DataFrame({"predicted": [1.0, 2.0, 3.0], second: [1.5, 1.5, 2.5]})
    (axes,) = plots.draw(name, table, "pears ridge").axes
    (dots,) = axes.collections
    assert dots.get_offsets().tolist() == table.to_numpy().tolist()
    assert len(axes.lines) == 1
    assert axes.get_ylabel() == second


def effects(**columns: list[object]) -> pd.DataFrame:
    """The effects of a number, missing in some rows, and of a category."""
    table = {
        "feature": ["age"] * 3 + ["light"] * 3,
        "kind": ["number"] * 3 + ["category"] * 3,
        "value": ["18", "90", "", "day", "$night$", ""],
        "rows": [5, 4, 1, 3, 6, 1],
        "effect": [0.1, 0.4, 0.2, 0.2, 0.3, 0.25],
    }
    return pd.DataFrame(table | columns)


def test_effects_have_a_panel_an_input_on_one_scale() -> None:
    figure = plots.draw("effects", effects(), "pears ridge")
    number, category = figure.axes
    assert figure.get_suptitle() == "Strongest effects, pears ridge"
    assert [axes.get_title() for axes in figure.axes] == ["age", "light"]
    line, missing = number.lines
    assert line.get_xydata().tolist() == [[18, 0.1], [90, 0.4]]
    assert set(missing.get_ydata()) == {0.2}
    assert [text.get_text() for text in number.texts] == ["missing"]
    (dots,) = category.lines
    assert dots.get_xydata().tolist() == [[0.2, 0], [0.3, 1], [0.25, 2]]
    labels = [label.get_text() for label in category.get_yticklabels()]
    assert labels == ["day", r"\$night\$", "missing"]
    assert number.get_ylim() == category.get_xlim()


def test_effects_of_several_classes_have_a_line_a_class() -> None:
    both = pd.concat([effects(**{"class": ["a"] * 6}), effects(**{"class": ["b"] * 6})])
    figure = plots.draw("effects", both.sort_values("feature", kind="stable"))
    number, category = figure.axes
    assert legend(number) == ["a", "b"]
    assert len(category.lines) == 2


def test_effects_that_are_all_alike_are_drawn(tmp_path: Path) -> None:
    table = effects(effect=[0.5] * 6, feature=[*"abcdef"]).assign(kind="category")
    plots.save(plots.draw("effects", table), tmp_path / "effects.png")
    assert (tmp_path / "effects.png").stat().st_size > 1000


def test_an_interval_beside_its_value_is_drawn_too() -> None:
    """The bootstrap of a calibration error lies above the value where that is near 0."""
    table = pd.DataFrame({"type": ["a", "b"], "calibration_error": [0.0075, 0.02]})
    table = table.assign(calibration_error_low=[0.0081, 0.01], calibration_error_high=[0.02, 0.03])
    (axes,) = plots.comparison(table, "calibration_error").axes
    ends = sorted(x for bar in axes.collections for line in bar.get_segments() for x in line[:, 0])
    assert ends == pytest.approx([0.0075, 0.01, 0.02, 0.03])


def test_the_threshold_of_coarse_scores_is_at_the_point_of_its_decisions() -> None:
    score = np.repeat([0.2, 0.6], 50)
    target = np.concatenate([np.arange(50) < 10, np.arange(50) < 40]).astype(np.int8)
    coarse = Scored(target, score, threshold=0.4)
    _, lines = drawn("roc", coarse, Facts(0.4))
    assert lines["threshold 0.4"][0].tolist() == pytest.approx([0.2, 0.8])


def test_dots_far_from_the_origin_fill_their_picture() -> None:
    value = 2_459_123 + np.linspace(-50, 50, 100)
    for name, other in (("predicted_actual", value + 1), ("residuals", value * 0 + 1)):
        table = pd.DataFrame({"predicted": value, "other": other})
        (axes,) = plots.draw(name, table, "pears ridge").axes
        low, high = axes.get_xlim()
        assert 2_459_000 < low < high < 2_459_250, name


def test_of_many_classes_the_most_frequent_are_drawn_and_their_number_is_told() -> None:
    labels = [str(number) for number in range(1, MOST_CLASSES + 3)]
    rows = pd.DataFrame({"class": labels, "rows": range(len(labels))})
    frequent = frequent_classes(rows)
    assert frequent == labels[::-1][:MOST_CLASSES]
    points = pd.DataFrame({"class": np.repeat(labels, 2), "fpr": [0.0, 1] * len(labels)})
    points = points.assign(tpr=points["fpr"])
    (axes,) = plots.draw("roc", points, "s", Facts(frequent=frequent)).axes
    assert legend(axes) == frequent
    assert axes.get_legend().get_title().get_text() == f"10 of {len(labels)} classes"


def test_classes_of_a_matrix_are_in_the_models_order() -> None:
    labels = ["2", "10", "1"]
    pairs = [(one, other) for one in labels for other in labels]
    table = pd.DataFrame(pairs, columns=["actual", "predicted"]).assign(rows=1)
    (axes,) = plots.draw("confusion_matrix", table, "s", Facts(classes=labels)).axes
    assert [text.get_text() for text in axes.get_yticklabels()] == labels
    (axes,) = plots.draw("confusion_matrix", table, "s").axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["1", "10", "2"]
