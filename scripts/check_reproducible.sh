#!/usr/bin/env bash
# Clone the last commit into an empty folder, run `dvc repro` from nothing under another BLAS kernel, thread count,
# time zone and language each time, and fail unless dvc.lock and the metrics end up as committed, byte for byte.
set -euo pipefail
if [ "$(uname -sm)" != "Linux x86_64" ]; then
    echo "✗ the committed results are those of Linux x86-64, and this is $(uname -sm): run this there" >&2
    exit 1
fi
root=$(cd "$(dirname "$0")/.." && pwd)
kernels=${*:-Haswell SkylakeX}
ran=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for kernel in $kernels; do
    if [ "$kernel" = SkylakeX ] && ! grep -qs avx512f /proc/cpuinfo; then
        echo "== $kernel left out: this processor has no AVX-512"
        continue
    fi
    echo "== dvc repro from nothing, OPENBLAS_CORETYPE=$kernel"
    git clone -q "$root" "$work/$kernel"
    cd "$work/$kernel"
    zone=Pacific/Auckland threads=1 language=C
    [ "$kernel" = Haswell ] || { zone=America/St_Johns threads=2 language=C.UTF-8; }
    # Only what is cloned may matter: no cache, no settings of the person who runs this.
    env -i HOME="$work" PATH="$root/.venv/bin:$PATH" PYTHONPATH="$work/$kernel/src" TZ=$zone LANG=$language \
        OPENBLAS_CORETYPE="$kernel" OMP_NUM_THREADS=$threads LOCKSTEP_PUBLISH=0 dvc repro > "$work/$kernel.log" 2>&1 ||
        { cat "$work/$kernel.log"; exit 1; }
    git diff --exit-code -- dvc.lock metrics || { echo "✗ $kernel: the rebuilt outputs differ from the commit" >&2; exit 1; }
    [ -z "$(git status --porcelain)" ] || { git status --short; echo "✗ $kernel: untracked or changed files" >&2; exit 1; }
    cd "$root"
    ran="$ran $kernel"
done
[ -n "$ran" ] || { echo "✗ none of these kernels runs on this processor: $kernels" >&2; exit 1; }
echo "dvc.lock and metrics are reproduced byte for byte under:$ran"
