"""The places of pages for people; git and DVC leave the folder out.

Apart from layout.py, whose changes run every stage again.
"""

from pathlib import Path


def page_file(root: Path, name: str) -> Path:
    """Return the place of a problem's report, or of the board."""
    return root / "reports" / f"{name}.html"
