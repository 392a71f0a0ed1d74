"""Wrong results that once came without an error: each case of this folder has its right values.

The cases are in the YAML files beside this one; ``case.py`` says what they may hold. Each step runs
what the commands and stages run, within this process.
"""

import hashlib

import numpy as np
import pytest
from tests.cases.case import Draft, cases

from lockstep.commands.new_problem import report
from lockstep.config.layout import ProblemLayout
from lockstep.config.params import load_params
from lockstep.data.checks import check_table
from lockstep.data.record_text import given
from lockstep.data.records import given_records
from lockstep.data.tables import read_any, read_table
from lockstep.drafting import draft as drafting
from lockstep.drafting.draft_text import params_text, schema_text
from lockstep.errors import LockstepError
from lockstep.features import build_features
from lockstep.features.split import split_rows
from lockstep.io import read_parquet, write_parquet
from lockstep.models import train_multi_model
from lockstep.models.scoring.prediction import predict
from lockstep.models.workspace import load_file
from lockstep.problems import schema as schemas

CASES = cases()
PROBLEM = "toy"


def of_tables(scored):
    """Return the names of the cases with a table, those that train a model or the others."""
    return [name for name, case in CASES.items() if case.table and bool(case.scores) == scored]


@pytest.fixture
def layout(tmp_path, monkeypatch):
    """A project of one problem, which a case's draft fills."""
    root = tmp_path / "my project"
    (root / "problems" / PROBLEM).mkdir(parents=True)
    monkeypatch.setattr(schemas, "PROBLEMS", root / "problems")
    monkeypatch.setenv("LOCKSTEP_PUBLISH", "0")
    found = ProblemLayout(root, PROBLEM)
    found.raw.mkdir(parents=True)
    schemas.load_schema.cache_clear()
    yield found
    schemas.load_schema.cache_clear()


def check_words(said, says, never=()):
    """Every text must be in what was said, and none of the others."""
    for words in says:
        assert words in said, f"{words!r} is not in:\n{said}"
    for words in never:
        assert words not in said, f"{words!r} is in:\n{said}"


def check_draft(layout, case, file):
    """Draft the problem, check what the draft is and says, and write it."""
    wanted: Draft = case.draft
    found = drafting.draft(read_any(file), PROBLEM, wanted.target, wanted.task)
    check_words(report(found), wanted.says, wanted.never)
    if wanted.gives:
        assert found.task == wanted.gives
    if wanted.split:
        assert found.split == wanted.split
    kinds = {column.source: column.keys["kind"] for column in found.columns}
    kinds |= dict.fromkeys(found.left_out, "left out")
    assert {name: kinds.get(name) for name in wanted.kinds} == wanted.kinds
    folder = schemas.PROBLEMS / PROBLEM
    (folder / "schema.yaml").write_text(schema_text(found), encoding="utf-8")
    (layout.root / "params.yaml").write_text(params_text(found), encoding="utf-8")
    schema = schemas.load_schema(PROBLEM)
    if wanted.positive:
        assert [str(code) for code in schema.columns[schema.target].codes][-1] == wanted.positive
    return schema


def check_tidy(layout, case, schema):
    """Run the stage preprocess and check its rows, its classes and what is missing."""
    section = load_params(layout.root).problem(PROBLEM)
    raw = read_table(layout.raw, schema, section.preprocess.duplicates == "drop")
    table = check_table(schema, raw, section.preprocess).table
    write_parquet(layout.tidy, table)
    if case.tidy:
        assert len(table) == case.tidy.rows
        counts = {str(k): int(n) for k, n in table[schema.target].value_counts().items()}
        assert case.tidy.classes in ({}, counts)
        missing = {name: int(table[name].isna().sum()) for name in case.tidy.missing}
        assert missing == case.tidy.missing
    return table


def check_split(layout, case, schema, table):
    """Check what the split keeps apart."""
    parts = split_rows(table, schema, load_params(layout.root).problem(PROBLEM).split)
    is_test = (parts == "test").to_numpy()
    assert 0.1 < is_test.mean() < 0.4
    if case.split.newest:
        when = table[case.split.newest]
        assert when[~is_test].max() <= when[is_test].min()
        assert when[~is_test].max() < when[is_test].max()
    for names in [case.split.apart] if case.split.apart else []:
        rows = table[names].astype("str").agg("|".join, axis=1)
        assert not set(rows[is_test]) & set(rows[~is_test])


def scores(model, path):
    """Return the score of each row of a file, as `predict_model.py FILE` gives it."""
    rows = given_records(given(path.read_bytes(), path.name, path), model.schema)
    predictions = predict(model, rows)
    name = "prediction" if model.schema.task == "regression" else "score"
    return np.array([row.get(name, row.get("probability")) for row in predictions])


def check_scores(layout, case, schema, file, table):
    """Train, then predict the file itself and the case's records."""
    kind = case.scores.type
    build_features.run(layout.root, PROBLEM)
    train_multi_model.run(layout.root, PROBLEM, kind)
    model = load_file(layout.model(kind), layout.root)
    trained = model.score(table[schema.feature_names])
    kept = read_parquet(layout.scores(kind))
    assert np.allclose(kept["score"], trained[kept["__row__"]], atol=1e-6)
    again = scores(model, file)
    assert len(again) >= len(trained)
    lacking = np.setdiff1d(np.round(trained, 6), np.round(again, 6))
    assert not len(lacking), "rows of the file get other scores than in training"
    if len(again) == len(trained):
        assert np.allclose(np.sort(again), np.sort(trained), atol=1e-6)

    def score_of(text):
        path = layout.root / "record.csv"
        path.write_text(text, encoding="utf-8")
        return round(float(scores(model, path)[0]), 6)

    for records in case.scores.same:
        found = {text: score_of(text) for text in records}
        assert len(set(found.values())) == 1, found
    for records in case.scores.unlike:
        found = {text: score_of(text) for text in records}
        assert len(set(found.values())) == len(records), found


def run_table(layout, case):
    file = case.table.write(layout.raw)
    if case.draft.refused:
        with pytest.raises(LockstepError) as refused:
            drafting.draft(read_any(file), PROBLEM, case.draft.target, case.draft.task)
        check_words(str(refused.value), [case.draft.refused], case.draft.never)
        return
    schema = check_draft(layout, case, file)
    table = check_tidy(layout, case, schema)
    if case.split:
        check_split(layout, case, schema, table)
    if case.scores:
        check_scores(layout, case, schema, file, table)


@pytest.mark.parametrize("name", of_tables(scored=True))
def test_a_trained_case_has_the_right_values(layout, name):
    run_table(layout, CASES[name])


@pytest.mark.parametrize("name", of_tables(scored=False))
def test_a_drafted_case_has_the_right_values(layout, name):
    run_table(layout, CASES[name])


def sums(folder, names):
    """Return the SHA-256 of all files of a project below some names."""
    found = [p for name in names for p in (folder / name, *(folder / name).rglob("*"))]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.is_file()}


def run_commands(project, case):
    before = sums(project.folder, case.unchanged)
    assert bool(before) == bool(case.unchanged)
    for command in case.commands:
        said = project.run(command.run, code=command.code)
        check_words(said, command.says, command.never)
    assert sums(project.folder, case.unchanged) == before


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case.project])
def test_a_case_of_commands_in_a_trained_project(own, name):
    run_commands(own, CASES[name])
