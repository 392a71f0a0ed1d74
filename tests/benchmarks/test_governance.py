"""The sides of `make bench` get the same parameters, and one with other models is refused."""

from pathlib import Path

import pytest
import yaml
from benchmarks.costs import Cost, cost, middle
from benchmarks.governance import Lockstep, OneProcess, alternatives, check_aucs, give_up
from benchmarks.sides import ADDED, ALTERNATIVES, CHANGED, parameters

from lockstep.config.params import load_params

ROOT = Path(__file__).parents[2]
UNITS = 321


def test_alternatives_get_the_parameters_of_this_project():
    found, ours = parameters(UNITS), load_params(ROOT)
    assert found["data"]["source"]["sample"]["units"] == UNITS
    assert list(found["train"]) == ours.problem("accidents").model_types
    for name, section in found["train"].items():
        assert section["params"] == ours.training("accidents", name).params


@pytest.mark.parametrize("side", [Lockstep(), *alternatives(Path("none"))], ids=lambda s: s.name)
def test_each_side_changes_one_parameter_and_adds_one_type(side, tmp_path):
    file = tmp_path / getattr(side, "parameters", "params.yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    ours = isinstance(side, Lockstep)
    before = yaml.safe_load((ROOT / "params.yaml").read_text()) if ours else parameters(UNITS)
    file.write_text(yaml.safe_dump(before))
    side.change_parameter(tmp_path)
    side.add_type(tmp_path)
    after = yaml.safe_load(file.read_text())
    prefix = "accidents-" if ours else ""
    name, values = CHANGED
    before["train"][prefix + name]["params"] |= values
    added = after["train"].pop(prefix + ADDED[0])
    assert added["params"] == ADDED[1]
    if ours:
        before["problems"]["accidents"]["model_types"].append(ADDED[0])
    assert after == before


def test_each_alternative_pins_every_package():
    served = ALTERNATIVES / "bentoml_service"
    sources = {served, *(side.source for side in alternatives(Path("none")))}
    for source in sources:
        lines = (source / "requirements.txt").read_text().splitlines()
        assert lines
        assert [line for line in lines if "==" not in line and not line.startswith("#")] == []
    assert sources == {
        folder for folder in ALTERNATIVES.iterdir() if (folder / "requirements.txt").is_file()
    }


def test_other_models_end_the_benchmark():
    same = {OneProcess.name: [0.8, 0.85], "other": [0.8000004, 0.85]}
    check_aucs(same)
    with pytest.raises(SystemExit, match="other has the test ROC AUCs"):
        check_aucs(same | {"other": [0.8001, 0.85]})


def test_an_alternative_that_fails_is_named_and_our_own_failure_is_none(capsys):
    failed = {}
    one = alternatives(Path("none"))[0]
    give_up(one, SystemExit("no wheel"), failed)
    assert failed == {one.name: "no wheel"}
    with pytest.raises(SystemExit, match="broken"):
        give_up(Lockstep(), SystemExit("broken"), failed)


def test_a_cost_counts_the_children_and_a_failure_shows_what_was_printed(tmp_path):
    found = cost(tmp_path, "sh", "-c", "python -c 'sum(i * i for i in range(1500000))'")
    assert 0.02 < found.processor < 60
    with pytest.raises(SystemExit, match="broken"):
        cost(tmp_path, "sh", "-c", "echo broken; exit 3")
    assert middle([Cost(1, 4), Cost(3, 5), Cost(2, 9)]) == Cost(2, 5)
