"""A promotion by a person, and the checklist before it."""

import json
import sys
from pathlib import Path

import pytest
from tests.commands.retrained_project import NAME, Project

from lockstep.checks import PASSED, REFUSED, CheckResult
from lockstep.commands import promote_model as promote
from lockstep.commands.checklist import STEPS, gap_of, go_through, rates_text, report
from lockstep.config.settings import CONFIG_FILE
from lockstep.errors import RegistryError, UsageError
from lockstep.registry.artifact.model_cache import CACHE, cached_name
from lockstep.registry.record.registered_models import get_model

FORCED = ("--force", "--reason", "a test")


def told(capsys: pytest.CaptureFixture, *options: str) -> tuple[int, str]:
    """Run the command as typed below the project; return its exit code and what it printed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", ["promote_model.py", "--model-name", NAME, "--actor", "jane", *options]
        )
        code = promote.main()
    return code, capsys.readouterr().out


@pytest.fixture
def place(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def versions(place: Project) -> tuple[int, int]:
    """The numbers of the best version and of the other."""
    made = place.done.versions
    best = made[place.done.released_type].version
    return best, next(one.version for one in made.values() if one.version != best)


def failed(place: Project, version: int) -> dict[str, str]:
    steps = go_through(place.client, place.root, NAME, version)
    assert [step.name for step in steps] == list(STEPS)
    return {step.name: step.message for step in steps if not step.passed}


def test_it_promotes_by_the_gates_and_archives_or_not_who_was_there(
    place: Project, versions: tuple, capsys: pytest.CaptureFixture
) -> None:
    best, other = versions
    code, text = told(capsys, "--version", str(other))
    assert (code, place.versions[other]) == (0, "Production")
    assert f"version {other} into Production, the first there: passed" in text
    with pytest.raises(RegistryError, match="does not go into Production: champion"):
        told(capsys, "--version", str(best))
    told(capsys, "--version", str(best), *FORCED)
    assert (place.versions[best], place.versions[other]) == ("Production", "None")
    _, text = told(capsys, "--version", str(other), "--archive-current", *FORCED)
    assert (place.versions[other], place.versions[best]) == ("Production", "Archived")
    assert f"version {best} made way: Production → Archived" in text
    event = get_model(place.client, NAME).record.last
    assert (event.action, event.who.actor, event.who.reason) == ("promote", "jane", "a test")


def test_the_checklist_of_the_best_passes_and_moves_nothing(
    place: Project, versions: tuple, capsys: pytest.CaptureFixture
) -> None:
    before = get_model(place.client, NAME)
    code, text = told(capsys, "--version", str(versions[0]), "--check")
    assert code == 0, text
    lines = text.splitlines()
    assert lines[0] == f"promotion checklist of {NAME} version {versions[0]}"
    assert [line[:2] for line in lines[1:-1]] == ["✓ "] * len(STEPS)
    assert lines[-1] == f"all {len(STEPS)} steps passed"
    run = place.done.versions[place.done.released_type].run_id
    logged = place.client.get_run(run).data.metrics
    shares = [logged["test_approval_rate"], logged["test_positive_rate_rejected"]]
    for part in (
        run,
        "is the best of 2 versions",
        "fits; ",
        f"{shares[0]:.1%} of the test rows",
        f"{shares[1]:.1%} of the latter",
        "over 2 folds roc_auc",
        "add up to the margin",
        "brings no version back",
    ):
        assert part in text
    assert get_model(place.client, NAME) == before


def test_the_other_is_not_the_winner_and_the_exit_code_says_so(
    place: Project, versions: tuple, capsys: pytest.CaptureFixture
) -> None:
    best, other = versions
    code, text = told(capsys, "--version", str(other), "--check", "--json")
    content = json.loads(text)
    steps = {step["name"]: step for step in content["steps"]}
    assert (code, content["passed"], content["version"]) == (1, False, other)
    assert not steps.pop("winning run")["passed"]
    assert all(step["passed"] for step in steps.values())
    assert f"version {best} has " in text


def test_what_a_rollback_would_bring_back_is_tried(
    place: Project, versions: tuple, capsys: pytest.CaptureFixture
) -> None:
    best, other = versions
    told(capsys, "--version", str(other))
    found = {step.name: step for step in go_through(place.client, place.root, NAME, best)}
    assert f"`rollback` brings version {other} back" in found["rollback"].message
    told(capsys, "--version", str(best), "--archive-current", *FORCED)
    found = {step.name: step for step in go_through(place.client, place.root, NAME, best)}
    assert f"`rollback` brings version {other} back" in found["rollback"].message
    assert "stands in Production" in found["gates"].message
    model_file(place, other).write_bytes(b"damaged")
    cached = place.root / CACHE / cached_name(get_model(place.client, NAME).version(other))
    (cached / "model.skops").write_bytes(b"damaged")
    assert set(failed(place, best)) == {"rollback"}


def model_file(place: Project, version: int) -> Path:
    return Path(place.client.get_model_version_download_uri(NAME, str(version))) / "model.skops"


def test_a_damaged_artifact_fails_every_step_on_its_bundle_and_is_told_once(
    place: Project, versions: tuple
) -> None:
    best = versions[0]
    model_file(place, best).write_bytes(b"damaged")
    found = failed(place, best)
    assert set(found) == {"export", "golden rows", "threshold", "predict", "explain"}
    assert "is not exported" in found["export"]
    assert {found[name] for name in ("golden rows", "threshold", "predict", "explain")} == {
        "cannot be computed, for the reason above"
    }


def test_a_threshold_of_another_scale_is_told_with_what_fits(
    place: Project, versions: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECISION_THRESHOLD", "0.4542")
    monkeypatch.setenv("DECISION_SCALE", "balanced")
    found = failed(place, versions[0])
    assert set(found) == {"threshold", "predict", "explain"}
    assert "gives probability scores" in found["threshold"]
    monkeypatch.setenv("DECISION_SCALE", "probability")
    found = {step.name: step for step in go_through(place.client, place.root, NAME, versions[0])}
    assert all(step.passed for step in found.values())
    assert (
        "fits; the run logged no rates at it, only at the model's own 0.5"
        in found["threshold"].message
    )


def test_a_run_that_failed_or_logged_another_model_is_told(place: Project, versions: tuple) -> None:
    best = versions[0]
    run = get_model(place.client, NAME).version(best).run_id
    place.client.set_terminated(run, "FAILED")
    assert "is FAILED, not FINISHED" in failed(place, best)["run id"]
    place.client.set_terminated(run, "FINISHED")
    place.client.set_tag(run, "lockstep.model_digest", "0" * 64)
    assert "logged another model" in failed(place, best)["run id"]


def test_gates_that_refuse_are_told(place: Project, versions: tuple) -> None:
    path = place.root / CONFIG_FILE
    path.parent.mkdir(parents=True)
    path.write_text("mlflow: {model_registry: {gates: {accidents: {floors: {roc_auc: 0.99}}}}}\n")
    assert "is below its floor 0.99" in failed(place, versions[0])["gates"]


@pytest.mark.parametrize("more", [("--archive-current",), FORCED])
def test_the_checklist_takes_no_options_of_a_move(
    more: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["promote_model.py", "--version", "5", "--check", *more])
    with pytest.raises(UsageError, match="--check moves nothing"):
        promote.main()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ((), "--version"),
        (("--version", "latest"), "is no version number"),
        (("--version", "5", "--force"), "say why with --reason"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    options: tuple, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["promote_model.py", *options])
    with pytest.raises(UsageError, match=match):
        promote.main()


def test_the_default_is_the_credit_risk_model() -> None:
    options = promote.parser().parse_args(["--version", "5"])
    assert (options.model_name, options.stage) == ("credit-risk-model", "Production")
    assert not options.archive_current


def test_a_failed_step_is_counted_in_the_report() -> None:
    text = report(
        "a", 1, [CheckResult("one", PASSED, "fine"), CheckResult("two more", REFUSED, "not fine")]
    )
    assert text.splitlines()[1:] == [
        "✓ one       fine",
        "✗ two more  not fine",
        "1 of 2 steps failed: two more",
    ]


def test_rates_are_told_as_far_as_they_are_known() -> None:
    words, shares = ("approve", "reject"), {"approval_rate": 0.844, "reject_rate": 0.156}
    both = shares | {"positive_rate_approved": 0.0444, "positive_rate_rejected": 0.72}
    told = "approve 84.4% of the test rows, reject 15.6%"
    assert (
        rates_text(both, words, "default")
        == f"{told}; default: 4.4% of the former, 72.0% of the latter"
    )
    assert rates_text(shares, words, "default") == told
    assert rates_text({}, words, "default") == ""


def test_parts_that_do_not_add_up_show() -> None:
    assert gap_of({"base": 1.0, "contributions": {"a": 0.5, "b": -0.25}, "margin": 1.25}) == 0
    assert gap_of({"base": 1.0, "contributions": {"a": 0.5}, "margin": 1.0}) == 0.5
