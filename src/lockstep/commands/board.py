"""Write the board of the registry: models by stage, verdicts, moves, and what to do next.

    python -m lockstep.commands.board
    python -m lockstep.commands.board --output board.html --tracking-uri http://127.0.0.1:5000

It writes one HTML file that needs no network. It only reads the registry, and takes no lock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from pkgutil import resolve_name

from lockstep.config.layout import project_root
from lockstep.config.pages import page_file, shown_place
from lockstep.config.settings import load_settings
from lockstep.console import TRACKING_URI, add_options, documented_parser
from lockstep.errors import run_command
from lockstep.io import write_text
from lockstep.registry.store.opening import open_to_read
from lockstep.registry.store.uris import resolve_uri
from lockstep.reports.board_page import board_page

OPTIONS = {
    "--output": ("FILE", "the page to write (default: reports/board.html)", Path),
    "--tracking-uri": ("URI", TRACKING_URI),
}


def main() -> None:
    """Parse the command line, read, write, print."""
    parser = documented_parser("python -m lockstep.commands.board", __doc__)
    add_options(parser, OPTIONS)
    options, root, now = parser.parse_args(), project_root(), datetime.now(UTC)
    client = open_to_read(root, options.tracking_uri)
    place = resolve_uri(load_settings(root, {"tracking_uri": options.tracking_uri}), root)
    # Opened after --help, which needs no numpy.
    board = resolve_name("lockstep.promotion.board_facts:board_facts")(client, root, place, now)
    output = options.output or page_file(root, "board")
    write_text(output, board_page(board, now))
    print(f"{board.summary}\nboard: {shown_place(root, output)}")


if __name__ == "__main__":
    run_command(main)
