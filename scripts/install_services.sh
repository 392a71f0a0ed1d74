#!/usr/bin/env bash
# Install what the tests run besides Python's packages: PostgreSQL's programs, for shared registries, Java, for Spark,
# Prometheus, for the dashboards, and Chromium, for the pages. The tests start their own, below the temporary folder; no
# service of the system is needed or started.
set -eu

has_postgres() { ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null; }
has_prometheus() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }
has_chromium() { command -v chromium >/dev/null || command -v chromium-browser >/dev/null; }
has_java() { [ -x "${JAVA_HOME:-}/bin/java" ] || command -v java >/dev/null; }

lacking=
has_postgres || lacking="postgresql"
has_java || lacking="$lacking openjdk-17-jre-headless"
has_prometheus || lacking="$lacking prometheus"
has_chromium || lacking="$lacking chromium"
if [ -z "$lacking" ]; then
    echo "✓ PostgreSQL, Java, Prometheus and Chromium are installed"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "✗ no apt-get here; install PostgreSQL's server, so that initdb is found, Java 17, Prometheus and Chromium by your system's own means" >&2
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
# Debian starts services as it installs them, unless a policy forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod +x $policy
    trap '$as_root rm -f $policy' EXIT
fi
$as_root apt-get update -q
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $lacking
! command -v systemctl >/dev/null || $as_root systemctl disable -q prometheus 2>/dev/null || true
echo "✓ PostgreSQL, Java, Prometheus and Chromium are installed"
