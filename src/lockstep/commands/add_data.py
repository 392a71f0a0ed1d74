"""Bring the user's own data in: copied below data/external, tracked by DVC, named in params.yaml.

    python -m lockstep.commands.add_data --problem accidents --from DIR_OR_FILE
                                         (make add-data PROBLEM=… FROM=…)

The data become an artifact of the repository like any other: no path outside of it reaches
dvc.lock, and a colleague's clone with only the DVC remote reproduces the trainings on them.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lockstep.commands.home_folder import expanded
from lockstep.commands.undo import folder_sum
from lockstep.config.layout import project_root
from lockstep.config.params import read_params_text
from lockstep.config.params_file import parsed, with_sections, with_values
from lockstep.console import documented_parser
from lockstep.data.import_raw import files_below, problem_module, readable_size, refuse_twice
from lockstep.dvc.command import default_remote, run_dvc
from lockstep.errors import ConfigError, DataError, UsageError, run_command
from lockstep.io import sha256_file, whole_folder, write_text
from lockstep.problems.schema import PROBLEMS, Schema, load_schema

Kind = Literal["files", "table"]
EXTERNAL = "data/external"
SUFFIXES = (".csv", ".tsv", ".parquet", ".txt", ".data")


@dataclass(frozen=True)
class Found:
    """The data files of the given place, how they are read, and whether they bring a split."""

    base: Path
    files: tuple[Path, ...]
    skipped: tuple[Path, ...]
    kind: Kind
    own_split: bool
    note: str = ""
    """What a person must know of the files."""

    @property
    def by_name(self) -> dict[str, Path]:
        """The files by where they go below the problem's external folder."""
        return {self.target_name(file).as_posix(): file for file in self.files}

    def target_name(self, file: Path) -> Path:
        """Return where a file goes below the problem's external folder."""
        return file.relative_to(self.base)


def main() -> None:
    """Add data to one problem and report what was done and what comes next."""
    given = _arguments()
    schema, root = load_schema(given.problem), project_root()
    target = root / EXTERNAL / given.problem
    found = look_at(given.problem, given_path(root, given.source, target), given.kind or None)
    params = new_params(root, schema, found)  # a fault there must be seen before anything is copied
    changed = store(found, target)
    changed |= track(root, target)
    changed |= write_if_new(root / "params.yaml", params)
    print(report(root, given.problem, found, changed))


def _arguments() -> argparse.Namespace:
    parser = documented_parser("python -m lockstep.commands.add_data", __doc__)
    parser.add_argument("--problem", required=True, help="a problem that has a schema")
    parser.add_argument("--from", dest="source", required=True, help="a folder or one file")
    kind = "files: raw files; table: a prepared table (default: by file names)"
    parser.add_argument("--kind", choices=["files", "table", ""], help=kind)
    return parser.parse_args()


def given_path(root: Path, source: str, target: Path) -> Path:
    """Return the folder or file to copy from; UsageError if missing, unreadable or the target."""
    if not source.strip():
        raise UsageError("no data were named: make add-data PROBLEM=… FROM=FOLDER_OR_FILE")
    path = expanded(source)
    if not path.exists():
        raise UsageError(f"{source} is not there; give FROM=… a folder or a file that exists")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise UsageError(f"{source} cannot be read; give this user the permission to read it")
    real, held = path.resolve(), target.resolve()
    if real.is_relative_to(held) or held.is_relative_to(real):
        where = f"{target.relative_to(root)}, where the data would go"
        raise UsageError(f"{source} holds, or lies in, {where}; give another FROM=…")
    return path


def look_at(problem: str, path: Path, kind: Kind | None) -> Found:
    """Find the data files of a folder (or the one file); their names decide how they are read."""
    links = sorted(path.rglob("*")) if path.is_dir() else []
    broken = [link for link in links if link.is_symlink() and not link.exists()]
    if broken:
        raise DataError(f"{broken[0]} is a link to nothing; remove it or restore what it points to")
    files = files_below(path)
    data = _read_files(problem, _data_files(files))
    _check_files(path, files, data)
    base = path if path.is_dir() else path.parent
    names = [file.name for file in data]
    is_table = kind == "table" or (kind is None and not _is_raw(problem, path, names))
    if is_table:
        _refuse_copies(data)
    refuse_twice(problem, data, "table" if is_table else "files")
    own_split, note = _own_split(path, data) if is_table else (False, "")
    skipped = tuple(file for file in files if file not in data)
    return Found(base, data, skipped, "table" if is_table else "files", own_split, note)


def _data_files(files: list[Path]) -> tuple[Path, ...]:
    """Return the files that may hold data; text files only where there is nothing else."""
    data = [file for file in files if file.suffix.lower() in SUFFIXES]
    tables = [file for file in data if file.suffix.lower() != ".txt"]
    return tuple(tables or data)


def _read_files(problem: str, data: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the files without those of the publisher that nothing reads."""
    sources = problem_module(problem, "sources")
    if sources is None or not any(sources.is_raw_name(file.name) for file in data):
        return data
    return tuple(file for file in data if not sources.is_ignored_name(file.name))


def _check_files(path: Path, files: list[Path], data: tuple[Path, ...]) -> None:
    if not data:
        seen = f"; found {', '.join(f.name for f in files[:5])}" if files else "; it is empty"
        missing = f"{path} holds no data file ({', '.join(SUFFIXES)})"
        raise DataError(f"{missing}{seen}; unpack archives first")
    for file in data:
        if not os.access(file, os.R_OK):
            raise DataError(f"{file} cannot be read; give this user the permission to read it")
        if not file.stat().st_size:
            raise DataError(f"{file} is empty; get it again")


def _refuse_copies(data: tuple[Path, ...]) -> None:
    """Refuse a table that is there twice under two names: their bytes are the same."""
    seen: dict[str, Path] = {}
    for file in data:
        twin = seen.setdefault(sha256_file(file), file)
        if twin is not file:
            raise DataError(f"{twin} and {file} are the same file (byte for byte); keep one")


def _is_raw(problem: str, path: Path, names: list[str]) -> bool:
    """Return whether the files are the publisher's; a mixture of both kinds is a DataError."""
    sources = problem_module(problem, "sources")
    raw = [name for name in names if sources is not None and sources.is_raw_name(name)]
    if raw and len(raw) < len(names):
        other = next(name for name in names if name not in raw)
        raise DataError(
            f"{path} holds raw files of the publisher ({raw[0]}) and others ({other}); "
            "give a folder with one kind only, or say which with KIND=files or KIND=table"
        )
    return bool(raw)


def _own_split(path: Path, files: tuple[Path, ...]) -> tuple[bool, str]:
    """Return whether a table has its own train and test rows, and how many are in both files.

    Names of no table are a DataError, and so are test rows that are all training rows.
    """
    from lockstep.data.tables import form_of

    form = form_of(files, path)
    if "all" in form:
        return False, ""
    side = "x_" if "x_test" in form else ""
    return True, _shared_rows(form[f"{side}test"], form[f"{side}train"])


def _shared_rows(test: Path, train: Path) -> str:
    """Return how many test rows are training rows too; DataError if all are.

    A file that can't be read says nothing here: preprocess refuses it with its line.
    """
    from lockstep.data.copies import shared_rows
    from lockstep.data.tables import read_any

    try:
        table, others = read_any(test), read_any(train)
    except DataError:
        return ""
    shared, is_copied = shared_rows(table, others)
    if not shared or not is_copied:
        return ""
    said = f"{shared:,} of {table.rows:,} rows of {test.name} are rows of {train.name} too"
    if shared == table.rows:
        raise DataError(f"{said}, equal in every column; give test rows that training does not see")
    return f"{said}, equal in every column: the test metrics are too optimistic"


def store(found: Found, target: Path) -> bool:
    """Replace the target by the files; return False if it has them already."""
    below = files_below(target) if target.is_dir() else []
    held = {file.relative_to(target).as_posix(): file for file in below}
    if below and folder_sum(found.by_name) == folder_sum(held):
        return False
    if below and not target.with_name(f"{target.name}.dvc").exists():
        raise UsageError(
            f"{target} holds files that DVC does not track and that would be lost; "
            "move the folder away, then give its new place as FROM=…"
        )
    with whole_folder(target) as folder:
        for file in found.files:
            copy = folder / found.target_name(file)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return True


def track(root: Path, target: Path) -> bool:
    """Let DVC track the folder; return whether its .dvc file changed."""
    tracked = target.with_name(f"{target.name}.dvc")
    before = tracked.read_bytes() if tracked.exists() else None
    run_dvc(root, "add", target.relative_to(root).as_posix())
    return tracked.read_bytes() != before


def new_params(root: Path, schema: Schema, found: Found) -> str:
    """Return the checked text of params.yaml with the new source, comments and order unchanged.

    A problem without a section gets the one that its own folder suggests.
    """
    problem = schema.name
    text = with_sections(read_params_text(root), suggested_sections(problem))
    params = parsed(text)
    if problem not in params.problems:
        fix = "write one like the others there"
        raise ConfigError(f"params.yaml has no section problems.{problem}; {fix}")
    split_kind = _split_kind(schema, found, params.problem(problem).split.kind)
    keys = {
        ("source", "kind"): found.kind,
        ("source", "external"): f"{EXTERNAL}/{problem}",
        ("split", "kind"): split_kind,
    }
    text = with_values(text, {("problems", problem, *key): value for key, value in keys.items()})
    parsed(text)
    return text


def _split_kind(schema: Schema, found: Found, now: str) -> str:
    """Return how to split: as the source does, else as before, else as the schema allows."""
    if found.own_split and schema.part:
        return "given"
    if now != "given":
        return now
    return "time" if schema.date else "group"


def suggested_sections(problem: str) -> str:
    """Return the params.yaml of the problem's folder; without one, an empty fragment."""
    path = PROBLEMS / problem / "params.yaml"
    return path.read_text(encoding="utf-8") if path.is_file() else "{}\n"


def write_if_new(path: Path, text: str) -> bool:
    """Write the text where it differs from the file; return whether it did."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    write_text(path, text)
    return True


def report(root: Path, problem: str, found: Found, changed: bool) -> str:
    """Return what was done and which commands come next."""
    folder = f"{EXTERNAL}/{problem}"
    size = readable_size(sum(file.stat().st_size for file in found.files))
    many = len(found.files)
    what = f"{many} file{'s' if many > 1 else ''} ({size}) as source {found.kind}"
    if not changed:
        already = f"nothing to do: {folder} holds these {what} already"
        return f"{already}\nnext: make run-train PROBLEM={problem}"
    split = " with its own train and test rows" if found.own_split else ""
    lines = [f"added {what}{split}: {folder}, tracked by {folder}.dvc, named in params.yaml"]
    if found.skipped:
        lines.append(f"left out: {', '.join(file.name for file in found.skipped[:5])}")
    lines += [f"note: {found.note}"] if found.note else []
    added = f"git add params.yaml {folder}.dvc {EXTERNAL}/.gitignore"
    lines += ["next:", f"  make run-train PROBLEM={problem}"]
    lines.append(f"  {added} && git commit -m 'Data of {problem}'")
    if default_remote(root):
        lines.append("  dvc push")
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(main)
