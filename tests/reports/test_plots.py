"""Pictures of regressions, and of types side by side."""

import pandas as pd
import pytest

from lockstep.reports import plots


@pytest.mark.parametrize(("metric", "top"), [("roc_auc", "high"), ("rmse", "low")])
def test_the_best_type_is_on_top(metric: str, top: str) -> None:
    table = pd.DataFrame({"type": ["low", "high"], metric: [0.3, 0.6]})
    labels = [label.get_text() for label in plots.comparison(table, metric).axes[0].get_yticklabels()]
    assert labels[-1] == top


@pytest.mark.parametrize(("name", "second"), [("predicted_actual", "actual"), ("residuals", "residual")])
def test_rows_are_dots_beside_a_perfect_models_line(name: str, second: str) -> None:
    table = pd.DataFrame({"predicted": [1.0, 2.0, 3.0], second: [1.5, 1.5, 2.5]})
    (axes,) = plots.draw(name, table, "pears ridge").axes
    (dots,) = axes.collections
    assert dots.get_offsets().tolist() == table.to_numpy().tolist()
    assert len(axes.lines) == 1
    assert axes.get_ylabel() == second
