"""The proxy that a request goes through, as the environment names it: for messages of failures."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from requests.utils import get_environ_proxies, select_proxy

from lockstep.console import without_password

PROXY_FAILED = ("connect to proxy", "ProxyError", "ProxyConnectionError")
"""What the errors of requests, of S3's clients and of MLflow say of a proxy that failed."""


@dataclass(frozen=True)
class Proxy:
    """A proxy, the variable that names it, and the host it stands before."""

    address: str
    variable: str
    host: str

    def __str__(self) -> str:
        return f"the proxy {self.address} ({self._source})"

    @property
    def fix(self) -> str:
        """What to do about it."""
        wrong = f"correct or unset {self.variable}" if self.variable else "correct the settings"
        return f"{wrong}, or add {self.host} to no_proxy"

    @property
    def login(self) -> str:
        """What to do if it wants a user and a password."""
        place = self.variable or "the settings"
        form = f"give its user and password in {place} (http://USER:PASSWORD@HOST:PORT)"
        return f"{form}, or add {self.host} to no_proxy"

    @property
    def _source(self) -> str:
        of_system = "from the system's settings"
        return f"from the variable {self.variable}" if self.variable else of_system


def proxy_of(url: str) -> Proxy | None:
    """Return the proxy through which a request goes; None if it goes straight (no_proxy)."""
    parts = urlsplit(url)
    found = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    if not parts.hostname or not found:
        return None
    names = (_variable(f"{kind}_proxy", found) for kind in (parts.scheme, "all"))
    return Proxy(without_password(found), next(filter(None, names), ""), parts.hostname)


def proxies_set() -> str:
    """Return the variables that name proxies, with their values, without passwords."""
    names = (f"{kind}_proxy" for kind in ("http", "https", "all"))
    found = [name for wanted in names if (name := _variable(wanted))]
    return ", ".join(f"{name}={without_password(os.environ[name])}" for name in found)


def _variable(wanted: str, value: str = "") -> str:
    """Return the variable of this name in any case, the lower one first, as clients read them."""
    names = [name for name, is_set in os.environ.items() if is_set and name.lower() == wanted]
    same = [name for name in names if value in ("", os.environ[name])]
    return min(same, key=lambda name: (name != wanted, name), default="")
