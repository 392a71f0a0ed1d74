"""Import every module below SRC and print, as JSON, which of them lack which package.

python tests/package/import_all.py SRC
"""

import importlib
import json
import sys
from pathlib import Path


def lacking(source: Path) -> dict[str, str]:
    """Return each module that can't be imported, with the reason."""
    found = {}
    for path in sorted((source / "lockstep").rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        try:
            importlib.import_module(name)
        except ImportError as error:
            found[name] = str(error.name)
        except importlib.import_module("lockstep.errors").ConfigError as error:
            found[name] = str(error)
    return found


if __name__ == "__main__":
    print(json.dumps(lacking(Path(sys.argv[1]))))
