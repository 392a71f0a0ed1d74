"""A small project with two commits, whose stages are stood in for: DVC and git are real."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from lockstep.code.closure import Code, code_text
from lockstep.code.files import Files
from lockstep.config.params import Compare
from lockstep.dvc.graph import Graph, dvc_sum
from lockstep.evaluation.comparison import Candidate, champion_of, comparison_table
from lockstep.features.matrix_columns import GROUP, ROW, TARGET
from lockstep.io import write_csv, write_json, write_parquet

DVC = """
stages:
  preprocess:
    foreach: ${problems}
    do:
      cmd: python -m lockstep.prepare --problem ${key}
      deps: ["code/preprocess@${key}.json", "data/${key}/raw"]
      params: ["problems.${key}.source"]
      outs: ["data/${key}/tidy.parquet"]
  train_multi_model:
    foreach: ${train}
    do:
      cmd: python -m lockstep.fit --problem ${item.problem} --type ${item.type}
      deps: ["code/train_multi_model@${key}.json", "data/${item.problem}/tidy.parquet"]
      params: ["train.${key}"]
      outs: ["data/${item.problem}/scores/${item.type}.parquet"]
"""
SOURCES = {
    "src/lockstep/__init__.py": "",
    "src/lockstep/prepare.py": "from lockstep.io import READ\n",
    "src/lockstep/fit.py": "import numpy\nfrom lockstep.io import READ\n",
    "src/lockstep/io.py": "READ = 1  # a comment\n",
    "src/lockstep/page.py": "SHOWN = 1\n",
    "requirements.lock": "numpy==1.0\n    # via pandas\n",
    ".gitignore": "/code\n/data/*/raw\n/data/*/tidy.parquet\n/data/*/scores\n",
    ".dvc/config": "",
    ".dvc/.gitignore": "/cache\n/tmp\n",
    "dvc.yaml": DVC,
}
ROWS = 900


def training(problem: str, kind: str, skill: float, seed: int = 1) -> dict:
    return {"problem": problem, "type": kind, "seed": seed, "params": {"skill": skill}}


def params(**skills: float) -> dict:
    """Return parameters of one binary problem, with a training a named type."""
    types = {f"cars-{kind}": training("cars", kind, skill) for kind, skill in skills.items()}
    cars = {
        "source": {"kind": "table", "external": "data/external/cars"},
        "compare": {"metric": "roc_auc", "resamples": 200, "seed": 0},
        "model_types": list(skills),
    }
    return {"problems": {"cars": cars}, "train": types}


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write(root: Path, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def scores(
    problem: str, skill: float, seed: int, rows: int = ROWS, sample: int = 0
) -> pd.DataFrame:
    """Return scored rows of the parts choose and test; the sample fixes their targets."""
    rng = np.random.default_rng(len(problem) + sample)
    group = rng.integers(0, rows // 3, rows)
    part = np.where(np.arange(rows) < rows // 3, "choose", "test")
    table = pd.DataFrame({ROW: np.arange(rows), GROUP: group, "part": part})
    if problem == "colours":
        target = rng.integers(0, 3, rows)
        noise = np.random.default_rng(seed).normal(0, 1, (rows, 3))
        odds = np.exp(skill * np.eye(3)[target] + noise)
        classes = {f"score_{k}": column for k, column in enumerate(odds.T / odds.sum(1))}
        return table.assign(**{TARGET: target}, **classes, decision=odds.argmax(1))
    if problem == "houses":
        target = rng.normal(5, 1, rows)
        score = target + np.random.default_rng(seed).normal(0, 1, rows) / skill
    else:
        target = (rng.random(rows) < 0.4).astype(np.int8)
        odds = skill * target + np.random.default_rng(seed).normal(0, 1, rows)
        score = 1 / (1 + np.exp(1 - odds))
    return table.assign(**{TARGET: target}, score=score)


def repro(root: Path, rows: int = ROWS, sample: int = 0) -> None:
    """Write what `dvc repro` would: tidy tables, scores, comparisons, dvc.lock, and the cache."""
    graph = Graph.read(root)
    for problem, section in graph.params["problems"].items():
        write(root, f"data/{problem}/raw", f"raw rows, {rows} of sample {sample}\n")
        write(root, f"data/{problem}/tidy.parquet", f"tidy rows, {rows} of sample {sample}\n")
        write_json(
            root / f"metrics/{problem}/data_quality.json", {"rows": {"in": rows + 7, "out": rows}}
        )
        compare(root, problem, section, graph.params["train"], rows, sample)
    write(root, "dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": locked(root, graph)}))


def compare(
    root: Path, problem: str, section: dict, trainings: dict, rows: int, sample: int
) -> None:
    candidates = []
    for kind in section["model_types"]:
        one = trainings[f"{problem}-{kind}"]
        table = scores(problem, one["params"]["skill"], one["seed"], rows, sample)
        path = root / f"data/{problem}/scores/{kind}.parquet"
        write_parquet(path, table)
        known = dvc_sum(path)
        kept = root / ".dvc/cache/files/md5" / known[:2] / known[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, kept)
        threshold = None if problem in ("houses", "colours") else 0.5
        candidates.append(Candidate(kind, threshold, table))
    settings = Compare(**section["compare"])
    champion, value = champion_of(candidates, settings.metric)
    table = comparison_table(candidates, settings, champion)
    write_csv(root / f"metrics/{problem}/model_comparison.csv", table)
    content = {"type": champion, "metric": settings.metric, "value": value}
    write_json(root / f"metrics/{problem}/champion.json", content)


def locked(root: Path, graph: Graph) -> dict:
    code, stages = Code(Files.of_folder(root)), {}
    for name in graph.names:
        stage = graph.one(name)
        sums = {path: dvc_sum(root / path) for path in stage.deps if path != stage.code}
        sums[stage.code] = md5(code_text(code.of_command(stage.cmd)))
        problem = stage.deps[1].split("/")[1]
        out = f"data/{problem}/tidy.parquet"
        if name.startswith("train"):
            out = (
                f"data/{problem}/scores/{graph.params['train'][name.split('@')[1]]['type']}.parquet"
            )
        made = {"path": out, "hash": "md5", "md5": dvc_sum(root / out), "size": 2_500_000}
        stages[name] = {
            "cmd": stage.cmd,
            "deps": [{"path": path, "hash": "md5", "md5": known} for path, known in sums.items()],
            "params": {"params.yaml": graph.values(stage)},
            "outs": [made],
        }
    return stages


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def set_params(root: Path, content: dict) -> None:
    write(root, "params.yaml", yaml.safe_dump(content, sort_keys=False))


def make(root: Path, content: dict) -> Path:
    """Write and commit a trained project on the branch `main`, and go on to `mine`."""
    for name, text in SOURCES.items():
        write(root, name, text)
    set_params(root, content)
    tracked = {"outs": [{"path": "cars", "hash": "md5", "md5": "a" * 32, "size": 1200}]}
    write(root, "data/external/cars.dvc", yaml.safe_dump(tracked))
    repro(root)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "base")
    git(root, "checkout", "-qb", "mine")
    return root


def commit(root: Path, words: str = "more") -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", words)


def champion(root: Path, problem: str = "cars") -> dict:
    return json.loads((root / f"metrics/{problem}/champion.json").read_text())
