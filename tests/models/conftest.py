"""A small synthetic problem: encoded matrices with categories, missing values and a numeric target side."""

import numpy as np
import pandas as pd
import pytest

from lockstep.models.matrices import Columns, Matrix

KINDS = {"age": "numeric", "road": "categorical", "speed": "numeric", "light": "ordered"}


def make_matrix(seed: int, rows: int = 600) -> Matrix:
    rng = np.random.default_rng(seed)
    age, speed = rng.uniform(0, 90, rows), rng.choice([30.0, 50, 80, 110], rows)
    road, light = rng.integers(0, 8, rows).astype(float), rng.integers(1, 5, rows).astype(float)
    margin = 0.03 * (speed - 60) + 0.5 * np.sin(road) + 0.02 * (age - 40) + 0.2 * light - 0.5
    truth = 1 / (1 + np.exp(-margin))
    target = (rng.random(rows) < truth).astype(np.int8)
    age[rng.random(rows) < 0.05] = np.nan
    frame = pd.DataFrame({"age": age, "road": road, "speed": speed, "light": light})
    return Matrix(frame, target, np.arange(rows) // 2, np.arange(rows), truth)


@pytest.fixture(scope="session")
def columns() -> Columns:
    return Columns(KINDS)


@pytest.fixture(scope="session")
def train() -> Matrix:
    return make_matrix(1, 1500)


@pytest.fixture(scope="session")
def stop() -> Matrix:
    return make_matrix(2)


@pytest.fixture(scope="session")
def choose() -> Matrix:
    return make_matrix(3)
