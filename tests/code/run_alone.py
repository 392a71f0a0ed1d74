"""Run a stage in a folder that holds only its closure; print the distributions it loaded, as JSON.

python code_alone.py STATEMENT
"""

import json
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

exec(sys.argv[1])

HERE = Path.cwd() / "src" / "lockstep"
FOREIGN = [
    module.__file__
    for name, module in sys.modules.items()
    if name.partition(".")[0] == "lockstep"
    and getattr(module, "__file__", None)
    and not Path(module.__file__).is_relative_to(HERE)
]
assert not FOREIGN, FOREIGN
KNOWN = packages_distributions()
LOADED = {
    re.sub(r"[-_.]+", "-", distribution).lower()
    for name, module in sys.modules.items()
    if getattr(module, "__file__", None)
    for distribution in KNOWN.get(name.partition(".")[0], [])
}
print(json.dumps(sorted(LOADED - {"lockstep"})))
