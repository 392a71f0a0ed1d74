"""The DVC remote: set it once, pull data and development artifacts from it.

python -m lockstep.commands.dvc_remote set URL [--endpoint-url URL]     (make dvc-remote URL=…)
python -m lockstep.commands.dvc_remote pull                             (make dvc-pull)
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from lockstep.commands.home_folder import expanded
from lockstep.config.layout import project_root
from lockstep.console import documented_parser
from lockstep.dvc.command import default_remote, run_dvc, show_dvc
from lockstep.errors import ConfigError, DataError, UsageError, listed, run_command
from lockstep.extras import require_extra

NAME = "storage"
SET_IT = "set one with `make dvc-remote URL=…` (a folder, or s3://BUCKET/PREFIX)"
AMAZON = "https://s3.amazonaws.com"
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


def main() -> None:
    """Set the remote, or pull from it."""
    given, root = _arguments(), project_root()
    if given.action == "set":
        set_remote(root, given.url, given.endpoint_url)
    else:
        pull(root)


def _arguments() -> argparse.Namespace:
    parser = documented_parser("python -m lockstep.commands.dvc_remote", __doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    setting = actions.add_parser("set", help="make URL the default remote")
    setting.add_argument("url", nargs="?", default="", help="a folder, or s3://BUCKET/PREFIX")
    setting.add_argument("--endpoint-url", default="", help="an S3 server other than Amazon's")
    actions.add_parser("pull", help="fetch data and development artifacts from the remote")
    return parser.parse_args()


def set_remote(root: Path, url: str, endpoint_url: str = "") -> None:
    """Make ``url`` the default remote in .dvc/config, replacing the previous one."""
    address = remote_address(root, url)
    if endpoint_url and not address.startswith("s3://"):
        raise UsageError("an endpoint is for s3:// addresses only; leave it out for a folder")
    if endpoint_url and urlsplit(endpoint_url).scheme not in ("http", "https"):
        raise UsageError(f"{endpoint_url} is no address of an S3 server; write http(s)://HOST:PORT")
    _check_client(address)
    run_dvc(root, "remote", "add", "--force", "--default", NAME, address)
    if endpoint_url:
        run_dvc(root, "remote", "modify", NAME, "endpointurl", endpoint_url)
    print(f"the DVC remote is {address}{f' at {endpoint_url}' if endpoint_url else ''}; next:")
    print('  git add .dvc/config && git commit -m "DVC remote"')
    print("  dvc push         sends data and artifacts there")
    print("  make dvc-pull    fetches them in another clone")


def pull(root: Path) -> None:
    """Fetch everything dvc.lock and the .dvc files name; DVC's own messages pass through."""
    if default_remote(root) is None:
        raise ConfigError(f"no DVC remote is configured; {SET_IT}")
    _check_client(_url(root))
    # what no stage ever made can't be fetched
    failed = show_dvc(root, "pull", "--allow-missing")
    if failed:  # what the remote only lacks is no failure for DVC
        fix = f"check address and credentials of the remote in .dvc/config{_proxy_hint(root)}"
        raise DataError(f"`dvc pull` failed (its message is above); {fix}")
    status = json.loads(run_dvc(root, "data", "status", "--json") or "{}")
    if lacking := status.get("not_in_cache"):
        fix = "run `dvc push` where they were made, or make them here with `dvc repro`"
        raise DataError(f"the remote lacks {listed(lacking)}; {fix}")


def _proxy_hint(root: Path) -> str:
    """Return which proxy stands before an S3 remote, as a further thing to check; empty if none."""
    if not _url(root).startswith("s3://"):
        return ""
    # `--help` and `set` need no HTTP client.
    from lockstep.network import proxy_of

    proxy = proxy_of(_endpoint(root) or AMAZON)
    return f". It is reached through {proxy}: {proxy.fix}" if proxy else ""


def _check_client(address: str) -> None:
    """Raise ConfigError if the address is on S3 and DVC's client for it is missing."""
    if address.startswith("s3://"):
        require_extra("s3", "a DVC remote on S3")


def _url(root: Path) -> str:
    return run_dvc(root, "config", f"remote.{default_remote(root)}.url")


def _endpoint(root: Path) -> str:
    try:
        return run_dvc(root, "config", f"remote.{default_remote(root)}.endpointurl")
    except ConfigError:  # DVC fails for a setting that is not there
        return ""


def remote_address(root: Path, url: str) -> str:
    """Return the address for DVC: s3://BUCKET/PREFIX, or a folder (relative to ``root``)."""
    if not url.strip():
        places = "a folder, or s3://BUCKET/PREFIX"
        raise UsageError(f"no address was given: make dvc-remote URL=… ({places})")
    url = url.strip().removeprefix("file://")
    if _SCHEME.match(url):
        return _s3_address(url)
    folder = expanded(url)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{url} is a file; a DVC remote needs a folder or s3://BUCKET/PREFIX")
    return str(folder) if folder.is_absolute() else os.path.relpath(folder, root)


def _s3_address(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "s3":
        why = "requirements.lock has DVC's S3 client only"
        fix = "use a folder or s3://BUCKET/PREFIX"
        raise UsageError(f"{parts.scheme}:// is not supported ({why}); {fix}")
    if not parts.hostname:
        raise UsageError(f"{url} names no bucket; write s3://BUCKET/PREFIX")
    if "@" in parts.netloc:
        fix = "put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or ~/.aws/credentials"
        raise UsageError(f"credentials do not belong into the address, which git keeps; {fix}")
    return url


if __name__ == "__main__":
    run_command(main)
