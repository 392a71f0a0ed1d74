"""A folder that is all it takes to serve one version elsewhere, and the check that it is.

It holds the exported bundle, this package, the threshold and limits in force here, what to install with every version
pinned, and a Dockerfile: no registry, no repository, and no network at the start.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lockstep.config.layout import project_root
from lockstep.config.settings import CONFIG_FILE
from lockstep.errors import DataError, LockstepError, UsageError, run_command
from lockstep.io import write_text

BUNDLE, APP, REQUIREMENTS, DOCKERFILE = "bundle", "app", "requirements.txt", "Dockerfile"
CONFIG_FOLDER = CONFIG_FILE.parts[0]
PACKAGES = (
    "fastapi", "httptools", "orjson", "prometheus-client", "pydantic", "python-dotenv", "shap", "swagger-ui-bundle",
    "uvicorn", "uvloop",
)  # fmt: skip
"""What the API needs besides the artifact's own packages."""
_PACKAGE = Path(__file__).parents[1]
_SECONDS = 120
_DOCKER = """\
# {where}: POST /predict and /explain on port 8000, GET /health. Nothing is fetched at start.
#   docker build -t {tag} . && docker run --rm -p 127.0.0.1:8000:8000 {tag}
# Keys: -v ./keys:/keys:ro -e API_KEYS_FILE=/keys (python -m lockstep.serving --new-key NAME makes one).
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
WORKDIR /srv
COPY requirements.txt .
RUN pip install --no-cache-dir --compile -r requirements.txt
COPY app app
COPY bundle bundle
COPY {config} {config}
RUN python -m compileall -q app && useradd --uid 10001 --create-home api && mkdir kept && chown api kept
USER api
ENV PYTHONPATH=/srv/app PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 MODEL_PATH=bundle PROBLEM={problem} \\
    PREDICTION_LOG=/srv/kept
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
"from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready')"]
CMD ["python", "-m", "lockstep.serving"]
"""


def main() -> int | None:
    """Write a deployment folder; with --check also build its environment from it alone, start it and ask it."""
    options = parser().parse_args()
    if (options.stage is None) == (options.version is None) and options.bundle is None:
        raise UsageError(
            "say which version: --stage STAGE or --version N (or --bundle DIR of an exported one)"
        )
    root = project_root()
    with tempfile.TemporaryDirectory(prefix="deploy-") as temporary:
        output = options.output or Path(temporary) / "deployment"
        write_deployment(bundle_of(options, root, Path(temporary)), output, root)
        _say(f"{output}: bundle, package, requirements and Dockerfile")
        if options.check:
            check(output, Path(temporary) / "environment")
            _say("the deployment serves as it stands")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    top = argparse.ArgumentParser(prog="python -m lockstep.serving.deploy", description=__doc__)
    top.add_argument(
        "--model-name", metavar="NAME", help="registered model (default: the served problem's)"
    )
    top.add_argument("--stage", help="its newest version in this stage")
    top.add_argument("--version", metavar="N", help="this version")
    top.add_argument(
        "--bundle", type=Path, metavar="DIR", help="a bundle that was exported already"
    )
    top.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="where to write it; a folder that is not there yet",
    )
    top.add_argument(
        "--check",
        action="store_true",
        help="build its environment, start it, predict, explain, stop",
    )
    return top


def bundle_of(options: argparse.Namespace, root: Path, temporary: Path) -> Path:
    """Return the bundle to deploy, exported where none is given."""
    if options.bundle is not None:
        if not (options.bundle / "bundle.json").is_file():
            raise DataError(
                f"{options.bundle} is no exported bundle; make one with `manage_model_registry.py export`"
            )
        return Path(options.bundle)
    from lockstep.audit.bundle import export
    from lockstep.registry.store.opening import open_registry
    from lockstep.serving.model_source import registered_name
    from lockstep.serving.settings import load_serving

    settings = load_serving(root)
    name = options.model_name or settings.model_name or registered_name(settings, root)
    made = export(
        open_registry(root), root, name, temporary / BUNDLE, options.stage, options.version
    )
    _say(f"exported {made.version.name} version {made.version.version}")
    return made.folder


def write_deployment(bundle: Path, output: Path, root: Path) -> None:
    """Write everything that serving a bundle takes, whole or not at all."""
    from lockstep.io import whole_folder

    if output.exists():
        raise UsageError(f"{output} is there already; name a folder that is not")
    told = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    with whole_folder(output) as folder:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(bundle, folder / BUNDLE, ignore=ignored)
        shutil.copytree(_PACKAGE, folder / APP / "lockstep", ignore=ignored)
        write_text(folder / REQUIREMENTS, "".join(f"{pin}\n" for pin in requirements(bundle, root)))
        write_text(folder / DOCKERFILE, dockerfile(told))
        write_text(folder / CONFIG_FILE, configuration(root, str(told.get("problem"))))


def requirements(bundle: Path, root: Path) -> list[str]:
    """Return the bundle's own pins, and of this project's lock what the API needs besides, with all these need."""
    from lockstep.audit.requirements import LOCK, closed, read_lock

    own = [
        line
        for line in (bundle / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    lock = (root / LOCK).read_text(encoding="utf-8")
    locked = read_lock(lock)
    lacking = [name for name in PACKAGES if name not in locked]
    if lacking:
        raise DataError(f"{LOCK} does not hold {', '.join(lacking)}; run `make lock`")
    wanted = [locked[name].pins[0].partition(" ")[0] for name in PACKAGES]
    there = {_name(line) for line in own}
    return sorted([*own, *(pin for pin in closed(wanted, lock) if _name(pin) not in there)])


def _name(pin: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[=\[ ;]", pin, maxsplit=1)[0]).lower()


def configuration(root: Path, problem: str) -> str:
    """Return the deployment's model_config.yaml: the threshold, scale and band in force here, and the limits.

    They belong to the API and not to the model: without them a deployment would decide by the model's own threshold.
    """
    import yaml

    from lockstep.serving.settings import load_serving

    settings = load_serving(root)
    rule = settings.rule_for(problem)
    decision = {"threshold": rule.threshold, "scale": rule.scale, "approval_band": rule.band}
    known = {key: value for key, value in decision.items() if value is not None}
    content = {"serving": {"limits": settings.limits.model_dump(), "decisions": {problem: known}}}
    return yaml.safe_dump(content, sort_keys=False)


def dockerfile(told: dict[str, Any]) -> str:
    """Return the Dockerfile of a deployment."""
    tag = re.sub(r"[^a-z0-9]+", "-", str(told["name"]).lower()).strip("-") or "model"
    where = f"{told['name']} version {told['version']}"
    problem = told.get("problem") or ""
    image = f"{tag}-api:{told['version']}"
    return _DOCKER.format(where=where, tag=image, problem=problem, config=CONFIG_FOLDER)


def check(deployment: Path, environment: Path) -> None:
    """Build the environment of a deployment from its own list, start it there, ask it, and end it."""
    began = time.monotonic()
    python = build(environment, deployment / REQUIREMENTS)
    _say(f"built its environment ({time.monotonic() - began:.0f} s)")
    with started(deployment, python) as address:
        record = asked(f"{address}/openapi.json")["components"]["schemas"]["Record"]["example"]
        predicted, explained = (
            asked(f"{address}/{route}", record) for route in ("predict", "explain")
        )
        version = asked(f"{address}/version")
    _check_answers(
        predicted, explained, version, json.loads((deployment / BUNDLE / "bundle.json").read_text())
    )
    check_decision(version, deployment)
    _say(
        f"predicted and explained a record with {predicted['model']} version {predicted['version']}, and stopped"
    )


def _check_answers(
    predicted: dict[str, Any],
    explained: dict[str, Any],
    version: dict[str, Any],
    told: dict[str, Any],
) -> None:
    """Raise a LockstepError unless the answers are the exported version's, and of one piece."""
    if version["model_digest"] != told["model_digest"] or predicted["run_id"] != told["run_id"]:
        raise LockstepError(
            "the deployment answers with another model than was exported; export it again"
        )
    keys = [key for key in ("probability", "probabilities", "prediction") if key in predicted]
    if not keys or any(predicted[key] != explained[key] for key in keys):
        raise LockstepError("/predict and /explain do not answer alike; see the server's log")
    apart = abs(explained["base"] + sum(explained["contributions"].values()) - explained["margin"])
    if apart > 1e-4 * max(1.0, abs(explained["margin"])):
        raise LockstepError(f"the contributions of /explain miss the margin by {apart:g}")


def check_decision(version: dict[str, Any], deployment: Path) -> None:
    """Raise a LockstepError unless a deployment decides by the threshold and band that it was written with."""
    from lockstep.serving.settings import load_serving

    rule = load_serving(deployment, {}).rule_for(version["problem"])
    found = version.get("threshold"), version.get("approval_band")
    if rule.threshold is not None and found != (rule.threshold, rule.band):
        wanted = f"threshold {rule.threshold:g} and band {rule.band:g}"
        raise LockstepError(f"the deployment decides by {found[0]} and {found[1]}, not by {wanted}")


def build(environment: Path, wanted: Path) -> Path:
    """Make an environment with nothing but the list's packages; return its Python."""
    _run([sys.executable, "-m", "venv", str(environment)])
    python = environment / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    if uv.is_file():
        command = [
            str(uv),
            "pip",
            "install",
            "-q",
            "--system-certs",
            "--no-deps",
            "--compile-bytecode",
        ]
        _run([*command, "--python", str(python), "-r", str(wanted)])
    else:
        _run([str(python), "-m", "pip", "install", "-q", "--no-deps", "-r", str(wanted)])
    return python


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["no word why"]
        raise LockstepError(f"`{' '.join(command[:4])} …` failed: {lines[-1]}")


@contextmanager
def started(deployment: Path, python: Path) -> Iterator[str]:
    """Run a deployment's server on a free port, in an environment without anything of this process's."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    told = json.loads((deployment / BUNDLE / "bundle.json").read_text())
    variables = {
        "PYTHONPATH": APP,
        "PORT": "0",
        "MODEL_PATH": BUNDLE,
        "PROBLEM": told.get("problem") or "",
    }
    with tempfile.TemporaryDirectory() as outside:
        variables["PREDICTION_LOG"] = outside
        log = Path(outside) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [str(python), "-m", "lockstep.serving"],
                cwd=deployment, env=kept | variables, stdout=stream, stderr=stream,
            )  # fmt: skip
        try:
            yield _address(process, log)
            process.terminate()
            if process.wait(timeout=_SECONDS):
                raise LockstepError(
                    f"the server ended with code {process.returncode}: {_last(log)}"
                )
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return where a server answers, once it says so and does."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"at (http://\S+)", log.read_text(encoding="utf-8"))
        if found and _lives(found[1]):
            return found[1]
        time.sleep(0.1)
    raise LockstepError(f"the server did not start: {_last(log)}")


def _lives(address: str) -> bool:
    try:
        return bool(asked(f"{address}/health/ready"))
    except OSError:
        return False


def _last(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def asked(address: str, content: Any = None) -> Any:
    """Ask a server and return its JSON; anything but a success is an OSError."""
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as got:
        return json.loads(got.read())


def _say(line: str) -> None:
    print(f"✓ {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    run_command(main)
