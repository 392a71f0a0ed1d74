"""`--env dev`: a small trial in a folder of its own; `train_sklearn.py` trains in the project."""

import pytest
import yaml
from tests.journey.conftest import ROOT, Project

TRIAL = "python src/models/train.py --env dev --problem california_housing --models ridge"


@pytest.mark.long
def test_a_trial_has_outputs_of_its_own_and_registers_nothing(
    trained: Project, tmp_path_factory
) -> None:
    own = trained.copy(tmp_path_factory.mktemp("environments") / "project")
    # The fixture knows accidents only; the trial brings housing's data and stages itself.
    params = (own.folder / "params.yaml").read_text()
    (own.folder / "params.yaml").write_text(with_housing(params))
    before = own.run("git status --short")
    said = own.run(TRIAL)
    assert "Trained apart in .lockstep/dev (--env dev); nothing is registered." in said
    apart = own.folder / ".lockstep" / "dev"
    assert (apart / "models/california_housing/ridge_model.joblib").is_file()
    assert not (own.folder / "models/california_housing/ridge_model.joblib").exists()
    assert own.run("git status --short") == before
    for command in (TRIAL, TRIAL.replace("train.py", "train_sklearn.py")):
        again = own.run(command)
        assert "Trained apart in .lockstep/dev (--env dev)" in again
        assert "didn't change, skipping" in again
    status = own.run("dvc status import_raw@accidents")
    assert "up to date" in status

    models = own.run("python scripts/manage_model_registry.py list-models")
    assert "California_Housing" not in models


def test_train_sklearn_brings_the_project_up_to_date(trained: Project, tmp_path_factory) -> None:
    own = trained.copy(tmp_path_factory.mktemp("sklearn") / "project")
    for script in ("train_sklearn.py", "train.py"):
        said = own.run(f"python src/models/{script} --env prod")
        assert "What to do next" in said
        assert "Running stage 'train_multi_model" not in said
    for name in ("models/{}lightgbm_model.joblib", "{}model_comparison.csv"):
        folder = "metrics/accidents/" if name.endswith("csv") else "accidents/"
        linked = own.folder / ("data/metrics/" * name.endswith("csv") + name.format(""))
        assert linked.samefile(own.folder / name.format(folder)), "a link at the usual place"


def with_housing(text: str) -> str:
    """Return a params.yaml with a small problem of two types beside its own."""
    whole = yaml.safe_load((ROOT / "params.yaml").read_text())
    content = yaml.safe_load(text)
    section = whole["problems"]["california_housing"] | {"model_types": ["ridge"]}
    content["problems"]["california_housing"] = section
    content["train"]["california_housing-ridge"] = whole["train"]["california_housing-ridge"]
    content["environments"]["dev"]["set"]["problems.*.source.sample.units"] = 500
    return yaml.safe_dump(content, sort_keys=False)
