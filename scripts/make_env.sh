#!/usr/bin/env bash
# Build .venv from the hashed lock files: with uv where it can reach the index, else with pip (slower, same result).
set -eu
cd "$(dirname "$0")/.."
python=${1:-python3}

# make puts .venv/bin first: a python3 from there would delete itself below.
PATH=$(printf '%s\n' "$PATH" | tr ':' '\n' | while IFS= read -r folder; do
    [ "$folder" -ef .venv/bin ] || printf '%s:' "$folder"
done)
PATH=${PATH%:}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "✗ $python is missing or older than 3.11; install Python 3.11 or newer, or run: make env PYTHON=/path/to/python3" >&2
    exit 1
}
"$python" -c 'import ensurepip' 2>/dev/null || {
    echo "✗ $python has no venv; install it (Debian: apt install python3-venv)" >&2
    exit 1
}
echo "Building .venv from requirements.lock and requirements-dev.lock …"
# A moved or damaged environment is built anew: its scripts spell the folder they were made in.
.venv/bin/pip --version >/dev/null 2>&1 || { rm -rf .venv && "$python" -m venv .venv; }
export PIP_DISABLE_PIP_VERSION_CHECK=1
uv_lock=$(mktemp)
trap 'rm -f "$uv_lock"' EXIT
sed -n '/^uv==/,/^    #/p' requirements-dev.lock > "$uv_lock"
.venv/bin/python -m pip install -q --require-hashes -r "$uv_lock"
.venv/bin/uv pip install --no-cache --system-certs --compile-bytecode --python .venv/bin/python --require-hashes -q -r requirements-dev.lock ||
    .venv/bin/python -m pip install -q --require-hashes -r requirements-dev.lock
.venv/bin/python -m pip install -q --no-deps --no-build-isolation --editable .
env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m compileall -q src/lockstep
fault=$(.venv/bin/python -c 'import lightgbm, xgboost' 2>&1) || {
    echo "✗ ${fault##*$'\n'}" >&2
    echo "  If that is the OpenMP library (libgomp, libomp), install it (Debian: apt install libgomp1," >&2
    echo "  macOS: brew install libomp), then run: make env" >&2
    exit 1
}
(cd .venv && pwd -P) > .venv/.ready
