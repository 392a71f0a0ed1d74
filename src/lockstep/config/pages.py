"""The places of pages for people; git and DVC leave the folder out.

Apart from layout.py, whose changes run every stage again.
"""

from pathlib import Path


def page_file(root: Path, name: str) -> Path:
    """Return the place of a problem's report, or of the board."""
    return root / "reports" / f"{name}.html"


def shown_place(root: Path, file: Path) -> Path:
    """Return a file's place as messages give it: from the project's folder, if it is in there."""
    return file.relative_to(root) if file.is_relative_to(root) else file
