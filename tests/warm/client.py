"""Stand in for `python`: let the warm process run a command, or become the real interpreter.

Run by the real interpreter with ``-IS``, it imports nothing but builtins, so it starts in 15 ms.
Its arguments: the server's socket, the interpreter, the name it stands in for, the server's
environment, then the command's own.
"""

import _socket
import marshal
import os
import signal
import sys

MODULES = ("lockstep", "dvc", "mlflow", "uvicorn", "pipelines", "models")
"""The packages whose modules the warm process runs as `python -m`."""
READ_AT_START = ("GOTO", "LC_", "LANG", "MKL_", "OMP_", "OPENBLAS_", "PYTHON", "TZ")
"""What begins the names of variables that a process reads once, when it starts or imports."""
HEARD = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONWARNINGS")
"""Those of them that the warm process sets up anew for each command."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def runs_warm(words: list[str]) -> bool:
    """Tell whether a command line is a module or a script without other options."""
    if words[:2] == ["-W", "ignore"]:
        words = words[2:]
    if words[:1] == ["-m"]:
        return words[1:2] != [] and words[1].split(".")[0] in MODULES
    return words[:1] != [] and not words[0].startswith("-") and words[0].endswith(".py")


def same_start(ours: dict[str, str], servers: dict[str, str]) -> bool:
    """Tell whether a process with our environment would start as the server did."""

    def read(environment: dict[str, str]) -> dict[str, str]:
        return {
            name: value
            for name, value in environment.items()
            if name.startswith(READ_AT_START) and name not in HEARD
        }

    return read(ours) == read(servers)


def asked(where: str, request: dict[str, object]) -> int:
    """Send the server a command and this process's files; pass on signals, return the status."""
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(where)
    for number in FORWARDED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda received, _: server.send(bytes([received])))
    content = marshal.dumps(request)
    files = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)]
    server.sendmsg([len(content).to_bytes(4, "big")], rights)
    sent = 0
    while sent < len(content):
        sent += server.send(content[sent:])
    answer = b""
    while part := server.recv(64):
        answer += part
    return int(answer)


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
    where, interpreter, name, settings, *words = sys.argv[1:]
    bin_folder = os.path.dirname(interpreter)
    own = os.path.join(bin_folder, name)
    with open(settings, "rb") as file:
        environment = marshal.load(file)
    script = name not in ("python", "python3")
    warm = "TESTS_COLD" not in os.environ and (script or runs_warm(words))
    if not warm or not same_start(dict(os.environ), environment):
        os.execv(interpreter if not script else own, [own, *words])
    request = {
        "words": [own, *words] if script else words,
        "executable": os.path.join(os.path.dirname(settings), "bin", "python"),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "ignored": [int(n) for n in FORWARDED if signal.getsignal(n) is signal.SIG_IGN],
    }
    end_like(asked(where, request))


main()
