"""Does a blend of a problem's trained types beat the best of them?

python benchmarks/blends.py PROBLEM     (in a workspace where the types are trained)

The trained estimators are the members, so nothing is fitted again. Early stopping rows give the
weights, the other validation rows choose the best type, test rows are only looked at. The last
column is the blend's test metric minus that type's, with a 95 % interval (paired, by group).
"""

from __future__ import annotations

import sys

import numpy as np

from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import load_params
from lockstep.console import aligned
from lockstep.evaluation.bootstrap import interval, resampled
from lockstep.evaluation.metrics import Scored, evaluate
from lockstep.models.blending import blend_weights, outputs_of
from lockstep.models.calibration import base_estimator
from lockstep.models.matrices import read_matrix
from lockstep.models.model_file import read_pipeline
from lockstep.models.types import type_of
from lockstep.problems.schema import load_schema

PARTS = ("stop", "choose", "test")
RESAMPLES = 2000


def main() -> None:
    """Read models and matrices, blend, print a line a model."""
    problem, root = sys.argv[1], project_root()
    layout, task = ProblemLayout(root, problem), load_schema(problem).task
    section = load_params(root).problem(problem)
    files = (layout.model(name) for name in section.model_types)
    models = [base_estimator(read_pipeline(file).named_steps["model"]) for file in files]
    # A blend itself is no member.
    fitted = {type_of(one).name: one for one in models if not hasattr(one, "estimators")}
    parts = {part: read_matrix(layout, part) for part in PARTS}
    outputs = {part: outputs_of(fitted, task, rows) for part, rows in parts.items()}
    weights = blend_weights(outputs["stop"], parts["stop"].target, task)
    metric = section.compare.metric

    def rows(part: str, score: np.ndarray) -> Scored:
        return Scored(parts[part].target, score, 0.5 if task == "binary" else None)

    scores = {
        part: {**dict(zip(fitted, found, strict=True)), "blend": np.average(found, 0, weights)}
        for part, found in outputs.items()
    }
    tested = {name: rows("test", score) for name, score in scores["test"].items()}
    drawn = resampled(tested, parts["test"].group, RESAMPLES)
    lines = []
    for (name, one), weight in zip(tested.items(), [*weights, None], strict=True):
        low, high = interval(drawn["blend"][metric] - drawn[name][metric])
        chosen = rows("choose", scores["choose"][name])
        lines.append(
            {
                "model": name,
                "weight": weight,
                f"validation {metric}": f"{evaluate(chosen)[metric]:.4f}",
                f"test {metric}": f"{evaluate(one)[metric]:.4f}",
                "blend minus it": "" if name == "blend" else f"{low:+.4f} … {high:+.4f}",
            }
        )
    print(aligned(lines))


if __name__ == "__main__":
    main()
