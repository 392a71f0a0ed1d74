#!/usr/bin/env bash
# Install what the tests of shared registries run besides Python's packages: PostgreSQL's programs. No cluster of the
# system is needed or touched: the tests make their own, below the temporary folder, and remove it.
set -eu

if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null; then
    echo "✓ PostgreSQL is installed"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "✗ no apt-get here; install PostgreSQL's server by your system's own means, so that initdb is found" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "✗ run this as root: packages are installed" >&2; exit 1; }
    as_root=sudo
fi
# Debian starts a cluster of the system's at once unless it is told not to.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $as_root mkdir -p /etc/postgresql-common
    echo "create_main_cluster = false" | $as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
$as_root apt-get update -q
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql
echo "✓ PostgreSQL is installed"
