"""A clean copy of a commit: what goes into it, where its data come from, its environment."""

import json
import shutil
import subprocess
import sys
import sysconfig
import time
import zipfile
from contextlib import suppress
from types import SimpleNamespace

import psutil
import pytest
import yaml

from lockstep.audit import provenance, rebuild
from lockstep.audit.closures import differing_inputs
from lockstep.audit.reproduce import start_of
from lockstep.dvc.graph import Lock, dvc_sum
from lockstep.dvc.lineage import with_params
from lockstep.errors import ConfigError, DataError, LockstepError
from lockstep.io import sha256_file
from lockstep.registry.store.versions import Version

DVC = """
stages:
  import_raw:
    foreach: ${problems}
    do:
      cmd: cp ${item.source.external}/x.csv data-${key}
      deps: ["${item.source.external}"]
      params: ["problems.${key}.source"]
      outs: ["data-${key}"]
  train_multi_model:
    foreach: ${train}
    do:
      cmd: cp data-${item.problem} model-${key}
      deps: ["data-${item.problem}"]
      params: ["train.${key}"]
      outs: ["model-${key}"]
"""
STAGE = "train_multi_model@cars-a"
PARAMS = """
problems: {cars: {source: {kind: files, external: data/external/cars}}}
train: {cars-a: {problem: cars, depth: 3}}
"""


def git(root, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=root, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def dvc(root, *arguments):
    subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=root, check=True, capture_output=True
    )


@pytest.fixture
def project(tmp_path, template):
    """A copy of the repository below: each call of DVC takes a second."""
    shutil.copytree(template, tmp_path / "a repository")
    return tmp_path / "a repository" / "project"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A repository with data that DVC tracks, the project below the repository's top."""
    top = tmp_path_factory.mktemp("template") / "a repository"
    root = top / "project"
    (root / "data/external/cars").mkdir(parents=True)
    (root / "data/external/cars/x.csv").write_text("1\n")
    git(top, "init", "-q")
    dvc(root, "init", "--subdir", "-q")
    dvc(root, "add", "-q", "data/external/cars")
    for name, text in {
        "dvc.yaml": DVC,
        "params.yaml": PARAMS,
        "requirements.lock": "a==1\n",
    }.items():
        (root / name).write_text(text)
    git(top, "add", "-A")
    git(top, "commit", "-qm", "first")
    return top


def test_the_training_is_made_anew_from_the_cache_of_the_project(project):
    with rebuild.clean_tree(project, git(project, "rev-parse", "HEAD")) as tree:
        assert tree.root.name == "project"
        assert rebuild.fetch_data(tree, project, "cars", None) == "DVC's cache"
        rebuild.repro(tree, STAGE)
        assert (tree.root / "model-cars-a").read_text() == "1\n"
        top = tree.top
    assert not top.exists()
    assert not (project / "dvc.lock").exists()
    assert git(project, "status", "--porcelain") == ""
    assert git(project, "worktree", "list").count("\n") == 0


@pytest.mark.long
@pytest.mark.parametrize("where", [".", ".."], ids=["own .dvc", ".dvc above"])
@pytest.mark.parametrize("level", [(), ("--local",)], ids=["config", "config.local"])
def test_data_come_from_a_remote_named_from_the_project_or_are_said_to_be_missing(
    project, where, level
):
    if where == "..":
        (project / ".dvc").rename(project.parent / ".dvc")
        git(project.parent, "add", "-A")
        git(project.parent, "commit", "-qm", "one .dvc for the whole repository")
    commit = git(project, "rev-parse", "HEAD")
    # The remote is relative, and not committed.
    dvc(project, "remote", "add", *level, "-d", "storage", "../../storage")
    dvc(project, "push", "-q")
    shutil.rmtree(project / where / ".dvc/cache")
    with rebuild.clean_tree(project, commit) as tree:
        assert rebuild.fetch_data(tree, project, "cars", None) == "the DVC remote"
        assert (tree.root / "data/external/cars/x.csv").read_text() == "1\n"
    shutil.rmtree(project.parents[1] / "storage")
    with rebuild.clean_tree(project, commit) as tree:
        missing = r"data/external/cars\) are not in DVC's cache here; run `dvc push`"
        with pytest.raises(DataError, match=missing):
            rebuild.fetch_data(tree, project, "cars", None)
        dvc(project, "remote", "remove", *level, "storage")
        with pytest.raises(DataError, match="set one with `make dvc-remote"):
            rebuild.fetch_data(tree, project, "cars", None)


def test_a_publisher_s_files_come_from_the_cache_before_they_are_fetched_again(project):
    """What the publisher offers now may be other files."""
    dvc(project, "repro", "-q", "import_raw@cars")
    entry = {
        "cmd": "cp data/external/cars/x.csv data-cars",
        "deps": {"data/external/cars": dvc_sum(project / "data/external/cars")},
        "params": {"problems.cars.source": {"kind": "download", "external": "data/external/cars"}},
        "outs": {"data-cars": dvc_sum(project / "data-cars")},
    }
    git(project, "rm", "-q", "--cached", "data/external/cars.dvc")
    (project / "params.yaml").write_text(PARAMS.replace("files", "download"))
    (project / "data/external/.gitignore").unlink()
    git(project, "add", "-A")
    (project / "data/external/cars.dvc").unlink()
    git(project, "rm", "-q", "--cached", "data/external/cars.dvc")
    git(project, "commit", "-qm", "downloaded")
    commit, closure = git(project, "rev-parse", "HEAD"), {"stages": {"import_raw@cars": entry}}
    with rebuild.clean_tree(project, commit) as tree:
        assert rebuild.fetch_data(tree, project, "cars", closure) == "DVC's cache"
        assert (tree.root / "data-cars").read_text() == "1\n"
        rebuild.repro(tree, STAGE)
        status = tree.dvc("status", "import_raw@cars")
        assert "up to date" in status.stdout
    shutil.rmtree(project / ".dvc/cache")
    downloads = project / ".lockstep/downloads"
    downloads.mkdir(parents=True)
    (downloads / "x").write_text("kept\n")
    with rebuild.clean_tree(project, commit) as tree:
        assert (
            rebuild.fetch_data(tree, project, "cars", closure) == "source download, fetched again"
        )
        assert not (tree.root / "dvc.lock").exists()
        assert (tree.root / ".lockstep/downloads/x").read_text() == "kept\n"


CODE_STAGE = f"""
stages:
  code:
    cmd: {sys.executable} -m lockstep.dvc.write_code
    always_changed: true
    outs: [code: {{cache: false}}]
"""


def test_the_copy_s_own_code_stage_says_what_its_code_means(project):
    """And a publisher's files are then as little fetched again as before."""
    stage = "cp data/external/cars/x.csv data-cars # python -m lockstep.get --problem cars"
    graph = DVC.replace("cp ${item.source.external}/x.csv data-${key}", f"'{stage}'")
    graph = graph.replace('["${item', '["code/import_raw@${key}.json", "${item')
    (project / "dvc.yaml").write_text(graph.replace("\nstages:\n", CODE_STAGE))
    (project / "src/lockstep").mkdir(parents=True)
    (project / "src/lockstep/get.py").write_text("VALUE = 1\n")
    (project / ".gitignore").write_text("/code\n")
    (project / "params.yaml").write_text(PARAMS.replace("files", "download"))
    dvc(project, "repro", "-q", "import_raw@cars")
    entry = Lock.read(project).entries["import_raw@cars"]
    code = json.loads((project / entry_code(entry)).read_text())
    assert list(code) == ["src/lockstep/get.py"]
    deps = {path: told for path, told in entry["deps"].items() if not path.startswith("code/")}
    closure = {"stages": {"import_raw@cars": {**entry, "deps": deps, "code": code}}}
    closure["training"] = {"cmd": "", "deps": {}, "params": {}}
    git(project, "rm", "-q", "--cached", "data/external/cars.dvc")
    (project / "data/external/.gitignore").unlink()
    git(project, "add", "-A")
    git(project, "rm", "-q", "--cached", "data/external/cars.dvc")
    git(project, "commit", "-qm", "downloaded")
    with rebuild.clean_tree(project, git(project, "rev-parse", "HEAD")) as tree:
        rebuild.write_code(tree)
        assert differing_inputs(tree.root, closure) == []
        assert rebuild.fetch_data(tree, project, "cars", closure) == "DVC's cache"
        told = tree.dvc("repro", "import_raw@cars")
        assert "Stage 'import_raw@cars' didn't change, skipping" in told.stdout
        (tree.root / "src/lockstep/get.py").write_text("VALUE = 2\n")
        rebuild.write_code(tree)
        assert differing_inputs(tree.root, closure) == ["src/lockstep/get.py"]


def entry_code(entry):
    return next(path for path in entry["deps"] if path.startswith("code/"))


def test_a_stage_that_fails_is_one_line_and_leaves_nothing(project):
    (project / "dvc.yaml").write_text(DVC.replace("cp data-", "false data-"))
    git(project, "commit", "-qam", "broken")
    tops = []
    with (
        pytest.raises(
            LockstepError, match="`dvc repro train_multi_model@cars-a` ended with exit code 255"
        ),
        rebuild.clean_tree(project, git(project, "rev-parse", "HEAD")) as tree,
    ):
        tops.append(tree.top)
        rebuild.fetch_data(tree, project, "cars", None)
        rebuild.repro(tree, STAGE)
    assert not tops[0].exists()


def test_a_copy_that_is_kept_stays_and_what_it_runs_is_its_own(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///the-project-s.db")
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "1")
    with rebuild.clean_tree(project, git(project, "rev-parse", "HEAD"), keep=True) as tree:
        told = tree.ask(
            "python",
            "-c",
            "import os; e = os.environ; print(e['PYTHONPATH'], e['LOCKSTEP_PUBLISH'])",
        )
        assert told.stdout.split() == [str(tree.root / "src"), "0"]
        assert "MLFLOW_TRACKING_URI" not in tree.variables
    assert tree.root.is_dir()
    shutil.rmtree(tree.top)


def test_an_environment_is_built_only_where_the_lock_is_another(project, monkeypatch):
    monkeypatch.setattr(rebuild, "check_installed", lambda *_: None)  # the locks are made up
    commit = git(project, "rev-parse", "HEAD")
    (project / "Makefile").write_text(
        "env:\n\t@mkdir -p .venv/bin && ln -s '$(shell command -v $(PYTHON))' .venv/bin/python\n"
    )
    git(project, "add", "-A")
    git(project, "commit", "-qm", "with a Makefile")
    buildable = git(project, "rev-parse", "HEAD")
    with rebuild.clean_tree(project, buildable) as tree:
        assert rebuild.with_environment(tree, project) == tree
    (project / "requirements.lock").write_text("a==2\n")
    with rebuild.clean_tree(project, buildable) as tree:
        built = rebuild.with_environment(tree, project)
        assert built.python == tree.root / ".venv/bin/python"
        assert built.environment == "built from that commit's own requirements.lock"
    with (
        rebuild.clean_tree(project, commit) as tree,
        pytest.raises(ConfigError, match=r"can't be built \(`make env` ended with exit code 2"),
    ):
        rebuild.with_environment(tree, project)


def test_for_a_type_of_spark_its_lock_counts_and_spark_is_set_up(project, monkeypatch):
    monkeypatch.setattr(rebuild, "check_installed", lambda *_: None)  # the locks are made up
    (project / "Makefile").write_text(
        "env:\n\t@mkdir -p .venv/bin && ln -s '$(shell command -v $(PYTHON))' .venv/bin/python\n"
        "setup-spark:\n\t@touch .venv/spark\n"
    )
    (project / "requirements-spark.lock").write_text("pyspark==1\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "with Spark")
    commit = git(project, "rev-parse", "HEAD")
    with rebuild.clean_tree(project, commit) as tree:
        assert rebuild.with_environment(tree, project, "spark_xgboost") == tree
    (project / "requirements-spark.lock").write_text("pyspark==2\n")
    with rebuild.clean_tree(project, commit) as tree:
        assert rebuild.with_environment(tree, project, "xgboost") == tree
        built = rebuild.with_environment(tree, project, "spark_xgboost")
        assert built.environment == "built from that commit's own requirements-spark.lock"
        assert (tree.root / ".venv/spark").is_file()


def wheel(folder, name, version):
    """Write a package of one module as a wheel, and return the line that locks it."""
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}.py": f"VERSION = '{version}'\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in content.items():
            archive.writestr(file, text)
    return f"{name}=={version} --hash=sha256:{sha256_file(path)}\n"


MAKE_ENV = """\
env:
\t$(PYTHON) -m venv --without-pip .venv
\t'{pip}' -m pip --python .venv install -q --no-index --find-links '{wheels}' \
--require-hashes -r requirements.lock
\techo '{lent}' > "$$(.venv/bin/python -c \
'import sysconfig; print(sysconfig.get_path("purelib"))')/lent.pth"
"""
"""The lent packages come after the locked ones, so no test installs DVC's hundred anew."""
ASK = "import sys, tinya, tinyb; print(tinya.VERSION, tinyb.VERSION, sys.prefix)"


def test_the_commit_s_own_environment_is_built_and_runs_the_training(project, tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    locks = {
        number: [wheel(wheels, name, number) for name in ("tinya", "tinyb")]
        for number in ("1.0", "2.0")
    }
    make_env = MAKE_ENV.format(
        pip=sys.executable, wheels=wheels, lent=sysconfig.get_path("purelib")
    )
    (project / "Makefile").write_text(make_env)
    (project / "requirements.lock").write_text("".join(locks["1.0"]))
    (project / "ask.py").write_text(ASK)
    (project / "dvc.yaml").write_text(DVC.replace("cp data-${item.problem}", "python ask.py >"))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "made with the first of two packages")
    commit = git(project, "rev-parse", "HEAD")
    (project / "requirements.lock").write_text("".join(locks["2.0"]))
    git(project, "commit", "-qam", "the second")
    with rebuild.clean_tree(project, commit) as tree:
        built = rebuild.with_environment(tree, project)
        rebuild.fetch_data(built, project, "cars", None)
        rebuild.repro(built, STAGE)
        told = (built.root / "model-cars-a").read_text().split(maxsplit=2)
        assert told == ["1.0", "1.0", f"{built.root / '.venv'}\n"]


def test_kept_inputs_are_put_over_the_commit_only_where_their_sums_hold(project, tmp_path):
    kept = tmp_path / "kept"
    (kept / "src").mkdir(parents=True)
    (kept / "src/new.py").write_text("1\n")
    good = {"src/new.py": sha256_file(kept / "src/new.py"), "params.yaml": None}
    with rebuild.clean_tree(project, git(project, "rev-parse", "HEAD")) as tree:
        rebuild.put_inputs(tree, good, kept, "cars 1")
        assert (tree.root / "src/new.py").read_text() == "1\n"
        assert not (tree.root / "params.yaml").exists()
        with pytest.raises(DataError, match="outside of the project"):
            rebuild.put_inputs(tree, {"../../x": good["src/new.py"]}, kept, "cars 1")
        (kept / "src/new.py").write_text("2\n")
        with pytest.raises(
            DataError, match=r"src/new\.py, and its run's copy of it is missing or altered"
        ):
            rebuild.put_inputs(tree, good, kept, "cars 1")


def test_parameters_are_put_by_value(project):
    closure = {
        "stages": {"import_raw@cars": {"params": {"problems.cars.source": {"kind": "sample"}}}},
        "training": {"params": {"train.cars-a": {"depth": 4, "rate": 1e-05}, "seed.of.all": 1}},
    }
    with rebuild.clean_tree(project, git(project, "rev-parse", "HEAD")) as tree:
        rebuild.put_params(tree, closure)
        assert yaml.safe_load((tree.root / "params.yaml").read_text()) == {
            "problems": {"cars": {"source": {"kind": "sample"}}},
            "train": {"cars-a": {"depth": 4, "rate": 1e-05}},
            "seed": {"of": {"all": 1}},
        }


def test_putting_parameters_changes_no_given_dictionary():
    before = {"a": {"b": 1}, "c": 2}
    assert with_params(before, {"a.b": 3, "c": 2}) == {"a": {"b": 3}, "c": 2}
    assert before == {"a": {"b": 1}, "c": 2}


@pytest.mark.parametrize(
    ("commit", "told"),
    [
        (None, "it carries no tag"),
        ("no commit yet", "no commit yet"),
        ("0123456789" * 4, "`git fetch` may bring it"),
    ],
)
def test_a_version_without_a_commit_here_is_one_line(project, commit, told):
    with pytest.raises(ConfigError, match=told):
        rebuild.check_commit(project, commit, "cars version 1")


def test_a_version_whose_inputs_were_committed_later_begins_with_that_commit(project):
    head = git(project, "rev-parse", "HEAD")
    tags = {"lockstep.git_commit": head, "lockstep.dirty": "true"}

    def start(**more):
        version = Version("Cars", 1, 0, "r", "", "None", {**tags, **more})
        return start_of(project, version)

    assert start() == (head, True)
    assert start(**{"lockstep.dirty": "false"}) == (head, False)
    git(project, "commit", "-q", "--allow-empty", "-m", "later")
    later = git(project, "rev-parse", "HEAD")
    assert start(**{"lockstep.committed_as": later}) == (later, False)
    assert start(**{"lockstep.committed_as": "f" * 40}) == (head, True)  # of another clone


def test_a_repository_that_git_refuses_is_not_one_that_lacks_the_commit(project, monkeypatch):
    head = git(project, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(ConfigError, match=r"^git refuses this folder.*safe\.directory"):
        rebuild.check_commit(project, head, "cars version 1")
    version = SimpleNamespace(tag={"git_commit": head}.get, dirty=False)
    verdict, message = provenance._commit(version, project)
    assert verdict == "not known"
    assert message.startswith(f"{head}: git refuses this folder")


def test_outside_of_a_repository_nothing_is_rebuilt(tmp_path):
    with pytest.raises(ConfigError, match="is in no git repository"):
        rebuild.check_commit(tmp_path, "0" * 40, "cars version 1")


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(project, tmp_path):
    with rebuild.clean_tree(project, git(project, "rev-parse", "HEAD")) as tree:
        script = f"sleep 60 & echo $! > '{tmp_path}/child'; wait"
        with pytest.raises(ConfigError, match="took longer than 1 s and was ended"):
            tree.run("bash", "-c", script, seconds=1)
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5  # the system ends it a little after the signal
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the child still runs"
            time.sleep(0.02)
