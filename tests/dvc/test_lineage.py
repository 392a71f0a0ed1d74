import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lockstep.dvc.git import NO_COMMIT, NO_REPOSITORY
from lockstep.dvc.graph import Graph, Lock, dvc_sum
from lockstep.dvc.lineage import input_closure, is_current, kept_inputs, lineage, sources
from lockstep.errors import ConfigError

DVC = """
stages:
  preprocess:
    foreach: ${problems}
    do:
      cmd: prepare ${key}
      deps: [requirements.lock, data/external/raw, src/prepare]
      outs: ["data/${key}/tidy"]
  train_multi_model:
    foreach: ${train}
    do:
      cmd: train ${item.problem} ${item.type}
      deps: [requirements.lock, "data/${item.problem}/tidy", src/train.py]
      params: ["train.${key}", "problems.${item.problem}.decision"]
      outs: ["models/${item.problem}/${item.type}"]
"""
PARAMS = """
problems: {cars: {decision: {policy: f1}, source: {kind: files}, compare: {metric: f1}}}
train:
  cars-a: {problem: cars, type: a, params: {depth: 3}}
  cars-b: {problem: cars, type: b, params: {depth: 4}}
"""
LOCK = """
schema: '2.0'
stages:
  preprocess@cars:
    cmd: prepare cars
    deps:
    - {path: data/external/raw, hash: md5, md5: aaaa.dir, size: 1, nfiles: 1}
    - {path: requirements.lock, hash: md5, md5: bbbb, size: 1}
    - {path: src/prepare, hash: md5, md5: cccc.dir, size: 1, nfiles: 1}
    params: {params.yaml: {problems.cars.source: {kind: files}}}
    outs:
    - {path: data/cars/tidy, hash: md5, md5: dddd, size: 1}
  preprocess@other:
    cmd: prepare other
    outs:
    - {path: data/other/tidy, hash: md5, md5: eeee, size: 1}
"""
TRAINED = """
  train_multi_model@cars-a:
    cmd: train cars a
    deps:
    - {path: data/cars/tidy, hash: md5, md5: dddd, size: 1}
    outs:
    - {path: models/cars/a, hash: md5, md5: ffff, size: 1}
"""


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def plain(tmp_path):
    files = {
        "dvc.yaml": DVC,
        "params.yaml": PARAMS,
        "dvc.lock": LOCK,
        "requirements.lock": "a==1\n",
    }
    files |= {
        "src/train.py": "fit()\n",
        "src/prepare/one.py": "1\n",
        "data/external/raw.dvc": "md5: aaaa\n",
    }
    files |= {
        "data/external/raw/x.csv": "1\n",
        "data/cars/tidy": "t\n",
        ".gitignore": "/data/cars\n/data/external/raw\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def root(plain):
    git(plain, "init", "-q", "-b", "trunk")
    git(plain, "add", ".")
    git(plain, "commit", "-qm", "first")
    return plain


def test_within_the_stage_and_after_it_the_closure_is_the_same(root):
    during = lineage(root, "cars", "a")
    (root / "dvc.lock").write_text(LOCK + TRAINED)
    (root / "models/cars").mkdir(parents=True)
    (root / "models/cars/a").write_text("model")
    after = lineage(root, "cars", "a")
    assert after.closure == during.closure
    assert after.tags == during.tags
    assert after.dirty == "false"


def test_the_closure_holds_every_input_and_nothing_of_others(root):
    closure = input_closure(root, "cars", "a")
    assert closure["training"]["cmd"] == "train cars a"
    assert closure["training"]["params"] == {
        "problems.cars.decision": {"policy": "f1"},
        "train.cars-a": {"problem": "cars", "type": "a", "params": {"depth": 3}},
    }
    assert closure["training"]["deps"]["data/cars/tidy"] == "dddd"
    assert list(closure["stages"]) == ["preprocess@cars"]
    assert closure["stages"]["preprocess@cars"]["deps"]["data/external/raw"] == "aaaa.dir"
    assert sources(closure) == [
        "data/external/raw",
        "requirements.lock",
        "src/prepare",
        "src/train.py",
    ]
    assert closure["environment"]["python"].startswith("3.")


@pytest.mark.parametrize(
    ("path", "text", "changed"),
    [
        ("src/train.py", "fit(2)\n", ("src/train.py",)),
        ("src/prepare/new.py", "2\n", ("src/prepare/new.py",)),
        ("requirements.lock", "a==2\n", ("requirements.lock",)),
        ("data/external/raw.dvc", "md5: other\n", ("data/external/raw.dvc",)),
        ("params.yaml", PARAMS.replace("depth: 3", "depth: 5"), ("params.yaml:train.cars-a",)),
        (
            "params.yaml",
            PARAMS.replace("kind: files", "kind: table"),
            ("params.yaml:problems.cars.source",),
        ),
        ("params.yaml", PARAMS.replace("depth: 4", "depth: 5"), ()),
        ("params.yaml", PARAMS.replace("metric: f1", "metric: brier"), ()),
        ("dvc.lock", LOCK + TRAINED, ()),
        ("metrics/cars/a.json", "{}", ()),
        ("src/unrelated.py", "3\n", ()),
        ("src/prepare/__pycache__/one.pyc", "3\n", ()),
    ],
)
def test_dirty_means_that_a_declared_input_differs(root, path, text, changed):
    (root / ".gitignore").write_text("/data/cars\n/data/external/raw\n__pycache__/\n")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    if path == "params.yaml" and "kind: table" in text:
        (root / "dvc.lock").write_text(LOCK.replace("kind: files", "kind: table"))
    found = lineage(root, "cars", "a")
    assert found.changed == changed
    assert found.dirty == str(bool(changed)).lower()


TRAINING, PREPARED = "dvc.yaml:train_multi_model@cars-a", "dvc.yaml:preprocess@cars"


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("cmd: train ${item.problem}", "cmd: train --fast ${item.problem}", (TRAINING,)),
        (", src/train.py]", ", src/train.py, src/more.py]", (TRAINING,)),
        (", src/train.py]", "]", (TRAINING,)),
        (', "problems.${item.problem}.decision"]', "]", (TRAINING,)),
        ("cmd: prepare ${key}", "cmd: prepare --all ${key}", (PREPARED,)),
        ("src/train.py]", "src/train.py]\n      desc: words alone", ()),
        ("[requirements.lock, data/external/raw", "[data/external/raw, requirements.lock", ()),
        ("stages:", "# a comment\nstages:\n  other: {cmd: other}", ()),
    ],
)
def test_a_stage_that_is_declared_otherwise_is_dirty_until_it_is_committed(root, old, new, changed):
    assert old in DVC
    (root / "dvc.yaml").write_text(DVC.replace(old, new))
    found = lineage(root, "cars", "a")
    assert found.changed == changed
    assert ("dvc.yaml" in kept_inputs(root, found)) == bool(changed)
    git(root, "commit", "-qam", "declared")
    after = lineage(root, "cars", "a")
    assert (after.dirty, after.closure_digest) == ("false", found.closure_digest)


@pytest.mark.parametrize("text", [None, "stages: ["])
def test_stages_that_head_does_not_declare_are_dirty(root, text):
    git(root, "rm", "-q", "--cached", "dvc.yaml")
    if text:
        (root / "dvc.yaml").write_text(text)
        git(root, "add", "dvc.yaml")
    git(root, "commit", "-qm", "without")
    (root / "dvc.yaml").write_text(DVC)
    assert lineage(root, "cars", "a").changed == (PREPARED, TRAINING)


def test_a_stage_without_instances_counts_too(root):
    plain = "stages:\n  once: {cmd: prepare, deps: [src/prepare], outs: [data/cars/tidy]}"
    (root / "dvc.yaml").write_text(
        DVC.replace("stages:", plain).replace('outs: ["data/${key}/tidy"]', "")
    )
    (root / "dvc.lock").write_text(LOCK.replace("preprocess@cars", "once"))
    git(root, "commit", "-qam", "once")
    assert lineage(root, "cars", "a").changed == ()
    (root / "dvc.yaml").write_text(
        (root / "dvc.yaml").read_text().replace("{cmd: prepare,", "{cmd: other,")
    )
    assert lineage(root, "cars", "a").changed == ("dvc.yaml:once",)


def test_a_change_of_input_changes_closure_and_data_digests_where_it_should(root):
    before = lineage(root, "cars", "a")
    (root / "src/train.py").write_text("fit(2)\n")
    code = lineage(root, "cars", "a")
    assert code.closure_digest != before.closure_digest
    assert code.data_digest == before.data_digest
    (root / "dvc.lock").write_text(LOCK.replace("dddd", "1234"))
    assert lineage(root, "cars", "a").data_digest != before.data_digest


def test_types_of_one_problem_share_their_data_digest(root):
    first, second = lineage(root, "cars", "a"), lineage(root, "cars", "b")
    assert first.data_digest == second.data_digest
    assert first.closure_digest != second.closure_digest


def test_the_branch_and_a_subfolder_make_no_difference(root, tmp_path):
    before = lineage(root, "cars", "a")
    git(root, "checkout", "-qb", "other")
    assert lineage(root, "cars", "a").tags == before.tags
    inner = root / "inner"
    shutil.copytree(root, inner, ignore=shutil.ignore_patterns(".git", "inner"))
    git(root, "add", "inner")
    git(root, "commit", "-qm", "inner")
    (inner / "src/train.py").write_text("fit(3)\n")
    assert lineage(inner, "cars", "a").changed == ("src/train.py",)


def test_without_a_repository_or_a_commit_the_tags_say_so(plain):
    assert lineage(plain, "cars", "a").tags["git_commit"] == NO_REPOSITORY
    git(plain, "init", "-q")
    found = lineage(plain, "cars", "a")
    assert (found.commit, found.dirty) == (NO_COMMIT, "unknown")


def test_a_repository_that_git_refuses_or_cannot_read_is_never_clean(root, monkeypatch):
    commit = lineage(root, "cars", "a").commit
    (root / ".git/index").write_bytes(b"cut off")
    found = lineage(root, "cars", "a")
    assert (found.commit, found.dirty, found.known) == (commit, "unknown", False)
    assert "index file smaller than expected" in found.reason
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    found = lineage(root, "cars", "a")
    assert (found.commit, found.dirty) == ("git refuses", "unknown")
    assert "git config --global --add safe.directory" in found.reason


def test_without_dvc_lock_the_files_themselves_count(plain):
    (plain / "dvc.lock").unlink()
    first = input_closure(plain, "cars", "a")
    assert first["stages"] == {}
    (plain / "data/cars/tidy").write_text("u\n")
    assert input_closure(plain, "cars", "a") != first


CODED = {
    "dvc.yaml": DVC.replace("requirements.lock, data/", "'code/preprocess@${key}.json', data/")
    .replace('[requirements.lock, "data', '["code/train_multi_model@${key}.json", "data')
    .replace(", src/prepare]", "]")
    .replace(", src/train.py]", "]")
    .replace("cmd: prepare ${key}", "cmd: python -m lockstep.prepare --problem ${key}")
    .replace("cmd: train ${item.problem}", "cmd: python -m lockstep.train"),
    "src/lockstep/__init__.py": "",
    "src/lockstep/prepare.py": "from lockstep.io import READ\n",
    "src/lockstep/io.py": "READ = 1  # a comment\n",
    "src/lockstep/train.py": "import numpy\nfrom lockstep.io import READ\n",
    "requirements.lock": "numpy==1\n    # via pandas\nuvicorn==1\n",
    ".gitignore": "/data/cars\n/data/external/raw\n/code\n",
}


@pytest.fixture
def coded(plain):
    """A project whose stages depend on what their code means, after its first `dvc repro`."""
    for name, text in CODED.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_text(text)
    write_code(plain)
    locked = yaml.safe_load(LOCK)
    entry = locked["stages"]["preprocess@cars"]
    path = "code/preprocess@cars.json"
    entry["cmd"] = "python -m lockstep.prepare --problem cars"
    entry["deps"] = [entry["deps"][0], {"path": path, "md5": dvc_sum(plain / path)}]
    (plain / "dvc.lock").write_text(yaml.safe_dump(locked))
    git(plain, "init", "-q", "-b", "trunk")
    git(plain, "add", ".")
    git(plain, "commit", "-qm", "first")
    return plain


def write_code(root):
    subprocess.run([sys.executable, "-m", "lockstep.dvc.write_code"], cwd=root, check=True)


def test_a_closure_says_what_the_code_of_each_stage_means(coded):
    closure = input_closure(coded, "cars", "a")
    assert list(closure["training"]["code"]) == [
        "requirements.lock:numpy",
        "src/lockstep/io.py",
        "src/lockstep/train.py",
    ]
    prepare = closure["stages"]["preprocess@cars"]
    assert list(prepare["code"]) == ["src/lockstep/io.py", "src/lockstep/prepare.py"]
    assert not [
        path for path in {**prepare["deps"], **closure["training"]["deps"]} if "code" in path
    ]
    assert sources(closure) == ["data/external/raw", "requirements.lock"]


def test_a_fresh_clone_finds_the_same_code_before_its_first_repro(coded):
    before = input_closure(coded, "cars", "a")
    shutil.rmtree(coded / "code")
    assert input_closure(coded, "cars", "a") == before


def test_code_that_was_edited_after_its_stage_ran_is_known_by_its_sum_alone(coded):
    recorded = Lock.read(coded).entries["preprocess@cars"]["deps"]["code/preprocess@cars.json"]
    (coded / "src/lockstep/io.py").write_text("READ = 2\n")
    write_code(coded)
    found = input_closure(coded, "cars", "a")["stages"]["preprocess@cars"]["code"]
    assert found == {"code/preprocess@cars.json": recorded}


@pytest.mark.parametrize(
    ("name", "text", "changed"),
    [
        ("src/lockstep/io.py", "# another comment\nREAD = 1\n", ()),
        ("src/lockstep/new.py", "VALUE = 1\n", ()),
        ("src/lockstep/io.py", "READ = 2\n", ("src/lockstep/io.py",)),
        (
            "src/lockstep/train.py",
            "import numpy\n",
            ("src/lockstep/io.py", "src/lockstep/train.py"),
        ),
        (
            "requirements.lock",
            CODED["requirements.lock"].replace("numpy==1", "numpy==2"),
            ("requirements.lock", "requirements.lock:numpy"),
        ),
    ],
)
def test_code_is_dirty_where_it_means_something_else_than_at_head(coded, name, text, changed):
    if name.endswith("train.py"):
        (coded / "dvc.lock").write_text("stages: {}\n")
    (coded / name).write_text(text)
    write_code(coded)
    found = lineage(coded, "cars", "a")
    assert found.changed == changed
    assert (name in kept_inputs(coded, found)) == bool(changed)
    git(coded, "add", "-A")
    git(coded, "commit", "-qm", "edited")
    after = lineage(coded, "cars", "a")
    assert (after.dirty, after.closure_digest) == ("false", found.closure_digest)


def test_a_commit_whose_code_cannot_be_read_differs_in_all_of_it(coded):
    good = (coded / "src/lockstep/io.py").read_text()
    (coded / "src/lockstep/io.py").write_text("def (\n")
    git(coded, "commit", "-qam", "broken")
    (coded / "src/lockstep/io.py").write_text(good)
    changed = lineage(coded, "cars", "a").changed
    assert {"src/lockstep/io.py", "src/lockstep/train.py"} <= set(changed)


ON_SPARK = {
    "spark/dvc.yaml": """
stages:
  train_spark:
    foreach: ${train_spark}
    do:
      wdir: ..
      cmd: python -m lockstep.train --problem ${item.problem}
      deps: ["code/train_spark@${key}.json", "data/${item.problem}/tidy"]
      params: ["train_spark.${key}"]
      outs: ["models/${item.problem}/spark/${item.type}_model.joblib"]
""",
    "params.yaml": f"{PARAMS}train_spark:\n  cars-a: {{problem: cars, type: a}}\n",
    "requirements-spark.lock": "pyspark==1\n    # via project\n",
    "src/lockstep/train.py": "import numpy\nimport pyspark\nfrom lockstep.io import READ\n",
}


@pytest.fixture
def on_spark(coded):
    """That project with a training on Spark, whose packages both train by."""
    for name, text in ON_SPARK.items():
        (coded / name).parent.mkdir(exist_ok=True)
        (coded / name).write_text(text)
    write_code(coded)
    git(coded, "add", ".")
    git(coded, "commit", "-qm", "on Spark")
    return coded


def test_a_training_on_spark_is_clean_where_nothing_was_changed(on_spark):
    assert lineage(on_spark, "cars", "spark_a").changed == ()


def test_a_stage_of_spark_that_is_declared_otherwise_is_dirty_for_spark_alone(on_spark):
    file = on_spark / "spark" / "dvc.yaml"
    file.write_text(file.read_text().replace("--problem", "--quick --problem"))
    found = lineage(on_spark, "cars", "spark_a")
    assert found.changed == ("spark/dvc.yaml:train_spark@cars-a",)
    assert list(kept_inputs(on_spark, found)) == ["spark/dvc.yaml"]
    assert lineage(on_spark, "cars", "a").dirty == "false"


def test_another_pin_of_spark_is_dirty_and_kept(on_spark):
    (on_spark / "requirements-spark.lock").write_text("pyspark==2\n    # via project\n")
    write_code(on_spark)
    found = lineage(on_spark, "cars", "spark_a")
    assert found.changed == ("requirements.lock:pyspark",)
    assert "requirements-spark.lock" in kept_inputs(on_spark, found)


def test_a_changed_pin_of_spark_leaves_a_training_that_needs_no_spark_clean(on_spark):
    (on_spark / "src/lockstep/train.py").write_text(CODED["src/lockstep/train.py"])
    write_code(on_spark)
    git(on_spark, "commit", "-qam", "without Spark")
    (on_spark / "requirements-spark.lock").write_text("pyspark==2\n    # via project\n")
    assert lineage(on_spark, "cars", "a").dirty == "false"


@pytest.mark.parametrize(
    ("kind", "name", "folder", "lock"),
    [
        ("a", "train_multi_model@cars-a", "models/cars", "dvc.lock"),
        ("spark_a", "train_spark@cars-a", "models/cars/spark", "spark/dvc.lock"),
    ],
)
def test_a_training_is_current_until_its_code_means_something_else(
    on_spark, kind, name, folder, lock
):
    model, code = on_spark / folder / "a_model.joblib", f"code/{name}.json"
    model.parent.mkdir(parents=True)
    model.write_text("a model")
    graph = Graph.read(on_spark)
    entry = {
        "cmd": "train",
        "deps": [{"path": code, "md5": dvc_sum(on_spark / code)}],
        "params": {"params.yaml": graph.values(graph.one(name))},
        "outs": [{"path": f"{folder}/a_model.joblib", "md5": dvc_sum(model)}],
    }
    (on_spark / lock).write_text(yaml.safe_dump({"schema": "2.0", "stages": {name: entry}}))
    assert is_current(on_spark, "cars", kind)
    (on_spark / "src/lockstep/io.py").write_text("READ = 2\n")
    write_code(on_spark)
    assert not is_current(on_spark, "cars", kind)
    shutil.rmtree(on_spark / "code")  # as in a fresh clone, before its first `dvc repro`
    assert is_current(on_spark, "cars", kind)


def test_the_projects_own_graph_is_understood():
    project = Path(__file__).parents[2]
    keys = yaml.safe_load((project / "params.yaml").read_text())["train"]
    graph = Graph.read(project)
    for key, training in keys.items():
        found = graph.one(f"train_multi_model@{key}")
        assert f"data/{training['problem']}/features" in found.deps
        assert found.code == f"code/train_multi_model@{key}.json"
        assert f"train.{key}" in found.params
        assert not [path for path in found.deps if "$" in path]
    with pytest.raises(ConfigError, match="no stage train_multi_model@none"):
        graph.one("train_multi_model@none")
