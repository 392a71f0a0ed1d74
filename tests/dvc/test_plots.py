from pathlib import Path

import yaml

from lockstep.config.params import load_params
from lockstep.config.params_file import with_block, with_sections
from lockstep.dvc.plots import PLOTS, artifacts, plots
from lockstep.models.types import model_type
from lockstep.problems.schema import load_schema

PROJECT = Path(__file__).parents[2]


def entries(text, problem):
    return [
        entry
        for entry in yaml.safe_load(text)["plots"]
        if next(iter(entry)).startswith(f"{problem} ")
    ]


def without_labels(found):
    return [
        {t: {k: v for k, v in e.items() if "label" not in k} for t, e in entry.items()}
        for entry in found
    ]


def test_the_shipped_problems_have_the_plots_a_new_one_gets():
    text = (PROJECT / PLOTS).read_text()
    params = load_params(PROJECT)
    for problem, section in params.problems.items():
        types = section.model_types
        curved = [name for name in types if model_type(name).has_history]
        drafted = plots(problem, load_schema(problem).task, types, curved)
        assert without_labels(entries(text, problem)) == without_labels(entries(drafted, problem))


def test_the_shipped_artifacts_are_those_a_new_problem_gets():
    shipped = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["artifacts"]
    types = load_params(PROJECT).problems["accidents"].model_types
    drafted = yaml.safe_load(artifacts("accidents", "severity of accidents", types))["artifacts"]
    assert {k: v for k, v in shipped.items() if k.startswith("accidents-")} == drafted


def test_every_drawing_has_a_template_of_the_project():
    """DVC's own draw all models of both revisions in two colours, and bars over each other."""
    own = {path.stem for path in (PROJECT / ".dvc" / "plots").glob("*.json")}
    for task in ("binary", "multiclass", "regression"):
        drafted = yaml.safe_load(plots("toy", task, ["xgboost"], ["xgboost"]))["plots"]
        assert {one["template"] for entry in drafted for one in entry.values()} <= own


def test_entries_are_added_and_the_rest_stays_to_the_byte():
    text = (PROJECT / "dvc.yaml").read_text()
    types = ["logistic_regression", "xgboost"]
    added = with_sections(text, artifacts("toy", "toy", types))
    assert added.startswith(text.rstrip("\n"))
    found = yaml.safe_load(added)
    assert "toy-xgboost" in found["artifacts"]
    assert found["stages"] == yaml.safe_load(text)["stages"]
    text = (PROJECT / PLOTS).read_text()
    added = with_block(
        text, "plots", plots("toy", "multiclass", types, ["xgboost"]).splitlines()[1:]
    )
    assert added.startswith(text.rstrip("\n"))
    found = yaml.safe_load(added)
    assert [next(iter(e)) for e in found["plots"]][-1] == "toy importance xgboost"
