"""The master that a session is opened on: its address, and whether it can be reached."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread

import joblib

from lockstep.config.settings import SPARK_MASTER
from lockstep.errors import ConfigError

FORMS = "local, local[2], local[*], spark://HOST:7077, yarn or k8s://https://HOST:6443"
_LOCAL = re.compile(r"local(?:\[(\d+|\*)(?:, *\d+)?\])?")
_STANDALONE = re.compile(r"spark://(?P<hosts>[^/,\s:]+:\d+(?:,[^/,\s:]+:\d+)*)")
_KUBERNETES = re.compile(r"k8s://(?P<scheme>https?)://(?P<host>[^/,\s:]+)(?::(?P<port>\d+))?/?")
Place = tuple[str, int]
_SECONDS = 4
"""How long an address is tried: a host that drops packets answers never."""
_SILENT = f"no answer within {_SECONDS} seconds"
_QUESTION = (
    b"\x00\x00\x11endpoint-verifier\xac\xed\x00\x05sr\x00=org.apache.spark.rpc.netty."
    b"RpcEndpointVerifier$CheckExistenceJ\xa5\x1e\x9e\xe4\xc1\x9a\xc4\x02\x00\x01L\x00\x04namet\x00"
    b"\x12Ljava/lang/String;xpt\x00\x06Master"
)
"""What Spark's own clients ask first, in Java's serialization: is there an endpoint "Master"?"""
_HEADER = struct.Struct(">qbqi")
"""A message of Spark: bytes in all, kind, number, bytes of the body."""
_ASKS, _ANSWERS = 3, (b"\x04", b"\x05")
"""The kinds: a question, an answer and a refusal, which a master of another version may give."""
_TLS_ALERT = 21


def is_local(url: str) -> bool:
    """Return whether a session's master runs tasks in the driver's own Java."""
    return url.partition("[")[0] == "local"


@dataclass(frozen=True)
class Master:
    """A master's address; ``slots`` is how many tasks a local one runs at once, else 0."""

    url: str
    slots: int = 0

    @property
    def is_local(self) -> bool:
        """Whether tasks run in this machine's own session."""
        return self.slots > 0

    @property
    def is_standalone(self) -> bool:
        """Whether it is Spark's own cluster manager."""
        return self.url.startswith("spark://")

    @property
    def is_on_loopback(self) -> bool:
        """Whether the cluster is this machine alone."""
        return all(host in ("127.0.0.1", "localhost") for host, _ in _places(self))


def find_master(given: str | None, environ: Mapping[str, str] = os.environ) -> Master:
    """Return the master to use: the one given, else the variable's, else this machine's cores."""
    url = given or environ.get(SPARK_MASTER) or f"local[{joblib.cpu_count()}]"
    return parse_master(url)


def parse_master(url: str) -> Master:
    """Read a master's address; ConfigError says what forms there are."""
    local = _LOCAL.fullmatch(url)
    if local:
        count = joblib.cpu_count() if local[1] == "*" else int(local[1] or 1)
        if count:
            return Master(url, count)
    elif url == "yarn" or _STANDALONE.fullmatch(url) or _KUBERNETES.fullmatch(url):
        return Master(url)
    hint = " (Spark Connect has no barrier tasks)" if url.startswith("sc://") else ""
    raise ConfigError(f"{url!r} is no Spark master{hint}; give {FORMS} (option or {SPARK_MASTER})")


def check_reachable(master: Master, environ: Mapping[str, str] = os.environ) -> None:
    """Raise ConfigError within ten seconds if nothing listens at the master's address."""
    if master.url == "yarn":
        _check_yarn(environ)
        return
    speak = _asks_for_master if master.is_standalone else _says_nothing
    if faults := _try_all(_places(master), speak):
        reasons = "; ".join(f"{host}:{port}: {why}" for (host, port), why in faults.items())
        raise ConfigError(
            f"the Spark master {master.url} can't be reached ({reasons}); start it, or correct "
            f"--master or {SPARK_MASTER}"
        )


def _check_yarn(environ: Mapping[str, str]) -> None:
    names = ("YARN_CONF_DIR", "HADOOP_CONF_DIR")
    if not any(environ.get(n) and os.path.isdir(environ[n]) for n in names):
        raise ConfigError(
            "the master is yarn, but neither YARN_CONF_DIR nor HADOOP_CONF_DIR names a folder; "
            "set one to the folder that holds yarn-site.xml"
        )


def _places(master: Master) -> list[Place]:
    """Return the hosts and ports of which one must answer."""
    standalone = _STANDALONE.fullmatch(master.url)
    if standalone:
        pairs = (place.rsplit(":", 1) for place in standalone["hosts"].split(","))
        return [(host, int(port)) for host, port in pairs]
    kubernetes = _KUBERNETES.fullmatch(master.url)
    if not kubernetes:
        return []
    usual = {"https": 443, "http": 80}[kubernetes["scheme"]]
    return [(kubernetes["host"], int(kubernetes["port"] or usual))]


def _try_all(places: list[Place], speak: Callable[[socket.socket], str]) -> dict[Place, str]:
    """Return why places can't be reached, empty as soon as one can.

    Each is tried in a thread of its own, as looking up a name may hang.
    """
    answers: SimpleQueue[tuple[Place, str]] = SimpleQueue()
    for place in places:
        Thread(target=lambda p=place: answers.put((p, _fault(p, speak))), daemon=True).start()
    faults = dict.fromkeys(places, _SILENT)
    deadline = time.monotonic() + _SECONDS
    with suppress(Empty):
        for _ in places:
            place, faults[place] = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            if not faults[place]:
                return {}
    return faults


def _fault(place: Place, speak: Callable[[socket.socket], str]) -> str:
    """Return why a place takes no connection or doesn't answer, empty if it does."""
    try:
        with socket.create_connection(place, timeout=_SECONDS) as connection:
            return speak(connection)
    except TimeoutError:
        return _SILENT
    except (OSError, OverflowError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)


def _says_nothing(connection: socket.socket) -> str:
    """Ask nothing: Kubernetes takes connections from those only whom it knows."""
    return ""


def _asks_for_master(connection: socket.socket) -> str:
    """Ask as Spark's own clients do; return why what is there is no Spark master, else nothing.

    A proxy or another program takes the connection as well. Spark would ask for over a minute.
    """
    length = _HEADER.size + len(_QUESTION)
    connection.sendall(_HEADER.pack(length, _ASKS, 0, len(_QUESTION)) + _QUESTION)
    answer = connection.recv(9, socket.MSG_WAITALL)
    # Where connections are encrypted, this one is refused; Spark itself is told how to encrypt.
    encrypted = not answer or answer[0] == _TLS_ALERT
    return "" if encrypted or answer[8:] in _ANSWERS else "what listens there is no Spark master"
