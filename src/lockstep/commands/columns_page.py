"""Write docs/columns.md: the columns of all problems in params.yaml, from their schemas."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.layout import project_root
from lockstep.config.pages import shown_place
from lockstep.config.params import load_params
from lockstep.console import documented_parser
from lockstep.errors import run_command
from lockstep.io import write_text
from lockstep.problems.schema import load_schema
from lockstep.reports.columns_page import columns_page

PAGE = Path("docs") / "columns.md"


def main(arguments: list[str] | None = None) -> int:
    """Write the page and say where it is."""
    documented_parser("columns", __doc__).parse_args(arguments)
    root = project_root()
    write_text(root / PAGE, page_of(root))
    print(f"columns written to {shown_place(root, root / PAGE)}")
    return 0


def page_of(root: Path) -> str:
    """Return the page of a project's problems."""
    return columns_page([load_schema(name) for name in load_params(root).problems])


if __name__ == "__main__":
    run_command(main)
