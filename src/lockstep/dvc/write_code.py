"""Stage code: what the code of every stage means, a file a stage, before any of them runs.

It writes the file below `code/` that a stage of dvc.yaml names among its dependencies.
"""

from __future__ import annotations

import gc
import sys

try:
    from lockstep.code.closure import Code, code_text
    from lockstep.code.files import Files
    from lockstep.config.layout import stage_root
    from lockstep.dvc.graph import CODE, Graph
    from lockstep.errors import ConfigError, run_command
    from lockstep.io import whole_folder
except SyntaxError as error:  # in a module that this stage itself needs
    sys.exit(f"✗ {error.filename}, line {error.lineno}: {error.msg}; no stage can run it")


def main() -> None:
    """Write one file a stage, all of them or none."""
    gc.disable()  # all syntax trees live to the end
    root = stage_root()
    graph, code = Graph.read(root), Code(Files.of_folder(root))
    with whole_folder(root / CODE) as folder:
        for name in graph.names:
            stage = graph.one(name)
            if stage.code is None:
                continue
            try:
                parts = code.of_command(stage.cmd)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from error
            path = folder / stage.code.removeprefix(f"{CODE}/")
            path.write_text(code_text(parts), encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
