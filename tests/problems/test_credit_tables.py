"""The two public credit tables, where their files lie beside the project.

The files become tidy tables by their schemas.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lockstep.config.params import Preprocess, parse_params
from lockstep.data.preprocess import tidy
from lockstep.problems.schema import PROBLEMS, load_schema

FILES = Path(__file__).parents[2].parent / "shared" / "data" / "credit"
NAMES = {
    "credit_lendingclub": "lendingclub_loan_data.csv",
    "credit_risk_dataset": "credit_risk_dataset.csv",
}
RULES = Preprocess(duplicates="drop", max_dropped=0.5)
LENDING = (
    "credit.policy,purpose,int.rate,installment,log.annual.inc,dti,fico,"
    "days.with.cr.line,revol.bal,revol.util,"
    "inq.last.6mths,delinq.2yrs,pub.rec,not.fully.paid"
)
RISK = (
    "person_age,person_income,person_home_ownership,person_emp_length,"
    "loan_intent,loan_grade,loan_amnt,loan_int_rate,loan_status,loan_percent_income,"
    "cb_person_default_on_file,cb_person_cred_hist_length"
)


def needed(problem: str) -> Path:
    if not (FILES / NAMES[problem]).is_file():
        pytest.skip("needs the real files beside the project (../shared/data)")
    return FILES / NAMES[problem]


def folder_of(tmp_path: Path, text: str) -> Path:
    (tmp_path / "table.csv").write_bytes(text.encode())
    return tmp_path


def test_bare_carriage_returns_end_lines_and_dotted_names_are_known(tmp_path: Path) -> None:
    lines = [LENDING, "1,credit_card,0.1071,228.22,11.08,14.29,707,2760,33623,76.7,0,0,0,0"]
    lines += ["0,all_other,0.1426,102.92,11.3,14.97,667,4066,4740,39.5,0,1,0,1"]
    table, quality = tidy(
        folder_of(tmp_path, "\r".join(lines)), "table", load_schema("credit_lendingclub"), RULES
    )
    assert quality["rows"] == {"in": 2, "out": 2, "dropped": 0}
    assert table["fico"].tolist() == [707.0, 667.0]
    assert table["credit_policy"].tolist() == [1.0, 0.0]
    assert table["not_fully_paid"].tolist() == [0, 1]


def test_what_cannot_be_is_missing_and_copies_are_dropped(tmp_path: Path) -> None:
    rows = [
        "22,59000,RENT,123.0,PERSONAL,D,35000,16.02,1,0.59,Y,3",
        "144,250000,RENT,4.0,VENTURE,C,4800,13.57,0,0.02,N,3",
        "30,60000,OWN,5.0,MEDICAL,B,5000,,0,0.08,N,6",
        "30,60000,OWN,5.0,MEDICAL,B,5000,,0,0.08,N,6",
    ]
    text = "\n".join([RISK, *rows])
    table, quality = tidy(
        folder_of(tmp_path, text), "table", load_schema("credit_risk_dataset"), RULES
    )
    assert quality["out_of_range"] == {"person_age": 1, "person_emp_length": 1}
    assert quality["dropped"] == {"duplicate": 1}
    assert table["person_age"].isna().tolist() == [False, True, False]
    assert table["person_emp_length"].isna().tolist() == [True, False, False]
    assert table["loan_int_rate"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("problem", NAMES)
def test_the_sections_a_problem_suggests_are_valid(problem: str) -> None:
    content = yaml.safe_load((PROBLEMS / problem / "params.yaml").read_text())
    params = parse_params(content)
    assert params.problem(problem).preprocess.duplicates == "drop"
    assert set(params.train) == {
        f"{problem}-{name}" for name in params.problem(problem).model_types
    }


@pytest.mark.real_data
def test_lendingclub_s_file_is_read_whole(tmp_path: Path) -> None:
    shutil.copy(needed("credit_lendingclub"), tmp_path)
    table, quality = tidy(tmp_path, "table", load_schema("credit_lendingclub"), RULES)
    assert quality["rows"] == {"in": 9578, "out": 9578, "dropped": 0}
    assert quality["positive_rate"] == pytest.approx(0.16005, abs=1e-5)
    assert (table["fico"].min(), table["fico"].max()) == (612, 827)


@pytest.mark.real_data
def test_the_dataset_s_file_loses_its_copies_and_what_cannot_be(tmp_path: Path) -> None:
    shutil.copy(needed("credit_risk_dataset"), tmp_path)
    table, quality = tidy(tmp_path, "table", load_schema("credit_risk_dataset"), RULES)
    assert quality["dropped"] == {"duplicate": 165}
    assert quality["out_of_range"] == {"person_age": 5, "person_emp_length": 2}
    assert table["person_age"].max() <= 100
    assert table["person_emp_length"].max() <= 60


@pytest.mark.real_data
@pytest.mark.parametrize("problem", NAMES)
def test_add_data_brings_a_file_in(problem: str, tmp_path: Path) -> None:
    root, file = Path(__file__).parents[2], needed(problem)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(root / name, tmp_path)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    add = [
        sys.executable,
        "-m",
        "lockstep.commands.add_data",
        "--problem",
        problem,
        "--from",
        str(file),
    ]
    done = subprocess.run(add, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    params = parse_params(yaml.safe_load((tmp_path / "params.yaml").read_text()))
    assert params.problem(problem).source.kind == "table"
    assert (tmp_path / "data" / "external" / problem).is_dir()
