"""Calls, files and shell features that only some systems have, found in the text of a program."""

import ast
import re
from collections.abc import Iterator

LINUX_NAMES = {
    "os": """
        copy_file_range eventfd fdatasync getrandom getresgid getresuid getxattr listxattr
        memfd_create pidfd_open pipe2 posix_fadvise posix_fallocate process_cpu_count removexattr
        sched_getaffinity sched_getparam sched_getscheduler sched_setaffinity sched_setscheduler
        setns setresgid setresuid setxattr splice timerfd_create unshare O_DIRECT O_NOATIME O_PATH
        O_RSYNC O_TMPFILE""",
    "resource": "prlimit RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_SIGPENDING RUSAGE_THREAD",
    "select": "epoll",
    "signal": "sigtimedwait sigwaitinfo SIGCLD SIGPOLL SIGPWR SIGRTMAX SIGRTMIN SIGSTKFLT",
    "socket": """
        AF_ALG AF_NETLINK AF_PACKET AF_VSOCK MSG_NOSIGNAL SO_BINDTODEVICE SO_DOMAIN SO_PEERCRED
        SO_PROTOCOL SO_REUSEPORT SOCK_CLOEXEC SOCK_NONBLOCK TCP_CORK TCP_DEFER_ACCEPT TCP_QUICKACK
        TCP_USER_TIMEOUT""",
    "time": "CLOCK_BOOTTIME CLOCK_MONOTONIC_COARSE CLOCK_REALTIME_COARSE CLOCK_TAI",
}
"""Names that macOS lacks, or where its meaning is another, by their module."""
LINUX_FILES = re.compile(r"/(proc|sys|dev/shm)(/|$)")
SHELL = {
    r"/proc/|/sys/|/dev/shm": "a file of Linux only",
    r"\bsed\b[^|;]*\s(-i|--in-place)": "BSD sed wants a suffix after -i: write another file",
    r"\bsed\b[^|;]*\\[tn+?]": "BSD sed knows neither \\t, \\n in the replacement, nor \\+ and \\?",
    r"\bgrep\s[^|;]*(-\w*P|--perl)": "BSD grep has no -P",
    r"\breadlink\s+-\w*[fe]|\brealpath\b": "cd and pwd -P",
    r"\bdate\s+[^|;]*(-d|--date|%N)": "BSD date has neither -d nor %N: use Python",
    r"\bstat\s+(-c|--format|--printf)": "BSD stat has no -c: use wc, ls or Python",
    r"\bcp\s+[^|;]*--": "BSD cp has no long options",
    r"\bxargs\s+-\w*r|--no-run-if-empty": "BSD xargs has no -r",
    r"\bfind\s+[^|;]*-printf": "BSD find has no -printf",
    r"\b(head|tail)\s+-[nc]\s*-": "BSD head takes no negative number",
    r"\bmktemp\s+(-[a-ce-z]|--|-d\s+--)": "mktemp and mktemp -d only",
    r"(^|[|;&(]|\s&&)\s*(timeout|nproc|tac|setsid|flock|sha256sum|md5sum|shuf|gawk|numfmt)(\s|$)":
        "a program that macOS does not have",
    r"\b(mapfile|readarray|coproc)\b|\b(declare|local)\s+-[a-zA-Z]*[Agn]": "bash 3.2 has it not",
    r"\$\{\w+(\[[^]]*\])?(,|\^|@[A-Za-z]\})": "bash 3.2 changes no letters' case",
    r"\$\{\w+\[-\d|\$\{\w+:[^}]*:\s*-\d": "bash 3.2 has no negative index or length",
    r'(?<!\+)"\$\{\w+\[@\]\}"': "in bash 3.2 an empty array is an unbound variable under set -u",
    r"&>>|\|&|;;&|;&|\bwait\s+-n|printf\s+'?%\(": "bash 3.2 has it not",
}  # fmt: skip
MAKE = {
    r"^\.(SHELLFLAGS|ONESHELL|EXTRA_PREREQS)": "GNU make 3.81 ignores it",
    r"\$\((file|let|intcmp|guile)\s": "GNU make 3.81 has no such function",
    r"^\w+\s*(!=|:::?=)|^(private|undefine)\s": "GNU make 3.81 does not know it",
    r"&:": "GNU make 3.81 has no grouped targets",
}


def in_python(text: str) -> Iterator[str]:
    """Yield the names and files that only Linux has, in a Python program."""
    names = {module: set(listed.split()) for module, listed in LINUX_NAMES.items()}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in names.get(node.value.id, ()):
                yield f"{node.value.id}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            wanted = names.get(node.module or "", set())
            yield from (f"{node.module}.{one.name}" for one in node.names if one.name in wanted)
        elif isinstance(node, ast.Constant) and LINUX_FILES.match(str(node.value)):
            yield str(node.value)


def in_shell(text: str, more: dict[str, str] | None = None) -> Iterator[str]:
    """Yield the lines of a shell script or Makefile that macOS would not run, with the reason."""
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            continue
        for pattern, reason in {**SHELL, **(more or {})}.items():
            if re.search(pattern, line):
                yield f"{line.strip()}: {reason}"
