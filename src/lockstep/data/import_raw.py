"""Stage import_raw: the raw files of one problem from its source, as one folder.

    python -m lockstep.data.import_raw --problem accidents

Sources: sample (the problem's own generator), download (the publisher's files), files and table (a
folder of the repository that DVC tracks, created by `make add-data`).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from lockstep.config.layout import ProblemLayout, main_tree, stage_root
from lockstep.config.params import Download, Source, load_params
from lockstep.errors import ConfigError, DataError, run_command, unknown
from lockstep.io import whole_folder
from lockstep.problems.source_files import RemoteFile, is_leftover

NONE = "data/external/NONE"
CACHE = ".lockstep/downloads"
CODE_MODULES = ("lockstep.problems.{problem}.sample?", "lockstep.problems.{problem}.sources?")
"""What ``problem_module`` imports by name."""


def main() -> None:
    """Write the raw folder of one problem."""
    parser = argparse.ArgumentParser(prog="python -m lockstep.data.import_raw", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--problem", required=True, help="a problem of params.yaml")
    problem, root = parser.parse_args().problem, stage_root()
    source = load_params(root).problem(problem).source
    with whole_folder(ProblemLayout(root, problem).raw) as folder:
        IMPORTERS[source.kind](root, problem, source, folder)
        sizes = file_sizes(folder, source.kind)
    size = readable_size(sum(sizes))
    print(f"{problem}: {len(sizes)} raw files ({size}) from source {source.kind}")


def import_sample(root: Path, problem: str, source: Source, folder: Path) -> None:
    """Write the raw files of the problem's generator."""
    sample = problem_module(problem, "sample")
    if sample is None:
        raise ConfigError(
            f"{problem} has no sample generator; set problems.{problem}.source.kind to table or "
            f"files and run `make add-data PROBLEM={problem} FROM=…`"
        )
    sample.write_sample(source.sample, folder)


def import_download(root: Path, problem: str, source: Source, folder: Path) -> None:
    """Fetch the publisher's files; copy them, or what the problem's code makes of them.

    Worktrees and DVC's temporary trees share the main working tree's cache.
    """
    from lockstep.data.download import fetch_all

    files = remote_files(problem, source.download)
    cached = fetch_all(files, main_tree(root) / CACHE)
    write_raw = getattr(problem_module(problem, "sources"), "write_raw", None)
    if write_raw is not None:
        write_raw(cached, folder)
        return
    for file, path in zip(files, cached, strict=True):
        shutil.copyfile(path, folder / file.name)


def import_external(root: Path, problem: str, source: Source, folder: Path) -> None:
    """Copy the tracked folder (or the one file) of the source."""
    external = external_path(root, problem, source.external)
    refuse_twice(problem, files_below(external), source.kind)
    for file in files_below(external):
        target = folder / (file.relative_to(external) if external.is_dir() else file.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


IMPORTERS: dict[str, Callable[[Path, str, Source, Path], None]] = {
    "sample": import_sample,
    "download": import_download,
    "files": import_external,
    "table": import_external,
}


def problem_module(problem: str, name: str) -> ModuleType | None:
    """Return the module ``name`` of a problem's own code, or None where it has none."""
    package = f"lockstep.problems.{problem}"
    full = f"{package}.{name}"
    known = importlib.util.find_spec(package) and importlib.util.find_spec(full)
    return importlib.import_module(full) if known else None


def remote_files(problem: str, settings: Download) -> list[RemoteFile]:
    """Return the publisher's files of all years, with mirror and sums of params.yaml."""
    sources = problem_module(problem, "sources")
    if sources is None:
        fix = f"set problems.{problem}.source.kind to table or files"
        raise ConfigError(f"{problem} has no publisher to download from; {fix}")
    years = sorted(set(settings.years))
    files = list(dict.fromkeys(file for year in years for file in sources.files_of_year(year)))
    _check_pins(problem, settings.sha256, [file.name for file in files])
    base, pins = settings.base_url and settings.base_url.rstrip("/"), settings.sha256
    urls = [f"{base}/{file.name}" if base else file.url for file in files]
    sums = [pins.get(file.name, file.sha256 or "").lower() or None for file in files]
    known = zip(files, urls, sums, strict=True)
    return [RemoteFile(file.name, url, known_sum) for file, url, known_sum in known]


def _check_pins(problem: str, pins: dict[str, str], names: list[str]) -> None:
    where = f"params.yaml: problems.{problem}.source.download.sha256"
    for name, pin in pins.items():
        if name not in names:
            raise ConfigError(f"{where}: {unknown('file of these years', name, names)}")
        if not re.fullmatch(r"[0-9a-fA-F]{64}", pin):
            fault = "is no SHA-256: 64 hexadecimal digits are needed"
            raise ConfigError(f"{where}.{name} = {pin!r} {fault}")


def external_path(root: Path, problem: str, external: str) -> Path:
    """Return the source's folder or file; ConfigError if unset, missing or outside the project."""
    add = f"`make add-data PROBLEM={problem} FROM=…`"
    key = f"params.yaml: problems.{problem}.source.external"
    path = root / external
    if path == root / NONE:
        raise ConfigError(f"{key} is not set; run {add} to bring the data in")
    if Path(external).is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        fault = f"{key} = {external} lies outside the repository"
        raise ConfigError(f"{fault}; run {add} to copy the data in")
    if not path.exists():
        fix = f"run `make dvc-pull` to fetch it or {add} to bring it in"
        raise ConfigError(f"{external} is missing; {fix}")
    return path


def files_below(path: Path) -> list[Path]:
    """Return the file, or all visible files below the folder, sorted; links are followed.

    DataError for a folder that this user may not read.
    """
    if path.is_file():
        return [path]
    found, seen = [], set()
    for folder, inner, names in os.walk(path, followlinks=True, onerror=refuse_unreadable):
        seen.add(os.path.realpath(folder))
        visible = [name for name in inner if not is_leftover(name)]
        inner[:] = [name for name in visible if os.path.realpath(Path(folder, name)) not in seen]
        found += [Path(folder, name) for name in names if not is_leftover(name)]
    return sorted(file for file in found if file.is_file())


def refuse_unreadable(error: OSError) -> NoReturn:
    """Raise a DataError that names the folder which can't be listed, as os.walk's ``onerror``."""
    fault = f"the folder {error.filename} can't be read ({error.strerror})"
    raise DataError(f"{fault}; make it readable for this user, or move it away") from error


def refuse_twice(problem: str, files: Sequence[Path], kind: str) -> None:
    """Raise a DataError with both names if two of the publisher's files hold the same data."""
    refuse = getattr(problem_module(problem, "sources"), "refuse_twice", None)
    if kind == "files" and refuse is not None:
        refuse(files)


def file_sizes(folder: Path, kind: str) -> list[int]:
    """Return the sizes in bytes of the files a source wrote; no content at all is a DataError."""
    sizes = [file.stat().st_size for file in files_below(folder)]
    if not any(sizes):
        raise DataError(f"source {kind} gave no data at all: its folder holds no file with content")
    return sizes


def readable_size(size: int) -> str:
    """Return a number of bytes as people read it."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


if __name__ == "__main__":
    run_command(main)
