"""The commands of the GitHub workflow and of the GitLab job that post a report, run as typed.

Only `gh` and `curl` are stand-ins, which record what they get.
"""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.journey.conftest import ROOT, Project, clone, lend_environment
from tests.reports.revised_project import commit, git, scores

from lockstep.dvc.graph import dvc_sum
from lockstep.io import write_parquet

GITHUB = yaml.safe_load((ROOT / ".github/workflows/report.yml").read_text())
GITLAB = yaml.safe_load((ROOT / "docs/ci/gitlab-report.yml").read_text())
JOB = GITHUB["jobs"]["report"]
EVENT = {
    "github.base_ref": "main",
    "github.event.pull_request.number": "7",
    "github.token": "token-of-the-job",
    "secrets.AWS_ACCESS_KEY_ID": "",
    "secrets.AWS_SECRET_ACCESS_KEY": "",
}
MERGE_REQUEST = {
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    "CI_API_V4_URL": "https://gitlab.example.org/api/v4",
    "CI_PROJECT_ID": "42",
    "CI_MERGE_REQUEST_IID": "7",
}
RECORD = """#!/bin/sh
printf '%s\\n' "$(basename "$0")" "$@" > "$RECORDED/call"
printf '%s' "$GH_TOKEN" > "$RECORDED/token"
cp report.md "$RECORDED/sent.md"
"""
TRAINED = ("data/accidents/scores/xgboost.parquet", "0.860092,", "0.860588,")
"""A model's scores, and its ROC AUC in the comparison at base and on the branch."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory) -> Project:
    """The project with a branch `mine`, whose xgboost and its scores differ from `main`'s."""
    top = tmp_path_factory.mktemp("up stream")
    project = clone(top / "upstream", top / "home")
    root = project.folder
    git(root, "branch", "-m", "main")
    (root / ".dvc/config").write_text(
        f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {top / 'remote'}\n"
    )
    set_scores(root, top / "remote", 1.0)
    commit(root, "a remote")
    git(root, "checkout", "-qb", "mine")
    set_scores(root, top / "remote", 2.0)
    project.edit("params.yaml", r"(max_depth): 5", r"\1: 4")
    name = "metrics/accidents/model_comparison.csv"
    text = (root / name).read_text()
    assert text.count(TRAINED[1]) == 1
    (root / name).write_text(text.replace(*TRAINED[1:]))
    commit(root, "a smaller tree")
    return project


def set_scores(root: Path, remote: Path, skill: float) -> None:
    """Put scores into the remote, and their sum into dvc.lock, as a training and a push do."""
    made = root.parent / "scores.parquet"
    write_parquet(made, scores("accidents", skill, 1))
    known = dvc_sum(made)
    kept = remote / "files/md5" / known[:2] / known[2:]
    kept.parent.mkdir(parents=True, exist_ok=True)
    made.replace(kept)
    lock = root / "dvc.lock"
    entry = rf"(- path: {TRAINED[0]}\n      hash: md5\n      md5: )\w+"
    text, count = re.subn(entry, rf"\g<1>{known}", lock.read_text())
    assert count == 1
    lock.write_text(text)


@pytest.fixture
def checkout(upstream, tmp_path) -> Project:
    """A checkout of the branch as a runner makes one: detached, no local branch, stand-ins."""
    folder = tmp_path / "work"
    git(tmp_path, "clone", "-q", str(upstream.folder), str(folder))
    git(folder, "checkout", "-q", "--detach", "origin/mine")
    git(folder, "branch", "-D", "mine")
    lend_environment(folder)
    (tmp_path / "bin").mkdir()
    for name in ("gh", "curl"):
        (tmp_path / "bin" / name).write_text(RECORD)
        (tmp_path / "bin" / name).chmod(0o755)
    return Project(folder, upstream.home)


def run(project: Project, script: str, **variables: str) -> str:
    """Run a script as a runner does: with bash, until a command fails."""
    environment = project.environment(RECORDED=str(project.folder.parent), **variables)
    environment["PATH"] = f"{project.folder.parent / 'bin'}:{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=project.folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def filled(values: dict[str, str]) -> dict[str, str]:
    """Return variables of a workflow, with what GitHub puts in place of its expressions."""
    return {
        name: re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda found: EVENT[found[1]], str(value))
        for name, value in values.items()
    }


def on_github(project: Project, **variables: str) -> str:
    """Run the workflow's own commands, a step after the other."""
    summary = project.folder.parent / "summary.md"
    steps = [step for step in JOB["steps"] if "run" in step]
    assert len(steps) == 4
    printed = [
        run(
            project,
            step["run"],
            GITHUB_STEP_SUMMARY=str(summary),
            **filled(JOB["env"] | step.get("env", {})),
            **variables,
        )
        for step in steps
    ]
    assert summary.read_text() == (project.folder / "report.md").read_text()
    return "".join(printed)


def on_gitlab(project: Project, **variables: str) -> str:
    return run(project, "\n".join(GITLAB["report"]["script"]), **MERGE_REQUEST, **variables)


def sent(project: Project) -> tuple[list[str], str]:
    """Return the call that posted the report, and the report."""
    place = project.folder.parent
    return (place / "call").read_text().splitlines(), (place / "sent.md").read_text()


def without_remote(project: Project) -> None:
    (project.folder / ".dvc/config").write_text("[core]\n    analytics = false\n")


@pytest.mark.long
@pytest.mark.parametrize("remote", [True, False], ids=["remote", "no remote"])
@pytest.mark.parametrize(
    ("runner", "base"), [(on_github, "origin/main"), (on_gitlab, "report-base")]
)
def test_the_report_is_written_and_posted(checkout, runner, base, remote):
    if not remote:
        without_remote(checkout)
    runner(checkout, REPORT_TOKEN="secret")
    _, text = sent(checkout)
    assert text.startswith(f"# Changes against `{base}`\n")
    assert "- `train.accidents-xgboost.params.max_depth`: `5` → `4`" in text
    row = next(line for line in text.splitlines() if line.startswith("| `xgboost` |"))
    assert "| 0.8601 | 0.8606 |" in row
    assert row.endswith("| better |" if remote else "| inside the interval of base |")


def test_github_edits_one_comment_with_the_jobs_token(checkout):
    on_github(checkout)
    call, _ = sent(checkout)
    assert call == ["gh", "pr", "comment", "7", "--edit-last", "--create-if-none", "--body-file",
                    "report.md"]  # fmt: skip
    assert (checkout.folder.parent / "token").read_text() == "token-of-the-job"


@pytest.mark.long
def test_gitlab_posts_a_note_only_with_a_token(checkout):
    on_gitlab(checkout)
    assert (checkout.folder / "report.md").is_file()
    assert not (checkout.folder.parent / "call").exists()
    on_gitlab(checkout, REPORT_TOKEN="secret")
    call, _ = sent(checkout)
    assert call[0] == "curl"
    assert call[-1] == "https://gitlab.example.org/api/v4/projects/42/merge_requests/7/notes"
    assert call[call.index("--data-urlencode") + 1] == "body@report.md"
    assert "PRIVATE-TOKEN: secret" in call


def test_a_fork_may_read_alone_and_the_whole_history_is_there():
    assert list(GITHUB[True]) == ["pull_request"], "pull_request_target would lend forks a token"
    assert GITHUB["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert JOB["steps"][0]["with"]["fetch-depth"] == 0
    comment = JOB["steps"][-1]
    assert "head.repo.full_name == github.repository" in comment["if"]
    assert GITLAB["report"]["variables"]["GIT_DEPTH"] == "0"


def test_no_command_holds_an_expression_of_github():
    """A branch's name in the place of an expression would be run as shell."""
    assert [step["run"] for step in JOB["steps"] if "${{" in step.get("run", "")] == []
