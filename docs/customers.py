"""Write customers.csv, a made-up table with the quirks of real ones (docs/your-own-problem.md)."""

import csv
import math
import random

HEADER = [
    "customer id", "Signed up", "Âge", "city", "income [€]", "discount, %", "visits", "newsletter?",
    "plan", "refund", "country", "class",
]  # fmt: skip
CITIES = [
    f"{name} {part}" for name in ("Nord", "Süd", "Ost", "West", "Mitte") for part in range(1, 61)
]


def customer(number: int, draw: random.Random) -> list[str]:
    """Return one row: a date as 31/12/2023, formatted numbers, a column that leaks the target."""
    age, city, visits = draw.randint(18, 85), draw.choice(CITIES), int(draw.expovariate(0.3))
    income, plan = (
        draw.lognormvariate(7.8, 0.5),
        draw.choices(["basic", "plus", "pro"], [6, 3, 1])[0],
    )
    day = f"{draw.randint(1, 28):02}/{draw.randint(1, 12):02}/{draw.choice([2022, 2023])}"
    odds = (
        -1.5
        + 0.03 * (50 - age)
        - 0.35 * visits
        + (1.2 if plan == "basic" else 0)
        + (0.9 if "Ost" in city else 0)
    )
    left = draw.random() < 1 / (1 + math.exp(-odds))
    discount = "unknown" if draw.random() < 0.03 else f"{draw.uniform(0, 30):.1f} %"
    shown_age = "" if draw.random() < 0.2 else str(age)
    newsletter = str(draw.random() < 0.4)
    return [
        f"C-{number:05}", day, shown_age, city, f"€{income:,.2f}", discount, str(visits),
        newsletter, plan, "paid out" if left else "none", "FR", "left" if left else "stayed",
    ]  # fmt: skip


def main() -> None:
    """Write 3,000 customers, and 20 of them twice."""
    draw = random.Random(7)
    rows = [customer(number, draw) for number in range(3000)]
    with open("customers.csv", "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([HEADER, *rows, *rows[:20]])


if __name__ == "__main__":
    main()
