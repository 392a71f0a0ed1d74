"""Draft the public tables of drafted_tables.csv, and write docs/drafted-tables.md.

python benchmarks/drafted_tables.py FOLDER

FOLDER holds a folder for each collection, as a clone of its repository has it:
FOLDER/mwaskom/seaborn-data/titanic.csv. Nothing is fetched, and no table is copied.
"""

from __future__ import annotations

import csv
import sys
from itertools import groupby
from pathlib import Path

from lockstep.data.tables import read_any
from lockstep.drafting.draft import Draft, draft
from lockstep.errors import LockstepError

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "drafted-tables.md"
HEAD = """\
# Public tables, drafted

`make new-problem` looked at these {count} public tables, which nobody prepared. It drafted
{drafted} of them; {refused} stop with an error that names the fix. Each entry holds what the draft
says, in its own words: the task, how the rows are split, what is left out, and what it asks.
[Your own problem](your-own-problem.md) explains the rules.

`benchmarks/drafted_tables.py FOLDER` writes this page from clones of the collections. No table is
part of this project.
"""


def main() -> None:
    """Draft every table of the list, and write the page."""
    folder = Path(sys.argv[1])
    with (HERE / "drafted_tables.csv").open(encoding="utf-8", newline="") as stream:
        tables = list(csv.DictReader(stream))
    sections, refused = [], 0
    for collection, rows in groupby(tables, key=lambda row: row["collection"]):
        sections.append(f"\n## [{collection}](https://github.com/{collection})\n")
        for row in rows:
            lines = drafted(folder / collection / row["file"], row["target"])
            refused += lines[0].startswith("  - stops")
            sections += [f"- `{row['file']}`, target `{row['target']}`:", *lines]
    count = len(tables)
    head = HEAD.format(count=count, drafted=count - refused, refused=refused)
    PAGE.write_text(head + "\n".join(sections) + "\n", encoding="utf-8")


def drafted(path: Path, target: str) -> list[str]:
    """Return what the draft of a table says, a line a fact."""
    try:
        found = draft(read_any(path), "toy", target)
    except LockstepError as error:
        return [f"  - stops: {plain(str(error))}"]
    rows = f"{found.rows:,} rows × {found.width} columns"
    notes = [f"  - file: {plain(note)}" for note in found.text.notes]
    lines = [f"  - {rows}, {found.task}; {plain(found.why_split)}", *notes]
    if found.left_out:
        lines.append(f"  - left out: {'; '.join(left_out(found))}")
    return [*lines, *(f"  - asks: {plain(what)}" for what in found.decide)]


def left_out(found: Draft) -> list[str]:
    """Return the columns that are left out, each with its reason."""
    return [f"`{name}` ({plain(shortened(why))})" for name, why in found.left_out.items()]


def shortened(why: str) -> str:
    """Return a reason without the evidence that the question about it shows."""
    return "suspected leak" if why.startswith("suspected leak") else why.partition(". ")[0]


def plain(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return "".join(f"\\{sign}" if sign in "\\*_<>|[]`" else sign for sign in text)


if __name__ == "__main__":
    main()
