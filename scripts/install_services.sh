#!/usr/bin/env bash
# Install what the tests run besides Python's packages: PostgreSQL's programs, for shared registries, and Java, for
# Spark. No cluster of the system is needed or touched: the tests make their own, below the temporary folder.
set -eu

has_postgres() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null; }
has_java() { [ -x "${JAVA_HOME:-}/bin/java" ] || command -v java >/dev/null; }

lacking=
has_postgres || lacking="postgresql"
has_java || lacking="$lacking openjdk-17-jre-headless"
if [ -z "$lacking" ]; then
    echo "✓ PostgreSQL and Java are installed"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "✗ no apt-get here; install PostgreSQL's server, so that initdb is found, and Java 17 by your system's own means" >&2
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
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $lacking
echo "✓ PostgreSQL and Java are installed"
