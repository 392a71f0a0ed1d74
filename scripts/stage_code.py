#!/usr/bin/env python
"""Derive each stage's code from the imports of its module and compare it with dvc.yaml (--write: put it there).

What a stage runs is an input of it: a file that is missing under ``deps`` is a change that DVC cannot see.
``lockstep.registry`` is left out on purpose: where and how a run is logged changes no result.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
LEFT_OUT = ("lockstep.registry", "lockstep.reports")
STAGE_MODULE = re.compile(r"python -m (lockstep\.[\w.]+)")


def module_file(module: str) -> Path | None:
    """Return the file of a module of the package, or None where the name is something inside a module."""
    path = SOURCE / Path(*module.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((p for p in candidates if p.is_file()), None)


def imported_modules(file: Path) -> set[str]:
    """Return the package's modules that a file imports, anywhere in it (late imports count)."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {m for m in found if m.split(".")[0] == "lockstep" and not m.startswith(LEFT_OUT)}


def has_code(file: Path) -> bool:
    """Tell whether a file holds more than a docstring."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return any(not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)) for n in body)


def code_of(module: str) -> list[str]:
    """Return the files, relative to the root, that running ``module`` may execute, sorted."""
    waiting, files = [module], set()
    while waiting:
        file = module_file(waiting.pop())
        if file is None or file in files:
            continue
        files.add(file)
        waiting.extend(imported_modules(file))
    return sorted(f.relative_to(ROOT).as_posix() for f in files if has_code(f))


def stages(text: str) -> dict[str, str]:
    """Return the module that each stage of a dvc.yaml runs, but for the one that registers."""
    import yaml

    commands = {
        name: (s.get("do") or s)["cmd"] for name, s in yaml.safe_load(text)["stages"].items()
    }
    modules = {name: STAGE_MODULE.search(command) for name, command in commands.items()}
    return {n: m[1] for n, m in modules.items() if m and not m[1].startswith(LEFT_OUT)}


def with_code(text: str) -> str:
    """Return dvc.yaml's text with the derived code files in each stage's deps."""
    for name, module in stages(text).items():
        text = _with_stage_code(text, name, code_of(module))
    return text


def _with_stage_code(text: str, stage: str, files: list[str]) -> str:
    block = re.search(rf"^  {stage}:\n(?:(?:    .*)?\n)+", text, re.MULTILINE)
    if block is None:
        raise SystemExit(f"✗ dvc.yaml has no stage {stage}")
    lines = [
        line
        for line in block[0].splitlines()
        if not re.fullmatch(r"\s+- src/lockstep/.*\.py", line)
    ]
    at = next(i for i, line in enumerate(lines) if line.strip() == "deps:") + 1
    indent = " " * (len(lines[at]) - len(lines[at].lstrip()))
    lines[at:at] = [f"{indent}- {file}" for file in files]
    return text.replace(block[0], "\n".join(lines) + "\n")


def main() -> int:
    """Compare, or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--write", action="store_true", help="write the derived lists into dvc.yaml"
    )
    write = parser.parse_args().write
    path = ROOT / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    derived = with_code(text)
    if derived == text:
        return 0
    if not write:
        print(
            "✗ dvc.yaml's code deps are stale; run: python scripts/stage_code.py --write",
            file=sys.stderr,
        )
        return 1
    path.write_text(derived, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
