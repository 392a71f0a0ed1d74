"""What a branch changes, as Markdown: read from git and the folder, true to what was computed."""

import hashlib
import json
import shutil
import sys
from copy import deepcopy

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.reports.revised_project import (
    ROWS,
    champion,
    commit,
    git,
    make,
    params,
    repro,
    scores,
    set_params,
    training,
    write,
)

from lockstep.commands import report_diff
from lockstep.dvc.revision import Revision
from lockstep.errors import ConfigError, DataError, UsageError
from lockstep.evaluation.comparison import Candidate
from lockstep.evaluation.paired_comparison import paired_difference
from lockstep.features.matrix_columns import GROUP
from lockstep.reports import revision_report
from lockstep.reports.revision_inputs import ABSENT, Scope, params_changes
from lockstep.reports.revision_report import report

OLD = {"linear": 1.0, "forest": 1.5, "boost": 1.6}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make(tmp_path_factory.mktemp("made") / "project", params(**OLD))


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "project")


def retrain(root, **skills):
    set_params(root, params(**skills))
    repro(root)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n\n")[1].split("\n\n## ")[0]


def cells(text: str, begin: str) -> list[list[str]]:
    """Return the cells of all rows of tables that begin so."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {begin}")]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def files(root) -> dict[str, str]:
    """Return the SHA-256 of each file of the working tree, and git's references."""
    own = [p for p in root.rglob("*") if p.is_file() and not {".git", "tmp"} & set(p.parts[-4:])]
    sums = {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in own}
    return sums | {"refs": git(root, "for-each-ref"), "head": git(root, "rev-parse", "HEAD")}


def test_without_any_difference_it_says_so(root):
    text = report(root, "main")
    same = "No difference: metrics, champions, parameters, data and code are the same."
    assert text.endswith(same)
    assert text.count("\n\n") == 2


def test_a_better_model_its_parameters_and_the_new_champion(root):
    retrain(root, **{**OLD, "linear": 2.5})
    commit(root)
    text = report(root, "main")
    base, head = (git(root, "rev-parse", name)[:9] for name in ("main", "mine"))
    assert f"Base: `main`, commit `{base}`. Now: commit `{head}`.\n" in text
    metrics = section(text, "Metrics")
    assert "Champion: `boost` (validation roc_auc 0." in metrics
    assert f" → `linear` (validation roc_auc {champion(root)['value']:.4f})." in metrics
    assert "600 test rows" in metrics
    linear, forest = cells(metrics, "`linear` (champion)")[0], cells(metrics, "`forest`")[0]
    assert linear[-1] == "better"
    assert forest[3:] == ["", "same"]
    assert section(text, "Parameters") == "- `train.cars-linear.params.skill`: `1.0` → `2.5`"
    assert section(text, "Data") == "The scores of 1 model differ."
    assert section(text, "Code") == section(text, "Problems and model types") == "no change"


@pytest.mark.parametrize("metric", ["roc_auc", "f1", "log_loss", "brier"])
def test_the_interval_is_that_of_the_paired_difference(root, metric):
    retrain(root, **{**OLD, "forest": 1.55})
    text = report(root, "main")
    one, other = (Candidate("forest", 0.5, scores("cars", skill, 1)) for skill in (1.55, 1.5))
    groups = one.part("test")[GROUP].to_numpy()
    right = paired_difference(one.rows("test"), other.rows("test"), groups, metric, 200, 0)
    begin = "`forest`" if metric == "roc_auc" else f"`forest` | {metric}"
    gap, verdict = cells(text, f"{begin} |")[0][-2:]
    assert gap == f"{right.estimate:+.4f} ({right.low:+.4f} … {right.high:+.4f})"
    assert verdict == right.verdict


def with_problem(root, name: str, kind: str, metric: str, skill: float):
    """Retrain with a second problem, of one model type."""
    content = params(**OLD)
    compare = {"metric": metric, "resamples": 200, "seed": 0}
    content["problems"][name] = {"compare": compare, "model_types": [kind]}
    content["train"][f"{name}-{kind}"] = training(name, kind, skill)
    set_params(root, content)
    repro(root)


def test_the_same_champion_with_another_value(root):
    retrain(root, **{**OLD, "boost": 2.5})
    values = [f"{champion(root)['value']:.4f}"]
    git(root, "stash", "-q")
    values.insert(0, f"{champion(root)['value']:.4f}")
    git(root, "stash", "pop", "-q")
    same = f"Champion as before: `boost` (validation roc_auc {' → '.join(values)})."
    assert same in report(root, "main")


def test_lower_errors_are_better(root):
    with_problem(root, "houses", "ridge", "rmse", 1.0)
    commit(root)
    with_problem(root, "houses", "ridge", "rmse", 2.0)
    text = report(root, "HEAD")
    assert "### `cars`\n\nno change" in text
    row = cells(text, "`ridge` (champion)")[0]
    assert row[3].startswith("-")
    assert row[4] == "better"
    assert cells(text, "`ridge` | r2")[0][-1] == "better"


def test_several_classes(root):
    with_problem(root, "colours", "forest", "macro_f1", 2.0)
    commit(root)
    with_problem(root, "colours", "forest", "macro_f1", 1.0)
    text = report(root, "HEAD", "colours")
    assert cells(text, "`forest` (champion)")[0][-1] == "worse"
    assert cells(text, "`forest` | log_loss")[0][-1] == "worse"
    assert "threshold" not in text


def test_another_metric_of_the_comparison(root):
    content = params(**OLD)
    content["problems"]["cars"]["compare"]["metric"] = "f1"
    set_params(root, content)
    repro(root)
    text = report(root, "main")
    assert "Champion: `boost` (validation roc_auc 0." in text
    assert "(validation f1 0." in text
    assert "f1 of base" in text


def test_a_new_problem_that_was_not_trained(root):
    content = params(**OLD)
    content["problems"]["houses"] = {"model_types": ["ridge"]}
    content["train"]["houses-ridge"] = training("houses", "ridge", 1.0)
    set_params(root, content)
    metrics = section(report(root, "main"), "Metrics")
    assert "it was not trained yet; run `make run-train PROBLEM=houses`" in metrics


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (1, True, "`1` → `True`"),
        ([*range(40)], [*range(39), 7], "38, 7]`"),
        (None, "", "`None` → empty"),
        (0.1, [0.1], "`0.1` → `[0.1]`"),
        ({"a": 1}, 2, "a section of 1 key → `2`"),
        (float("nan"), float("nan"), ""),
    ],
)
def test_values_that_only_look_equal(root, old, new, line):
    content = params(**OLD)
    for value in (old, new):
        content["train"]["cars-linear"]["params"]["own"] = value
        set_params(root, content)
        repro(root)
        git(root, "add", "-A")
        git(root, "commit", "-q", "--allow-empty", "-m", "another value")
    text = report(root, "HEAD~1")
    if line:
        assert section(text, "Parameters").endswith(line)
    else:
        assert "No difference" in text


def test_another_seed_on_the_same_rows_is_noise(root):
    content = params(**OLD)
    content["train"]["cars-forest"]["seed"] = 3
    set_params(root, content)
    repro(root)
    row = cells(report(root, "main"), "`forest` |")[0]
    assert row[-1] == "no difference beyond noise"


def test_back_to_the_base_the_verdicts_are_turned_round(root):
    retrain(root, **{**OLD, "forest": 0.4})
    there = cells(report(root, "main"), "`forest` |")
    commit(root)
    git(root, "checkout", "-qb", "back")
    retrain(root, **OLD)
    back = cells(report(root, "mine"), "`forest` |")
    turned = {"better": "worse", "worse": "better"}
    assert there[0][-1] == "worse"
    assert [turned.get(row[-1], row[-1]) for row in there] == [row[-1] for row in back]


def test_without_the_scores_of_base_its_interval_decides(root):
    retrain(root, **{**OLD, "linear": 1.02, "forest": 3.0})
    shutil.rmtree(root / ".dvc/cache")
    text = report(root, "main")
    assert "No paired difference of `linear`, `forest`: DVC's cache here lacks the scores" in text
    assert "That is no test" in text
    assert "paired difference leaves out zero" not in text
    assert cells(text, "`linear` |")[0][-1] == "inside the interval of base"
    assert cells(text, "`forest` (champion)")[0][-1] == "outside the interval of base"
    assert "(" not in cells(text, "`linear` |")[0][3]


def test_other_test_rows_are_no_pairs(root):
    repro(root, rows=1200)
    text = report(root, "main")
    unpaired = "No paired difference of `linear`, `forest`, `boost`: the test rows differ."
    assert f"600 test rows at base, 800 now. {unpaired}" in text
    (tidy,) = cells(section(text, "Data"), "`data/cars/tidy.parquet`")
    assert tidy[1:] == ["900 rows of 907, 2.5 MB", "1,200 rows of 1,207, 2.5 MB"]


def test_as_many_other_rows_are_no_pairs(root):
    repro(root, sample=1)
    text = report(root, "main")
    assert "600 test rows. No paired difference of `linear`, `forest`, `boost`: the test" in text
    (row,) = cells(section(text, "Data"), "`data/cars/tidy.parquet`")
    assert row[2] == f"{row[1]}, with other content"


def test_data_that_a_dvc_file_tracks(root):
    external = root / "data/external"
    content = yaml.safe_load((external / "cars.dvc").read_text())
    content["outs"][0] |= {"md5": "b" * 32, "size": 2400}
    (external / "cars.dvc").write_text(yaml.safe_dump(content))
    assert cells(section(report(root, "main"), "Data"), "`data/external/cars`") == [
        ["`data/external/cars`", "1.2 kB", "2.4 kB"]
    ]
    content["outs"][0] |= {"size": 1200}
    (external / "cars.dvc").write_text(yaml.safe_dump(content))
    (row,) = cells(section(report(root, "main"), "Data"), "`data/external/cars`")
    assert row[1:] == ["1.2 kB", "1.2 kB, with other content"]
    (external / "cars.dvc").unlink()
    text = report(root, "main")
    assert cells(section(text, "Data"), "`data/external/cars`")[0][1:] == ["1.2 kB", "not there"]


@pytest.mark.parametrize(
    ("name", "text", "part", "change", "stages"),
    [
        ("io.py", "READ = 2\n", "src/lockstep/io.py", "changed", "preprocess, train_multi_model"),
        ("fit.py", "READ = 3\n", "requirements.lock:numpy", "no longer run", "train_multi_model"),
        (
            "prepare.py",
            "from lockstep.io import READ\nfrom lockstep import page\n",
            "src/lockstep/page.py",
            "new",
            "preprocess",
        ),
    ],
)
def test_code_by_what_it_means(root, name, text, part, change, stages):
    write(root, f"src/lockstep/{name}", text)
    found = report(root, "main")
    assert cells(section(found, "Code"), f"`{part}`") == [[f"`{part}`", change, stages]]
    assert "`dvc.lock` here is not up to date in" in found
    repro(root)
    assert "is not up to date" not in report(root, "main")


def test_code_that_changes_no_result_is_told_apart(root):
    write(root, "src/lockstep/io.py", "READ = 1  # other words\n")
    write(root, "src/lockstep/new.py", "MORE = 1\n")
    code = section(report(root, "main"), "Code")
    assert code.startswith("2 files of `src/` and `requirements.lock` changed, without a change")
    assert "`src/lockstep/io.py`, `src/lockstep/new.py`." in code


def test_a_package_has_both_versions(root):
    text = (root / "requirements.lock").read_text()
    write(root, "requirements.lock", text.replace("1.0", "2.0"))
    (row,) = cells(section(report(root, "main"), "Code"), "`requirements.lock:numpy`")
    assert row[1:] == ["1.0 → 2.0", "train_multi_model"]


def test_a_stage_that_is_declared_otherwise(root):
    text = (root / "dvc.yaml").read_text()
    write(
        root,
        "dvc.yaml",
        text.replace("lockstep.prepare --problem", "lockstep.prepare -v --problem"),
    )
    assert "dvc.yaml declares otherwise: preprocess." in section(report(root, "main"), "Code")


def test_a_parameter_in_a_command_is_no_other_declaration(root):
    text = (root / "dvc.yaml").read_text()
    write(root, "dvc.yaml", text.replace("${item.type}\n", "${item.type} --seed ${item.seed}\n", 1))
    repro(root)
    commit(root)
    content = params(**OLD)
    content["train"]["cars-forest"]["seed"] = 3
    set_params(root, content)
    repro(root)
    assert section(report(root, "HEAD"), "Code") == "no change"


def test_a_new_stage_counts_its_own_code(root):
    stage = "  page: {cmd: python -m lockstep.page, deps: [code/page.json]}\n"
    write(root, "dvc.yaml", (root / "dvc.yaml").read_text() + stage)
    write(root, "src/lockstep/page.py", "SHOWN = 2\n")
    code = section(report(root, "main"), "Code")
    assert code == "dvc.yaml declares otherwise: page (new)."
    commit(root)
    write(root, "dvc.yaml", (root / "dvc.yaml").read_text().replace(stage, ""))
    assert "page (removed)" in section(report(root, "HEAD"), "Code")


def test_types_and_problems_come_and_go(root):
    content = params(linear=1.0, forest=1.5, trees=1.2)
    set_params(root, content)
    repro(root)
    content["problems"]["houses"] = {"compare": {"metric": "rmse"}, "model_types": ["ridge"]}
    content["train"]["houses-ridge"] = training("houses", "ridge", 1.0)
    set_params(root, content)
    text = report(root, "main")
    assert section(text, "Problems and model types").splitlines() == [
        "- model type `trees` of `cars`: new",
        "- model type `boost` of `cars`: removed",
        "- problem `houses`: new, with ridge",
    ]
    assert cells(text, "`trees`")[0][-1] == "new"
    assert cells(text, "`boost`")[0][-1] == "removed"
    assert "run `make run-train PROBLEM=houses`" in text
    assert "- `train.cars-boost`: a section of 4 keys → removed" in text
    assert "- `train.cars-trees`: new → a section of 4 keys" in text
    assert "houses" not in report(root, "main", "cars")
    commit(root)
    set_params(root, params(linear=1.0, forest=1.5, trees=1.2))
    assert "- problem `houses`: removed, with ridge" in report(root, "HEAD")


def test_a_branch_that_is_behind_says_so(root):
    retrain(root, **{**OLD, "linear": 2.0})
    commit(root)
    git(root, "checkout", "-q", "main")
    retrain(root, **{**OLD, "forest": 2.0})
    commit(root)
    git(root, "checkout", "-q", "mine")
    assert "This branch lacks 1 commit of `main`, so its change appears here in reverse" in report(
        root, "main"
    )
    assert "lacks" not in report(root, "HEAD~1")


def test_metrics_that_are_not_those_of_dvc_lock(root):
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    entry = lock["stages"]["preprocess@cars"]
    entry["outs"].append({"path": "metrics/cars/model_comparison.csv", "md5": "c" * 32})
    write(root, "dvc.lock", yaml.safe_dump(lock))
    told = "`metrics/cars/model_comparison.csv` differs from what `dvc.lock` names"
    assert told in report(root, "main")


def test_base_that_was_not_up_to_date(root):
    content = params(**OLD)
    content["train"]["cars-linear"]["seed"] = 5
    set_params(root, content)
    commit(root)
    repro(root)
    text = report(root, "HEAD")
    told = "`dvc.lock` at `HEAD` is not up to date in 1 stage (`train_multi_model@cars-linear`)"
    assert told in text
    assert "`dvc.lock` here" not in text


def test_a_subfolder_and_a_worktree_give_the_same_report(root, tmp_path):
    retrain(root, **{**OLD, "linear": 2.5})
    commit(root)
    expected = report(root, "main").split("\n\n", 2)[2]
    git(root, "worktree", "add", "-q", "--detach", str(tmp_path / "tree"), "mine")
    assert report(tmp_path / "tree", "main").split("\n\n", 2)[2] == expected

    above = tmp_path / "above"
    above.mkdir()
    git(above, "init", "-q", "-b", "main")
    inner = shutil.copytree(root, above / "in ner", ignore=shutil.ignore_patterns(".git"))
    git(inner, "-C", str(root), "checkout", "-q", "main")
    for name in ("params.yaml", "dvc.lock", "metrics"):
        place = inner / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        source = root / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, place)
    commit(above)
    retrain(inner, **{**OLD, "linear": 2.5})
    assert report(inner, "main").split("\n\n", 2)[2] == expected


def test_nothing_is_written_into_the_tree(root):
    retrain(root, **{**OLD, "linear": 2.5})
    before = files(root)
    report(root, "main")
    assert files(root) == before


def commit_without(root, name):
    git(root, "rm", "-rq", "--cached", name)
    git(root, "commit", "-qm", "without")


def rename_main(root):
    """Leave the branch `main` with the remote alone, as in a clone of another branch."""
    git(root, "branch", "-m", "main", "x")
    git(root, "update-ref", "refs/remotes/origin/main", "x")


BROKEN = {
    "no branch": (lambda root: None, "maim", UsageError, "did you mean 'main'?"),
    "of the remote": (
        rename_main,
        "main", UsageError, "did you mean 'origin/main'?",
    ),
    "no option": (lambda root: None, "--all", UsageError, "no commit, branch or tag '--all'"),
    "no repository": (
        lambda root: shutil.rmtree(root / ".git"), "main", ConfigError, "run `git init`",
    ),
    "no lock": (
        lambda root: commit_without(root, "dvc.lock"),
        "HEAD", ConfigError, "has no dvc.lock, so nothing was trained there",
    ),
    "never trained here": (
        lambda root: shutil.rmtree(root / "metrics"), "main", DataError,
        "there are no metrics of cars here; run `make run-train",
    ),
    "never trained there": (
        lambda root: commit_without(root, "metrics"),
        "HEAD", DataError, "has no metrics of cars; choose another BASE",
    ),
    "conflict": (
        lambda root: write(root, "params.yaml", "<<<<<<< ours\na: [1\n"), "main", ConfigError,
        "params.yaml of the working tree is no valid YAML",
    ),
    "conflict in the metrics": (
        lambda root: write(
            root,
            "metrics/cars/model_comparison.csv",
            (root / "metrics/cars/model_comparison.csv").read_text().replace("\nf", "\n<<< a\nf"),
        ),
        "main", DataError, "metrics/cars of the working tree can't be read",
    ),
    "champions in a list": (
        lambda root: write(root, "metrics/cars/champion.json", "[1]"), "main", DataError,
        "metrics/cars of the working tree can't be read",
    ),
    "half a champion": (
        lambda root: write(root, "metrics/cars/champion.json", '{"type": '), "main", DataError,
        "metrics/cars of the working tree can't be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_cannot_be_compared_is_one_line_with_the_fix(root, case):
    breaks, base, kind, words = BROKEN[case]
    breaks(root)
    with pytest.raises(kind) as caught:
        report(root, base)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_shallow_clone_names_the_fetch_depth(root, tmp_path):
    commit_words = ["commit", "-q", "--allow-empty", "-m", "more"]
    git(root, *commit_words)
    shallow = tmp_path / "shallow"
    git(root, "clone", "-q", "--depth", "1", f"file://{root}", str(shallow))
    with pytest.raises(ConfigError, match="fetch-depth: 0"):
        report(shallow, "origin/main")
    git(shallow, "fetch", "-q", "--unshallow", "origin", "+refs/heads/*:refs/remotes/origin/*")
    assert "No difference" in report(shallow, "origin/main")


def test_an_unknown_problem_is_a_usage_error(root):
    with pytest.raises(UsageError, match=r"did you mean 'cars'\?"):
        report(root, "main", "car")


def test_the_command_prints_or_writes(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["report_diff", "--base", "main"])
    report_diff.main()
    printed = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["report_diff", "--base", "main", "--output", "a/b.md"])
    report_diff.main()
    assert capsys.readouterr().out == ""
    assert (root / "a/b.md").read_text() == printed
    monkeypatch.setattr(sys, "argv", ["report_diff", "--base", " "])
    with pytest.raises(UsageError, match="BASE=main"):
        report_diff.main()


def test_markdown_stays_whole_whatever_the_values_are(root):
    content = params(**OLD)
    content["train"]["cars-linear"]["params"]["note"] = "a `b` | c\n| @you <img src=x>" + "d" * 200
    set_params(root, content)
    repro(root)
    line = next(one for one in report(root, "main").splitlines() if "params.note" in one)
    assert line.count("`") == 4
    assert len(line) < 160
    tables = [one for one in report(root, "main").splitlines() if one.startswith("|")]
    assert all(one.endswith("|") for one in tables)


def test_a_long_report_leaves_the_details_out(root, monkeypatch):
    retrain(root, **{**OLD, "linear": 2.5})
    whole = report(root, "main")
    assert "<details><summary>9 other figures with a change</summary>" in whole
    monkeypatch.setattr(revision_report, "LIMIT", 1000)
    short = report(root, "main")
    assert "9 other figures with a change; `--problem` shows them." in short
    assert "<details>" not in short


VALUES = st.one_of(st.integers(0, 3), st.booleans(), st.none(), st.text("ab", max_size=2))
TREES = st.recursive(
    st.dictionaries(st.sampled_from("uvw"), VALUES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("uvw"), st.one_of(VALUES, inner), max_size=3),
    max_leaves=8,
)
SECTIONS = st.dictionaries(st.just("other"), TREES, max_size=1)


@given(SECTIONS, SECTIONS)
def test_the_changes_lead_from_old_parameters_to_new_ones(old, new):
    base, now = (revision_of(content) for content in (old, new))
    found = params_changes(base, now, Scope((), {}))
    led = deepcopy(old)
    for key, before, after in found:
        *above, last = key.split(".")
        place = led
        for step in above:
            place = place[step]
        assert place.get(last, ABSENT) == before
        if after is ABSENT:
            del place[last]
        else:
            place[last] = after
    assert led == new
    # As text, 0 and false are two values, as they are in the file.
    written = [json.dumps(content, sort_keys=True) for content in (old, new)]
    assert bool(found) == (written[0] != written[1])


def revision_of(content: dict) -> Revision:
    """Return a revision with these parameters, and no other file."""
    revision = Revision.__new__(Revision)
    object.__setattr__(revision, "yaml", lambda path: content if path == "params.yaml" else {})
    return revision


def test_rows_are_those_of_the_fixture():
    assert (scores("cars", 1.0, 1)["part"] == "test").sum() == ROWS * 2 // 3
