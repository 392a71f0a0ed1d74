"""A deployment: a folder with everything that serves one version elsewhere, and its check.

It holds the exported bundle, this package, the threshold and limits in force here, the pinned
requirements and a Dockerfile. It needs no registry, no repository and no network at the start.
"""

from __future__ import annotations

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from lockstep.audit.bundle import export
from lockstep.audit.requirements import LOCK, closed
from lockstep.code.pins import normalized, read_pins
from lockstep.config.serving import load_serving
from lockstep.config.settings import CONFIG_FILE
from lockstep.errors import DataError, LockstepError, UsageError
from lockstep.io import read_json, whole_folder, write_text
from lockstep.registry.store.opening import open_registry
from lockstep.serving.model_source import registered_name

BUNDLE, APP, REQUIREMENTS, DOCKERFILE = "bundle", "app", "requirements.txt", "Dockerfile"
CONFIG_FOLDER = CONFIG_FILE.parts[0]
PACKAGES = (
    "fastapi", "httptools", "jinja2", "orjson", "prometheus-client", "pydantic", "python-dotenv",
    "shap", "swagger-ui-bundle", "uvicorn", "uvloop",
)  # fmt: skip
"""The packages that the API needs besides the artifact's own."""
_PACKAGE = Path(__file__).parents[1]
_START_SECONDS = 120
_DOCKER = """\
# {title}: POST /predict and /explain on port 8000, GET /health. Nothing is fetched at start.
#   docker build -t {tag} . && docker run --rm -p 127.0.0.1:8000:8000 {tag}
# Keys: -v ./keys:/keys:ro -e API_KEYS_FILE=/keys
#   (python -m lockstep.serving --new-key NAME makes one).
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \\
    && rm -rf /var/lib/apt/lists/*
WORKDIR /srv
COPY requirements.txt .
RUN pip install --no-cache-dir --compile -r requirements.txt
COPY app app
COPY bundle bundle
COPY {config} {config}
RUN python -m compileall -q app && useradd --uid 10001 --create-home api \\
    && mkdir kept && chown api kept
USER api
ENV PYTHONPATH=/srv/app PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000 MODEL_PATH=bundle \\
    PROBLEM={problem} PREDICTION_LOG=/srv/kept
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", \
"from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health/ready')"]
CMD ["python", "-m", "lockstep.serving"]
"""


def report(line: str) -> None:
    """Print one finished step on standard error."""
    print(f"✓ {line}", file=sys.stderr, flush=True)


def export_served(
    root: Path, folder: Path, name: str | None, stage: str | None, version: str | None
) -> Path:
    """Export a version as a bundle into ``folder``, by default of the served problem's model."""
    settings = load_serving(root)
    name = name or settings.model_name or registered_name(settings, root)
    made = export(open_registry(root), root, name, folder / BUNDLE, stage, version)
    report(f"exported {made.version.name} version {made.version.version}")
    return made.folder


def write_deployment(bundle: Path, output: Path, root: Path) -> None:
    """Write everything that serving a bundle needs, as a whole or not at all."""
    if output.exists():
        raise UsageError(f"{output} exists already; name a folder that does not")
    facts = read_json(bundle / "bundle.json")
    with whole_folder(output) as folder:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(bundle, folder / BUNDLE, ignore=ignored)
        shutil.copytree(_PACKAGE, folder / APP / "lockstep", ignore=ignored)
        write_text(folder / REQUIREMENTS, "".join(f"{pin}\n" for pin in requirements(bundle, root)))
        write_text(folder / DOCKERFILE, dockerfile(facts))
        write_text(folder / CONFIG_FILE, configuration(root, str(facts.get("problem"))))


def requirements(bundle: Path, root: Path) -> list[str]:
    """Return the bundle's pins and, from this project's lock, those that the API needs besides."""
    own = list(filter(str.strip, (bundle / REQUIREMENTS).read_text(encoding="utf-8").splitlines()))
    lock = (root / LOCK).read_text(encoding="utf-8")
    locked = read_pins(lock).versions
    lacking = [name for name in PACKAGES if name not in locked]
    if lacking:
        raise DataError(f"{LOCK} does not hold {', '.join(lacking)}; run `make lock`")
    wanted = [f"{name}=={locked[name].partition(' ')[0]}" for name in PACKAGES]
    known = {normalized(pin.partition("==")[0]) for pin in own}
    more = [pin for pin in closed(wanted, lock) if pin.partition("==")[0] not in known]
    return sorted([*own, *more])


def configuration(root: Path, problem: str) -> str:
    """Return the deployment's model_config.yaml: threshold, scale, band and limits in force here.

    They belong to the API. Without them a deployment would decide by the model's own threshold.
    """
    settings = load_serving(root)
    decision = settings.decision_for(problem)
    rule = {"threshold": decision.threshold, "scale": decision.scale}
    known = {key: value for key, value in rule.items() if value is not None}
    known["approval_band"] = decision.band
    content = {"serving": {"limits": settings.limits.model_dump(), "decisions": {problem: known}}}
    return yaml.safe_dump(content, sort_keys=False)


def dockerfile(facts: dict[str, Any]) -> str:
    """Return the Dockerfile of a deployment; ``facts`` is the content of bundle.json."""
    tag = re.sub(r"[^a-z0-9]+", "-", str(facts["name"]).lower()).strip("-") or "model"
    return _DOCKER.format(
        title=f"{facts['name']} version {facts['version']}",
        tag=f"{tag}-api:{facts['version']}",
        problem=facts.get("problem") or "",
        config=CONFIG_FOLDER,
    )


def check(deployment: Path, environment: Path) -> None:
    """Build a deployment's environment from its own list, start it there, ask it and stop it."""
    began = time.monotonic()
    python = build(environment, deployment / REQUIREMENTS)
    report(f"built its environment ({time.monotonic() - began:.0f} s)")
    with started(deployment, python) as address:
        record = ask(f"{address}/openapi.json")["components"]["schemas"]["Record"]["example"]
        predicted = ask(f"{address}/predict", record)
        explained = ask(f"{address}/explain", record)
        version = ask(f"{address}/version")
    check_answers(predicted, explained, version, read_json(deployment / BUNDLE / "bundle.json"))
    check_decision(version, deployment)
    title = f"{predicted['model']} version {predicted['version']}"
    report(f"predicted and explained a record with {title}, and stopped")


def check_answers(
    predicted: dict[str, Any],
    explained: dict[str, Any],
    version: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    """Raise LockstepError unless the answers agree and are those of the exported version."""
    if version["model_digest"] != facts["model_digest"] or predicted["run_id"] != facts["run_id"]:
        fault = "the deployment answers with another model than was exported"
        raise LockstepError(f"{fault}; export it again")
    keys = [key for key in ("probability", "probabilities", "prediction") if key in predicted]
    if not keys or any(predicted[key] != explained[key] for key in keys):
        raise LockstepError("/predict and /explain give different answers; see the server's log")
    gap = abs(explained["base"] + sum(explained["contributions"].values()) - explained["margin"])
    if gap > 1e-4 * max(1.0, abs(explained["margin"])):
        raise LockstepError(f"the contributions of /explain miss the margin by {gap:g}")


def check_decision(version: dict[str, Any], deployment: Path) -> None:
    """Raise LockstepError unless a deployment uses the threshold and band it was written with."""
    wanted = load_serving(deployment, {}).decision_for(version["problem"])
    found = version.get("threshold"), version.get("approval_band")
    if wanted.threshold is not None and found != (wanted.threshold, wanted.band):
        right = f"threshold {wanted.threshold:g} and band {wanted.band:g}"
        raise LockstepError(f"the deployment decides by {found[0]} and {found[1]}, not by {right}")


def build(environment: Path, pins: Path) -> Path:
    """Make an environment with the listed packages only; return its Python."""
    _run([sys.executable, "-m", "venv", str(environment)])
    python = environment / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    if uv.is_file():
        options = ["pip", "install", "-q", "--system-certs", "--no-deps", "--compile-bytecode"]
        _run([str(uv), *options, "--python", str(python), "-r", str(pins)])
    else:
        _run([str(python), "-m", "pip", "install", "-q", "--no-deps", "-r", str(pins)])
    return python


def _run(command: list[str]) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or ["it printed no reason"]
        raise LockstepError(f"`{' '.join(command[:4])} …` failed: {lines[-1]}")


@contextmanager
def started(deployment: Path, python: Path) -> Iterator[str]:
    """Run a deployment's server on a free port, with none of this process's variables."""
    inherited = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    problem = read_json(deployment / BUNDLE / "bundle.json").get("problem") or ""
    own = {"PYTHONPATH": APP, "PORT": "0", "MODEL_PATH": BUNDLE, "PROBLEM": problem}
    with tempfile.TemporaryDirectory() as outside:
        log = Path(outside) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [str(python), "-m", "lockstep.serving"],
                cwd=deployment,
                env=inherited | own | {"PREDICTION_LOG": outside},
                stdout=stream,
                stderr=stream,
            )
        try:
            yield _address(process, log)
            process.terminate()
            if process.wait(timeout=_START_SECONDS):
                ended = f"the server ended with code {process.returncode}"
                raise LockstepError(f"{ended}: {_last_line(log)}")
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address of a server once it is ready."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"at (http://\S+)", log.read_text(encoding="utf-8")):
            with suppress(OSError):
                ask(f"{found[1]}/health/ready")
                return found[1]
        time.sleep(0.1)
    raise LockstepError(f"the server did not start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"


def ask(address: str, content: Any = None) -> Any:
    """Send a request and return the JSON answer; anything but a success raises OSError."""
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())
