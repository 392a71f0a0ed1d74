"""The same inputs give the same bytes whatever the process.

Its hash seed, threads, clock, language and BLAS kernel make no difference.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import kernels

from lockstep.config.layout import ProblemLayout
from lockstep.io import sha256_file

WORLDS = (
    {
        "PYTHONHASHSEED": "1",
        "OPENBLAS_CORETYPE": kernels.ONE,
        "OMP_NUM_THREADS": "1",
        "TZ": "Asia/Tokyo",
        "LANG": "C",
    },
    {
        "PYTHONHASHSEED": "2",
        "OPENBLAS_CORETYPE": kernels.OTHER,
        "OMP_NUM_THREADS": "2",
        "TZ": "UTC",
        "LANG": "fr_FR.UTF-8",
    },
)
CODE = """
import sys
from pathlib import Path
from lockstep.models import compare_models, train_multi_model
for name in ("logistic_regression", "random_forest", "xgboost", "lightgbm"):
    train_multi_model.run(Path(sys.argv[1]), "accidents", name)
compare_models.run(Path(sys.argv[1]), "accidents")
"""


def _digests(root: Path) -> dict[str, str]:
    layout = ProblemLayout(root, "accidents")
    folders = (root / "models", layout.metrics, layout.data / "scores")
    return {
        str(p.relative_to(root)): sha256_file(p)
        for f in folders
        for p in sorted(f.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world["OPENBLAS_CORETYPE"])
def test_outputs_are_byte_identical_in_another_world(
    world: dict[str, str], trained_workspace: Path, workspace: Path
) -> None:
    environment = os.environ | world | {"OPENBLAS_NUM_THREADS": world["OMP_NUM_THREADS"]}
    subprocess.run(
        [sys.executable, "-c", CODE, str(workspace)],
        env=environment,
        check=True,
        capture_output=True,
    )
    found = _digests(workspace)
    assert (
        len(found) == 4 * 2 + 4 + 4 * 9 + 3 + 1 + 2
    )  # models and cards, scores, metrics with details and plots, histories, folds
    assert found == _digests(trained_workspace)
