"""Set keys of params.yaml below the current folder: KEY=VALUE …, as `dvc exp run -S` takes them."""

import sys
from pathlib import Path

import yaml

from lockstep.config.params import read_params_text
from lockstep.config.params_file import with_values

root = Path.cwd()
pairs = [argument.split("=", 1) for argument in sys.argv[1:]]
values = {tuple(key.split(".")): yaml.safe_load(value) for key, value in pairs}
(root / "params.yaml").write_text(with_values(read_params_text(root), values), encoding="utf-8")
