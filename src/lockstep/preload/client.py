"""Stand in for `python`: let the preloaded process run a command, or become the interpreter.

Run by the real interpreter with ``-IS``, it imports nothing but builtins, so it starts in 15 ms.
Its arguments: the preloaded process's folder, the name it stands in for, then the command's own.
"""

import _socket
import marshal
import os
import signal
import sys

READ_AT_START = ("GOTO", "LC_", "LANG", "MKL_", "OMP_", "OPENBLAS_", "PYTHON", "TZ")
"""What begins the names of variables that a process reads once, when it starts or imports."""
HEARD = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
"""Those of them that the preloaded process sets up anew for each command."""
FORWARDED = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT,
)  # fmt: skip
SCRIPTS = ".py"
"""Stands among the packages where scripts run preloaded, too."""


def runs_preloaded(words: list[str], packages: list[str]) -> bool:
    """Tell whether a command line is a module or a script without other options."""
    if words[:2] == ["-W", "ignore"]:
        words = words[2:]
    if words[:1] == ["-m"]:
        return words[1:2] != [] and words[1].split(".")[0] in packages
    return (
        SCRIPTS in packages and words[:1] != [] and words[0][:1] != "-" and words[0][-3:] == ".py"
    )


def same_start(ours: dict[str, str], servers: dict[str, str]) -> bool:
    """Tell whether a process with our environment would start as the server did."""

    def read(environment: dict[str, str]) -> dict[str, str]:
        return {
            name: value
            for name, value in environment.items()
            if name.startswith(READ_AT_START) and name not in HEARD
        }

    return read(ours) == read(servers)


def connected(where: str) -> _socket.socket | None:
    """Return a connection to the preloaded process; None where it has ended."""
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        server.connect(where)
    except OSError:
        return None
    return server


def send(server: _socket.socket, request: dict[str, object]) -> None:
    """Send the server a command and this process's files."""
    content = marshal.dumps(request)
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)]
    server.sendmsg([len(content).to_bytes(4, "big")], rights)
    sent = 0
    while sent < len(content):
        sent += server.send(content[sent:])


def asked(server: _socket.socket, request: dict[str, object]) -> bytes:
    """Send the server a command; pass on signals, return the answer.

    A server that is killed meanwhile gives none.
    """

    def stop(*_: object) -> None:
        server.send(bytes([signal.SIGTSTP]))
        os.kill(os.getpid(), signal.SIGSTOP)

    # A signal that is passed on while the command is sent would be taken for a part of it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*FORWARDED, signal.SIGTSTP))
    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: server.send(bytes([received])))
    if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
        signal.signal(signal.SIGTSTP, stop)
    answer = b""
    try:
        send(server, request)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        while not answer.endswith(b"\n") and (part := server.recv(64)):
            answer += part
    except OSError:
        pass
    return answer


def end_like(status: int) -> None:
    """End as the command did: by its exit code, or by the signal that ended it."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def main() -> None:
    """Run what `python` or a console script was asked for."""
    folder, name, *words = sys.argv[1:]
    with open(os.path.join(folder, "settings"), "rb") as file:
        settings = marshal.load(file)
    is_python = name in ("python", "python3")
    own = settings["interpreter"] if is_python else os.path.join(settings["programs"], name)
    ours = dict(os.environ)
    fits = ours.get("LOCKSTEP_PRELOAD") != "0" and same_start(ours, settings["environment"])
    fits = fits and (not is_python or runs_preloaded(words, settings["packages"]))
    server = connected(os.path.join(folder, "socket")) if fits else None
    if server is None:
        os.execv(own, [own, *words])
    mask = os.umask(0)
    request: dict[str, object] = {
        "words": words if is_python else [own, *words],
        "folder": os.getcwd(),
        "environment": ours,
        "umask": mask,
        "waits": ours.get("LOCKSTEP_PRELOAD") == "all",
        "ignored": [int(n) for n in FORWARDED if signal.getsignal(n) is signal.SIG_IGN],
    }
    answer = asked(server, request)
    if not answer:
        sys.stderr.write("✗ the process that ran this command was killed; run it again\n")
        os._exit(1)
    end_like(int(answer))


if __name__ == "__main__":
    main()
