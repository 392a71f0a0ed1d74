"""A table becomes a problem, wholly or not at all."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.commands import new_problem
from lockstep.config.params import load_params
from lockstep.dvc.command import run_dvc
from lockstep.errors import ConfigError, DataError, LockstepError, UsageError
from lockstep.problems import schema as schemas

PROJECT = Path(__file__).parents[2]
ROWS = [
    f"{i},{20 + i * 7 % 47},{['red', 'green', 'blue'][i % 3]},{'yes' if i * 13 % 10 < 3 else 'no'}"
    for i in range(200)
]
TABLE = "\n".join(["customer,age,colour,bought", *ROWS]) + "\n"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template") / "project"
    (root / "src/lockstep/problems").mkdir(parents=True)
    (root / "data/external").mkdir(parents=True)
    (root / "metrics").mkdir()
    for name in ("params.yaml", "dvc.yaml", "metrics/dvc.yaml"):
        shutil.copy(PROJECT / name, root / name)
    subprocess.run(["git", "init", "-q", "-b", "trunk"], cwd=root, check=True)
    run_dvc(root, "init", "-q")
    return root


@pytest.fixture
def root(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "my project"
    shutil.copytree(template, made)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(made)
    monkeypatch.setattr(schemas, "PROBLEMS", made / "src/lockstep/problems")
    return made


def run(monkeypatch, file, name="shop", target="bought", task=""):
    given = ["new_problem", "--name", name, "--file", str(file), "--target", target, "--task", task]
    monkeypatch.setattr(sys, "argv", given)
    new_problem.main()


def table(tmp_path, text=TABLE, name="shop.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def snapshot(root):
    """Every file of the project but what DVC, git and the lock keep for themselves."""
    own = {".git", "cache", "tmp", ".lockstep"}
    found = [p for p in sorted(root.rglob("*")) if not own & set(p.relative_to(root).parts)]
    files, folders = [p for p in found if p.is_file()], [p for p in found if p.is_dir()]
    assert root / "params.yaml" in files
    return {p: p.read_bytes() for p in files}, folders


def test_a_table_becomes_a_problem(root, monkeypatch, tmp_path, capsys):
    before = (root / "params.yaml").read_text()
    run(monkeypatch, table(tmp_path))
    told = capsys.readouterr().out
    assert "binary" in told
    assert told.endswith("make run-train PROBLEM=shop\n")
    section = load_params(root).problems["shop"]
    assert (section.source.kind, section.source.external) == ("table", "data/external/shop")
    assert [line for line in (root / "params.yaml").read_text().splitlines() if "shop" not in line][
        :5
    ] == (before.splitlines()[:5])
    assert (root / "data/external/shop.dvc").is_file()
    schema = schemas.read_schema(root / "src/lockstep/problems/shop/schema.yaml")
    assert schema.feature_names == ["age", "colour"]
    assert json.loads((root / "src/lockstep/problems/shop/example.json").read_text()).keys() == {
        "age",
        "colour",
    }


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        (
            {"name": "accidents"},
            UsageError,
            "exists already; give another NAME=…, or bring new data",
        ),
        ({"name": "my-shop"}, UsageError, "e.g. NAME=my_shop"),
        ({"name": "2nd"}, UsageError, "e.g. NAME=nd"),
        ({"name": "class"}, UsageError, "Python's own"),
        ({"name": "numpy"}, UsageError, "installed package"),
        ({"name": "statistics"}, UsageError, "installed package"),
        ({"name": "external"}, UsageError, "data/external is there already"),
        ({"target": ""}, UsageError, "TARGET=…; it has customer, age"),
        ({"target": "bougt"}, UsageError, r"did you mean 'bought'\?"),
        ({"file": "nowhere.csv"}, UsageError, "is not there"),
        ({"file": "."}, UsageError, "is a folder"),
        ({"file": "~nobody_of_this_name/t.csv"}, UsageError, "begins with no known home folder"),
        ({"task": "regression"}, DataError, "holds text"),
        ({"task": "multiclass"}, DataError, "two values"),
        ({"target": "customer", "task": "multiclass"}, DataError, "different in every row"),
    ],
)
def test_what_makes_no_problem_is_one_line_and_leaves_nothing(
    root, monkeypatch, tmp_path, options, error, says
):
    before = snapshot(root)
    with pytest.raises(error, match=says):
        run(monkeypatch, **{"file": table(tmp_path), **options})
    assert snapshot(root) == before


@pytest.mark.parametrize(
    ("text", "target", "says"),
    [
        ("a,b\n" + "1,x\n" * 200, "b", "is 'x' in every row"),
        ("a,b\n" + "1,\n" * 200, "b", "is empty in every row"),
        (
            "a,b\n" + "".join(f"1,t{i}\n" for i in range(200)),
            "b",
            "different in every row: no classes",
        ),
        (
            "a,b\n" + "".join(f"1,t{i % 60}\n" for i in range(200)),
            "b",
            "60 different values in 200 rows",
        ),
        (
            "a,b\n" + "".join(f"1,{'x' if i else 'y'}\n" for i in range(200)),
            "b",
            r"too few rows of 'y' \(1 row\); a class needs at least 20",
        ),
        ("a,b\n" + "".join(f"1,2020-01-{i % 28 + 1:02}\n" for i in range(200)), "b", "holds dates"),
        (
            "a,b\n" + "".join(f"1,{i % 2}\n" for i in range(200)),
            "b",
            "no column to predict 'b' from",
        ),
        ("a,b\n" + "1,2\n3,4\n", "b", "2 rows; at least"),
        ("<html><body></body></html>", "b", "an HTML page"),
    ],
)
def test_a_table_that_nothing_can_be_learned_from(root, monkeypatch, tmp_path, text, target, says):
    before = snapshot(root)
    with pytest.raises(DataError, match=says):
        run(monkeypatch, table(tmp_path, text), target=target)
    assert snapshot(root) == before


@pytest.mark.parametrize("broken", ["store", "track"])
@pytest.mark.parametrize(
    "fault", [ConfigError("no"), KeyboardInterrupt(), OSError(28, "No space left on device")]
)
def test_a_failure_half_way_leaves_the_project_as_it_was(
    root, monkeypatch, tmp_path, broken, fault
):

    before = snapshot(root)

    def fail(*_):
        raise fault

    monkeypatch.setattr(new_problem, broken, fail)
    with pytest.raises(type(fault)):
        run(monkeypatch, table(tmp_path))
    assert snapshot(root) == before


def test_a_failure_at_the_last_file_leaves_the_project_as_it_was(root, monkeypatch, tmp_path):
    from lockstep import io

    before, write = snapshot(root), io.write_text

    def all_but_the_last(path, text):
        if path.name == "params.yaml":
            raise ConfigError("no")
        write(path, text)

    monkeypatch.setattr(new_problem, "write_text", all_but_the_last)
    with pytest.raises(ConfigError):
        run(monkeypatch, table(tmp_path))
    assert snapshot(root) == before


KILLED = """
import os, signal
from pathlib import Path
from lockstep.commands import new_problem
from lockstep.errors import run_command
from lockstep.problems import schema

schema.PROBLEMS = Path("src/lockstep/problems")
end = lambda *_: os.kill(os.getpid(), signal.{signal})
if "{where}" == "track":
    new_problem.track = end
else:
    write = new_problem.write_text
    new_problem.write_text = lambda path, text: (
        end() if path.name == "params.yaml" else write(path, text)
    )
run_command(new_problem.main)
"""


def killed(root, file, by, where="track"):
    code = KILLED.format(signal=by, where=where)
    arguments = ["--name", "shop", "--file", str(file), "--target", "bought"]
    env = {k: v for k, v in os.environ.items() if k != "DVC_ROOT"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=root,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_terminated_it_puts_everything_back(root, tmp_path):
    before = snapshot(root)
    done = killed(root, table(tmp_path), "SIGTERM")
    assert (done.returncode, done.stderr) == (
        1,
        "✗ terminated; nothing half-made was kept, run the command again\n",
    )
    assert snapshot(root) == before


def test_killed_outright_the_next_call_puts_it_back_and_goes_on(
    root, monkeypatch, tmp_path, capsys
):
    before = snapshot(root)
    file = table(tmp_path)
    assert killed(root, file, "SIGKILL").returncode == -signal.SIGKILL
    assert snapshot(root) != before
    run(monkeypatch, file)
    assert "put back what an interrupted" in capsys.readouterr().out
    assert "shop" in load_params(root).problems


def test_killed_at_its_last_write_all_is_put_back(root, monkeypatch, tmp_path, capsys):
    before, file = snapshot(root), table(tmp_path)
    assert killed(root, file, "SIGKILL", "params.yaml").returncode == -signal.SIGKILL
    assert (root / "data/external/shop.dvc").is_file()
    with pytest.raises(UsageError):
        run(monkeypatch, file, target="no such column")
    said = capsys.readouterr().out
    assert said == "put back what an interrupted `make new-problem` had begun\n"
    assert snapshot(root) == before


def test_what_was_edited_after_a_kill_is_kept_and_named(root, monkeypatch, tmp_path, capsys):
    file = table(tmp_path)
    assert killed(root, file, "SIGKILL", "params.yaml").returncode == -signal.SIGKILL
    edited = {}
    for name in ("dvc.yaml", "params.yaml", "src/lockstep/problems/shop/schema.yaml"):
        edited[name] = (root / name).read_text() + "# mine\n"
        (root / name).write_text(edited[name])
    cache = root / "data/external/shop/__pycache__"
    cache.mkdir()
    (cache / "x.pyc").touch()
    with pytest.raises(UsageError, match="the problem shop exists already"):
        run(monkeypatch, file)
    kept = "params.yaml, dvc.yaml, src/lockstep/problems/shop"
    assert f"kept, as it was changed since: {kept}; remove or" in capsys.readouterr().out
    assert {name: (root / name).read_text() for name in edited} == edited
    assert not (root / "data/external/shop").exists()
    assert not (root / "data/external/shop.dvc").exists()
    assert not (root / ".lockstep/new-problem.json").exists()


def test_a_journal_without_sums_destroys_nothing(root, monkeypatch, tmp_path, capsys):
    before = snapshot(root)
    (root / ".lockstep").mkdir()
    journal = root / ".lockstep/new-problem.json"
    journal.write_text(json.dumps({"params.yaml": "YTogMQo=", "data/external/shop": None}))
    with pytest.raises(UsageError):
        run(monkeypatch, table(tmp_path), target="no such column")
    assert "kept, as it was changed since: params.yaml; remove" in capsys.readouterr().out
    assert snapshot(root) == before
    assert not journal.exists()


@pytest.mark.parametrize("name", ["dvc.yaml", "metrics/dvc.yaml"])
def test_a_file_that_can_not_be_extended_is_the_one_that_is_named(
    root, monkeypatch, tmp_path, name
):
    (root / name).write_text("artifacts: {}\nplots: {}\n")
    with pytest.raises(ConfigError, match=f"^{name} has no block `"):
        run(monkeypatch, table(tmp_path))
    (root / name).write_text("a list:\n - [\n")
    with pytest.raises(ConfigError, match=f"^{name} is no valid YAML"):
        run(monkeypatch, table(tmp_path))


def test_two_at_once_are_refused(root, monkeypatch, tmp_path):
    from lockstep.commands.undo import all_or_nothing

    with (
        all_or_nothing(root),
        pytest.raises(LockstepError, match="another `make new-problem` is running"),
    ):
        run(monkeypatch, table(tmp_path))
