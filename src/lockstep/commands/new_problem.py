"""Draft a new problem from a table: its schema, its sections of params.yaml and dvc.yaml, its data.

    python -m lockstep.commands.new_problem --name churn --file customers.csv --target churned
                                             (make new-problem NAME=… FILE=… TARGET=… TASK=…)

If it fails, nothing is changed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import keyword
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.commands.add_data import EXTERNAL, Found, given_path, look_at, store, track
from lockstep.commands.home_folder import expanded
from lockstep.commands.undo import Changes, all_or_nothing, folder_sum, sum_of
from lockstep.config.layout import ProblemLayout, project_root
from lockstep.config.params import load_params, read_params_text
from lockstep.config.params_file import parsed, with_block, with_sections
from lockstep.console import documented_parser
from lockstep.dvc.plots import PLOTS, artifacts, plots
from lockstep.errors import ConfigError, UsageError, run_command
from lockstep.io import whole_folder, write_json, write_text
from lockstep.problems import schema as schemas

if TYPE_CHECKING:
    from lockstep.drafting.draft import Draft

TASKS = ("binary", "multiclass", "regression")
PROBLEMS = "src/lockstep/problems"


def main() -> None:
    """Profile the table, write the draft, and report what was found."""
    given = _arguments()
    root = project_root()
    with all_or_nothing(root) as changes:
        check_name(root, given.name)
        found, draft = drafted(root, given)
        changes.begin(*touched(given.name))
        write(root, draft, found, changes)
    print(report(draft))


def _arguments() -> argparse.Namespace:
    parser = documented_parser("python -m lockstep.commands.new_problem", __doc__)
    name = "the new problem's name, as in commands and folders"
    parser.add_argument("--name", required=True, help=name)
    parser.add_argument("--file", required=True, help="one CSV, TSV or Parquet file")
    parser.add_argument("--target", required=True, help="the column to be predicted")
    task = "default: by the target's values"
    parser.add_argument("--task", default="", choices=[*TASKS, ""], help=task)
    return parser.parse_args()


def check_name(root: Path, name: str) -> None:
    """Refuse a name that can't be a folder, a module and a stage's, or that is taken."""
    if not name.strip():
        raise UsageError("give the new problem a name: make new-problem NAME=… FILE=… TARGET=…")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        fit = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_").lstrip("0123456789_")
        example = f", e.g. NAME={fit}" if fit else ""
        needed = "small letters, digits and underscores, a letter first"
        raise UsageError(f"NAME={name} must be {needed}{example}")
    fix = f"give another, e.g. {name}_problem"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UsageError(f"NAME={name} is a word of Python's own; {fix}")
    if name in load_params(root).problems or (root / PROBLEMS / name).exists():
        more = f"bring new data to it with `make add-data PROBLEM={name} FROM=…`"
        raise UsageError(f"the problem {name} exists already; give another NAME=…, or {more}")
    layout = ProblemLayout(root, name)
    places = (layout.data, layout.metrics, root / "models" / name, root / EXTERNAL / name)
    taken = [path.relative_to(root) for path in places if path.exists()]
    if taken:
        raise UsageError(f"{taken[0]} is there already; give another NAME=…, or move it away")
    spec = importlib.util.find_spec(name)
    if name in sys.stdlib_module_names or (spec is not None and spec.origin is not None):
        raise UsageError(f"NAME={name} is the name of an installed package; {fix}")


def drafted(root: Path, given: argparse.Namespace) -> tuple[Found, Draft]:
    """Return the file as data to bring in, and the draft; UsageError if it is no readable table."""
    from lockstep.data.tables import SUFFIXES, read_any
    from lockstep.drafting.draft import draft, known_file

    name, file = given.name, given.file
    if not file.strip():
        raise UsageError("give the table: make new-problem NAME=… FILE=table.csv TARGET=…")
    known_file(expanded(file), SUFFIXES)
    found = look_at(name, given_path(root, file, root / EXTERNAL / name), "table")
    return found, draft(read_any(found.files[0]), name, given.target, given.task)


def touched(name: str) -> tuple[str, ...]:
    """Return the paths that a new problem changes or creates, relative to the project."""
    made = (f"{PROBLEMS}/{name}", f"{EXTERNAL}/{name}", f"{EXTERNAL}/{name}.dvc")
    return ("params.yaml", "dvc.yaml", PLOTS, f"{EXTERNAL}/.gitignore", *made)


def write(root: Path, draft: Draft, found: Found, changes: Changes) -> None:
    """Write the problem's folder, copy the data, extend params.yaml and both dvc.yaml."""
    from lockstep.drafting.draft_text import drafted_types, params_text

    kinds = drafted_types(draft.task)
    types, curved = [k.name for k in kinds], [k.name for k in kinds if k.has_history]
    params = with_sections(read_params_text(root), params_text(draft))
    parsed(params)
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    text = with_sections(text, artifacts(draft.problem, draft.problem, types), "dvc.yaml")
    section = plots(draft.problem, draft.task, types, curved).splitlines()[1:]
    shown = with_block((root / PLOTS).read_text(encoding="utf-8"), "plots", section, PLOTS)
    write_folder(root / PROBLEMS / draft.problem, draft, changes)
    bring_in(root, draft.problem, found, changes)
    for name, content in {
        "dvc.yaml": text,
        PLOTS: shown,
        "params.yaml": params,
    }.items():
        changes.writes(root / name, hashlib.sha256(content.encode()).hexdigest())
        write_text(root / name, content)


def bring_in(root: Path, name: str, found: Found, changes: Changes) -> None:
    """Copy the data into the project, and let DVC track it."""
    target = root / EXTERNAL / name
    changes.writes(target, folder_sum(found.by_name))
    store(found, target)
    track(root, target)
    for made in (target.with_name(f"{name}.dvc"), target.with_name(".gitignore")):
        changes.writes(made, sum_of(made))


def write_folder(folder: Path, draft: Draft, changes: Changes) -> None:
    """Write schema.yaml, an example record and the package's file; read the schema as stages do."""
    from lockstep.drafting.draft_text import schema_text, title_of

    if folder.parent.resolve() != schemas.PROBLEMS.resolve():
        fix = "run it in that project, or `make env` here"
        raise ConfigError(f"this command runs the package in {schemas.PROBLEMS.parent}; {fix}")
    with whole_folder(folder) as part:
        write_text(part / "schema.yaml", schema_text(draft))
        write_json(part / "example.json", draft.example, digits=None)
        title = title_of(draft.problem).replace("_", " ")
        line = f'"""{title}: drafted from a table; schema.yaml says the rest."""\n'
        write_text(part / "__init__.py", line)
        schemas.read_schema(part / "schema.yaml")
        changes.writes(folder, sum_of(part))


def report(draft: Draft) -> str:
    """Return a summary of the draft, what a person must decide, and the next commands."""
    name, folder = draft.problem, f"{PROBLEMS}/{draft.problem}"
    kinds = [c.keys["kind"] for c in draft.columns]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    size = f"{draft.rows:,} rows, {draft.width} columns"
    written = f"{folder}/schema.yaml, {folder}/example.json"
    lines = [
        f"drafted the problem {name} from {draft.source}: {size}{draft.sample_note}",
        *(f"  file      {note}" for note in draft.text.notes),
        f"  task      {draft.task}: {draft.why_task} "
        f"('{draft.target.source}': {draft.target.facts})",
        f"  columns   {counts}; {len(draft.left_out)} left out",
        *(f"              {column}: {why}" for column, why in draft.left_out.items()),
        f"  split     {draft.split}: {draft.why_split}",
        f"  written   {written}; sections in params.yaml, dvc.yaml and {PLOTS}; "
        f"{EXTERNAL}/{name}, tracked by DVC",
    ]
    if draft.decide:
        marked = "`decide:` marks most in schema.yaml and params.yaml; the draft works as it is"
        lines.append(f"to decide ({marked}):")
        lines += [f"  - {what}" for what in draft.decide]
    return "\n".join([*lines, "next:", f"  make run-train PROBLEM={name}"])


if __name__ == "__main__":
    run_command(main)
