"""The files that GitHub and others read: workflow, templates, citation, changelog."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
TEMPLATES = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
FORMS = [path for path in TEMPLATES if path.name != "config.yml"]
CITATION_KEYS = {
    *("cff-version", "message", "type", "title", "abstract", "version", "date-released"),
    *("license", "authors", "keywords"),
}
"""Keys of the Citation File Format 1.2.0 that the file uses."""


def test_the_workflow_does_what_ci_run_does():
    (job,) = CI["jobs"].values()
    each, nightly = (step for step in job["steps"] if "run" in step)
    assert each["run"] == ".ci/run"
    assert nightly["run"] == "LOCKSTEP_REQUIRE_SERVICES=1 make test-long"
    assert nightly["if"] == "github.event_name == 'schedule'"
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert job["runs-on"] == "ubuntu-latest"
    assert job["timeout-minutes"] <= 360


def test_the_workflow_may_read_alone_and_runs_once_a_branch():
    assert CI["permissions"] == {"contents": "read"}
    assert set(CI[True]) == {"push", "pull_request", "schedule"}, (
        "pull_request_target would lend forks a token"
    )
    assert "github.ref" in CI["concurrency"]["group"]


def test_the_workflow_takes_the_lowest_python_and_caches_by_the_locks():
    (job,) = CI["jobs"].values()
    steps = {step["uses"].partition("@")[0]: step for step in job["steps"] if "uses" in step}
    assert all(name.startswith("actions/") for name in steps), "GitHub's own actions only"
    version = steps["actions/setup-python"]["with"]["python-version"]
    assert PROJECT["requires-python"] == f">={version}"
    cache = steps["actions/cache"]["with"]
    assert cache["path"] == ".venv"
    assert "hashFiles('requirements*.lock', 'pyproject.toml')" in cache["key"]
    assert "restore-keys" not in cache, "an environment of other locks would hold their packages"


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_is_one_that_github_shows(path):
    form = yaml.safe_load(path.read_text())
    assert set(form) == {"name", "description", "labels", "body"}
    for part in form["body"]:
        assert part["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert ("value" if part["type"] == "markdown" else "label") in part["attributes"]
    names = [part["id"] for part in form["body"] if "id" in part]
    assert len(names) == len(set(names))
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_templates_are_there():
    assert [path.name for path in TEMPLATES] == ["bug.yml", "config.yml", "feature.yml"]
    assert yaml.safe_load(TEMPLATES[1].read_text()) == {"blank_issues_enabled": True}
    assert "make lint" in (ROOT / ".github/pull_request_template.md").read_text()


def test_the_citation_is_valid_and_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert set(citation) <= CITATION_KEYS
    assert {"message", "title", "authors"} <= set(citation), "what the format requires"
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["title"].lower() == PROJECT["name"]


def test_the_changelog_begins_with_what_is_new_and_has_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert PROJECT["version"] == versions[1]
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_hooks_of_pre_commit_refuse_what_lint_refuses(tmp_path):
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for name in (".pre-commit-config.yaml", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    # These two check the whole package, which is not here.
    environment = {**os.environ, "SKIP": "mypy,imports", "PRE_COMMIT_HOME": str(tmp_path / "home")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    commit = ("git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-m", "one")
    run("git", "init", "-q")
    assert run(sys.executable, "-m", "pre_commit", "install").returncode == 0
    (tmp_path / "one.py").write_text("import os\n")
    run("git", "add", "one.py", ".pre-commit-config.yaml")
    refused = run(*commit)
    assert refused.returncode == 1
    assert "F401" in refused.stdout + refused.stderr
    (tmp_path / "one.py").write_text('"""One."""\n')
    run("git", "add", "one.py")
    assert (done := run(*commit)).returncode == 0, done.stderr


def test_ten_lines_are_enough_to_contribute():
    head = "\n".join((ROOT / "CONTRIBUTING.md").read_text().splitlines()[:10])
    for command in ("make env", "pre-commit install", "make lint", "pytest", "git commit"):
        assert command in head
