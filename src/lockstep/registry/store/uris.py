"""Which tracking store is meant: its URI, checked, and where its artifacts are."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from lockstep.config.layout import main_tree
from lockstep.config.settings import Settings
from lockstep.console import without_password
from lockstep.errors import ConfigError

DATABASE = "mlflow.db"
ARTIFACTS = "mlruns"
SQLITE = "sqlite:///"
_DEFAULT = f"{SQLITE}{DATABASE} (the default)"
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_SERVER = re.compile(
    r"(?P<scheme>https?)(?::|[:;.,]?[/\\]+)[/\\]*(?P<rest>[^/\\:].*)", re.IGNORECASE
)
_ABOVE = 4
"""Folders between an artifact and the root of all: EXPERIMENT/models/MODEL/artifacts."""
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*:\d{2,5}(/.*)?")


def resolve_uri(settings: Settings, root: Path) -> str:
    """Return the absolute tracking URI; ConfigError for a file store and for what is no URI."""
    main = main_tree(root)
    uri = settings.tracking_uri or f"{SQLITE}{DATABASE}"
    where = f"tracking URI '{without_password(uri)}' (from {settings.source_of('tracking_uri')})"
    if meant := meant_uri(uri):
        meant = without_password(meant)
        raise ConfigError(f"{where} is no URI of a server or database; write {meant}")
    if not _has_parts(uri):
        raise ConfigError(f"{where} is no URI; {_correction(uri)}")
    scheme = urlsplit(uri).scheme
    if scheme == "file" or _is_path(uri, main):
        raise ConfigError(
            f"{where} is a plain file store, which MLflow refuses now; use {_DEFAULT} and move old"
            " runs there with `mlflow migrate-filestore`"
        )
    if not scheme or (is_http(uri) and not urlsplit(uri).hostname) or not _has_port(uri):
        raise ConfigError(f"{where} is no URI; {_correction(uri)}")
    if scheme == "sqlite":
        path = uri.removeprefix(SQLITE)
        if path == uri or path in ("", ":memory:"):
            fix = f"write {SQLITE}{DATABASE}"
            raise ConfigError(f"tracking URI '{uri}' names no database file; {fix}")
        return f"{SQLITE}{main / path}"
    return uri


def _has_parts(uri: str) -> bool:
    """Tell whether a text can be read as a URI at all; a bracket without its other one cannot."""
    try:
        urlsplit(uri)
    except ValueError:
        return False
    return True


def _correction(uri: str) -> str:
    """Return how to write what is no URI: often a password has signs that end or break one."""
    password = uri.partition("://")[2].rpartition("@")[0].partition(":")[2]
    signs = [f"{sign} in the password ({quote(sign, '')})" for sign in "/?#[]" if sign in password]
    if signs:
        return f"percent-encode {', '.join(signs)}"
    return f"write http://HOST:PORT for a server, or {_DEFAULT}"


def _has_port(uri: str) -> bool:
    """Tell whether the port of a URI, if it has one, is a number up to 65535."""
    try:
        return urlsplit(uri).port != 0
    except ValueError:
        return False


def meant_uri(uri: str) -> str:
    """Return the URI that a mistyped one seems to mean; empty if there is none.

    It knows a wrong or missing colon, slash or letter, quotes and blanks around it, and HOST:PORT
    without a scheme.
    """
    bare = uri.strip(" \t\"'")
    if bare != uri:
        return meant_uri(bare) or bare
    if _HOST_AND_PORT.fullmatch(uri):
        return f"http://{uri}"
    scheme, parted, rest = uri.partition("://")
    is_file = rest.startswith("/") and scheme.lower() not in ("http", "https")
    if parted and (is_file or rest[:1] not in ("", "/")):
        known = ("sqlite", "file") if is_file else ("http", "https", *_DATABASES)
        close = difflib.get_close_matches(scheme, known, n=1, cutoff=0.75)
        return f"{close[0]}://{rest}" if close and scheme.split("+")[0].lower() not in known else ""
    server = _SERVER.fullmatch(uri)
    return f"{server['scheme'].lower()}://{server['rest']}" if server else ""


def _is_path(uri: str, main: Path) -> bool:
    """Return whether a text without a scheme, or with a drive's letter, names a folder."""
    if len(scheme := urlsplit(uri).scheme) == 1:
        return True
    names_folder = uri.startswith((".", "/", "~")) or ARTIFACTS in uri or (main / uri).is_dir()
    return not scheme and names_folder


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a local database; None for any other store."""
    return Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None


def is_http(uri: str) -> bool:
    """Return whether a tracking URI names a server."""
    return urlsplit(uri).scheme in ("http", "https")


def local_folder(place: str) -> Path | None:
    """Return the folder that an artifact's address names; None if it names none of this machine."""
    if place.startswith("file:"):
        return Path(unquote(urlsplit(place).path))
    return Path(place) if place.startswith("/") else None


def is_elsewhere(place: str, uri: str) -> bool:
    """Tell whether an artifact's address is a folder on the machine of the server ``uri``.

    If the folders above are here, this is that machine, and the folder is missing.
    """
    folder = local_folder(place)
    if folder is None or not is_http(uri):
        return False
    above = [one for one in folder.parents[:_ABOVE] if one != Path(one.anchor)]
    return not any(os.path.exists(one) for one in (folder, *above))  # unlike Path's, it never fails


def artifact_root(uri: str, root: Path) -> Path | None:
    """Return the folder of a database's artifacts; None if a server keeps them."""
    if database := sqlite_file(uri):
        return database.parent / ARTIFACTS
    is_database = urlsplit(uri).scheme.split("+")[0] in _DATABASES
    return main_tree(root) / ARTIFACTS if is_database else None
