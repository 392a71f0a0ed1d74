#!/usr/bin/env bash
# Train on a real table as a user would: a clone, `make add-data`, the normal graph; then print the test metrics and
# compare the best type with scikit-learn's HistGradientBoosting (defaults) on the same rows.
# At the end, what a blend of the trained types would give.
#   benchmarks/real_table.sh PROBLEM FOLDER-OR-FILE [-S-style KEY=VALUE …]
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
problem=$1
from=$(cd "$(dirname "$2")" && pwd -P)/$(basename "$2")
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git clone -q "$root" "$work/clone"
cd "$work/clone"
export PATH="$root/.venv/bin:$PATH" PYTHONPATH="$work/clone/src"
python -m lockstep.commands.add_data --problem "$problem" --from "$from"
python "$root/benchmarks/set_params.py" "$@"
git add -A && git -c user.name=bench -c user.email=bench@example.org commit -qm "real data"
time python -m lockstep.commands.train --problem "$problem"
python "$root/benchmarks/against_reference.py" "$problem"
python "$root/benchmarks/blends.py" "$problem"
