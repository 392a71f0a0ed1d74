"""Write a large CSV of mixed columns: what do `make new-problem` and `make run-train` need for it?

python benchmarks/large_table.py FILE [ROWS]

It has 30 columns, 3,000,000 rows by default, and the target `outcome`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROWS = 3_000_000
STEP = 250_000
NUMBERS, TEXTS = 20, 8


def main() -> None:
    """Write the table piece by piece, so that it takes no memory here."""
    path, rows = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else ROWS
    for start in range(0, rows, STEP):
        piece = table(start, min(STEP, rows - start))
        piece.to_csv(
            path, mode="a" if start else "w", header=not start, index=False, float_format="%.4f"
        )


def table(start: int, rows: int) -> pd.DataFrame:
    """Return rows of numbers, texts of 3 to 5,000 levels, dates, missing values, two classes."""
    rng = np.random.Generator(np.random.PCG64([7, start]))
    numbers = rng.normal(size=(rows, NUMBERS))
    levels = [int(3 * 2.9**place) for place in range(TEXTS - 1)] + [5000]
    codes = [rng.integers(0, count, rows) for count in levels]
    margin = numbers[:, :5].sum(axis=1) * 0.4 + sum((code % 7 - 3) * 0.15 for code in codes) - 1.5
    columns: dict[str, object] = {f"number_{place}": numbers[:, place] for place in range(NUMBERS)}
    columns |= {
        f"text_{place}": np.char.add("level ", code.astype(str)) for place, code in enumerate(codes)
    }
    columns["day"] = np.datetime64("2020-01-01") + rng.integers(0, 1500, rows).astype(
        "timedelta64[D]"
    )
    columns["outcome"] = np.where(rng.random(rows) < 1 / (1 + np.exp(-margin)), "yes", "no")
    content = pd.DataFrame(columns)
    content.loc[rng.random(rows) < 0.2, "number_3"] = np.nan
    return content


if __name__ == "__main__":
    main()
