"""The report of a problem as a file, with what the registry says, where it can be reached."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.pages import shown_place
from lockstep.config.settings import load_settings
from lockstep.console import warn
from lockstep.errors import RegistryError
from lockstep.io import write_text
from lockstep.registry.publishing.report import registered_models
from lockstep.registry.store.opening import open_to_read
from lockstep.reports.report import Registered, report
from lockstep.reports.report_files import ReportFiles, read_report_files


def write_report(root: Path, problem: str, output: Path, tracking_uri: str | None = None) -> str:
    """Write the report; return a line that says where it is."""
    files = read_report_files(root, problem)
    registered = ask_registry(root, files, tracking_uri)
    for line in (*files.missing, registered.note):
        if line:
            warn(f"WARNING the report is incomplete: {line}")
    write_text(output, report(files, registered))
    return f"{problem}: report written to {shown_place(root, output)}"


def ask_registry(root: Path, files: ReportFiles, tracking_uri: str | None = None) -> Registered:
    """Return the models' versions and moves; without a registry the reason."""
    settings = load_settings(root, {"tracking_uri": tracking_uri})
    try:
        return registered_models(open_to_read(root, tracking_uri), settings, files)
    except RegistryError as error:
        return Registered(note=f"the registry was not asked for versions and moves: {error}")
