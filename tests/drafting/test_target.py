"""The target as a table writes it: words for missing, spellings, the positive class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.params_file import parsed
from lockstep.data.checks import check_table
from lockstep.data.tables import read_any, typed
from lockstep.drafting.draft import draft
from lockstep.drafting.draft_text import params_text, schema_text
from lockstep.drafting.positive import positive_class
from lockstep.drafting.target import alike_labels, same_letters, same_words, spelling_question
from lockstep.errors import DataError
from lockstep.problems.schema import read_schema
from lockstep.problems.text_tables import RawTable


def noise(seed, rows):
    return np.random.Generator(np.random.PCG64(seed)).normal(size=rows).round(3)


def table_of(tmp_path, labels):
    """Write a table of two numbers and the labels, in an order that no number tells."""
    rows = [label for label, n in labels.items() for _ in range(n)]
    order = np.random.Generator(np.random.PCG64(5)).permutation(len(rows))
    x, z = noise(1, len(rows)), noise(2, len(rows))
    lines = [f"{a};{b};{rows[i]}" for a, b, i in zip(x, z, order, strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["x;z;the target", *lines]) + "\n", encoding="utf-8")
    return path


def drafted(tmp_path, labels, task=""):
    return draft(read_any(table_of(tmp_path, labels)), "toy", "the target", task)


def classes_read(tmp_path, found):
    """Return the classes of the tidy table by the drafted schema, with their rows."""
    (tmp_path / "schema.yaml").write_text(schema_text(found), encoding="utf-8")
    schema = read_schema(tmp_path / "schema.yaml")
    table = typed(read_any(tmp_path / "t.csv"), schema)
    rules = parsed(params_text(found)).problems["toy"].preprocess
    tidy = check_table(schema, RawTable(table, {}, len(table), {}), rules).table
    return tidy[schema.target].value_counts().to_dict()


def said(found, *words):
    return any(all(word in line for word in words) for line in found.decide)


@pytest.mark.parametrize("word", ["None", "NA", "null", "nan", "N/A", "-", "?", "unknown"])
def test_a_frequent_word_for_missing_is_a_class_of_its_own(tmp_path, word):
    labels = {word: 233, "Apnea": 70, "Insomnia": 57}
    found = drafted(tmp_path, labels)
    assert found.task == "multiclass"
    assert found.target.codes == labels
    assert classes_read(tmp_path, found) == labels
    assert said(found, f"'{word}' (233 rows) is a class of its own")


@pytest.mark.parametrize("word", ["None", "NA", "-", "?", "unknown", "the target"])
def test_a_rare_word_for_missing_is_read_as_missing_and_counted(tmp_path, word):
    found = drafted(tmp_path, {"yes": 150, "no": 150, word: 4})
    assert found.task == "binary"
    assert classes_read(tmp_path, found) == {"yes": 150, "no": 150}
    assert said(found, "4 of 304 rows have no target")


def test_one_label_and_a_word_for_missing_are_two_classes(tmp_path):
    found = drafted(tmp_path, {"damaged": 90, "None": 210})
    assert found.task == "binary"
    assert list(found.target.codes) == ["None", "damaged"]


@pytest.mark.parametrize("word", ["unknown", "?", "not a word"])
def test_a_word_that_may_mean_missing_is_dropped_where_two_classes_are_told(tmp_path, word):
    labels = {"yes": 150, "no": 150, word: 40}
    if word == "not a word":
        with pytest.raises(DataError, match="has 3 different values, not two"):
            drafted(tmp_path, labels, "binary")
        return
    assert said(drafted(tmp_path, labels), f'add absent: ["{word}"]')
    found = drafted(tmp_path, labels, "binary")
    assert classes_read(tmp_path, found) == {"yes": 150, "no": 150}


def test_one_value_and_empty_cells_are_told_with_their_rows(tmp_path):
    with pytest.raises(
        DataError, match=r"is 'yes' in 200 rows and missing in 100: .* second class"
    ):
        drafted(tmp_path, {"yes": 200, "": 100})


def test_a_task_of_two_classes_says_that_the_word_means_missing(tmp_path):
    labels = {"yes": 150, "no": 150, "NA": 40}
    assert drafted(tmp_path, labels).task == "multiclass"
    found = drafted(tmp_path, labels, "binary")
    assert classes_read(tmp_path, found) == {"yes": 150, "no": 150}
    assert said(found, "40 of 340 rows have no target ('NA' 40)")


@pytest.mark.parametrize(
    ("labels", "task", "classes"),
    [
        ({"0": 280, "1": 119, "default payment": 1}, "binary", {0: 280, 1: 119}),
        ({"0": 280, "1": 119, "0.0": 20, "the target": 2}, "binary", {0: 300, 1: 119}),
        ({"0": 200, "1": 100, "?": 60}, "binary", {0: 200, 1: 100}),
        ({"1": 90, "2": 90, "3": 90, "NA": 40}, "multiclass", {1: 90, 2: 90, 3: 90}),
    ],
)
@pytest.mark.parametrize("given_task", [False, True])
def test_a_stray_word_among_codes_changes_no_task(tmp_path, labels, task, classes, given_task):
    found = drafted(tmp_path, labels, task if given_task else "")
    assert found.task == task
    assert classes_read(tmp_path, found) == classes
    lost = sum(labels.values()) - sum(classes.values())
    verb = "has" if lost == 1 else "have"
    assert said(found, f"{lost} of {sum(labels.values())} rows {verb} no target")


def test_a_stray_word_in_an_amount_is_missing_and_the_rows_go(tmp_path):
    labels = {f"{v:g}": 1 for v in np.linspace(10, 99.5, 180)} | {"the target": 1, "": 3}
    found = drafted(tmp_path, labels)
    assert found.task == "regression"
    assert said(found, "4 of 184 rows have no target (empty 3)")
    assert sum(classes_read(tmp_path, found).values()) == 180


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (
            {"Yes": 105, "yes": 102, "YES": 100, "no": 102, "No": 91},
            {"Yes": 307, "no": 193},
        ),
        ({"ill": 100, "ill.": 30, "well": 100, "Well  ": 20}, {"ill": 130, "well": 120}),
        ({">50K": 60, ">50K.": 40, "<=50K": 100, "<=50K.": 50}, {">50K": 100, "<=50K": 150}),
    ],
)
def test_spellings_of_one_label_are_one_class(tmp_path, labels, classes):
    found = drafted(tmp_path, labels)
    assert found.task == "binary"
    assert found.target.codes == classes
    assert classes_read(tmp_path, found) == classes
    assert said(found, "are read as one class")


def test_composed_letters_of_a_label_are_one_already_when_the_file_is_read(tmp_path):
    found = drafted(tmp_path, {"café": 90, "cafe\u0301": 30, "bar": 100})
    assert found.target.codes == {"café": 120, "bar": 100}
    assert not said(found, "are read as one class")


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        ({"Yes": 100, "No": 90, "N": 40}, r"'No' \(90\) and 'N' \(40\)"),
        ({"1": 100, "yes": 50, "0": 100, "no": 40}, r".*'1' \(100\) and 'yes' \(50\)"),
        ({"malade": 100, "maladé": 30, "sain": 90}, r"'malade' \(100\) and 'maladé' \(30\)"),
        ({"fully paid": 100, "Fully_Paid": 30, "late": 90}, r"'fully paid' \(100\) and"),
        ({"M": 100, "Male": 30, "Female": 90}, r"'M' \(100\) and 'Male' \(30\)"),
    ],
)
def test_labels_that_may_be_one_class_stop_the_draft_unless_a_task_is_given(
    tmp_path, labels, shown
):
    with pytest.raises(DataError, match=f"may be one class: {shown}.*TASK=multiclass"):
        drafted(tmp_path, labels)
    assert drafted(tmp_path, labels, "multiclass").target.codes == labels


@pytest.mark.parametrize(
    "labels",
    [["A", "B", "AB", "O"], ["AA", "Aa", "aa"], ["-1", "1"], ["1-2", "12"], [">50K", "<=50K"],
     ["+", "-"], ["C", "C++", "C#"]],
)  # fmt: skip
def test_labels_that_differ_are_not_merged(tmp_path, labels):
    rows = dict.fromkeys(labels, 60)
    assert set(map(str, drafted(tmp_path, rows, task_of(labels)).target.codes)) == set(labels)


def task_of(labels):
    return "binary" if len(labels) == 2 else "multiclass"


WORDS = st.text("abcxyzé ", min_size=2, max_size=8).map(str.strip).filter(lambda w: len(w) > 1)


@given(word=WORDS, dots=st.sampled_from(["", ".", " .", "  "]), upper=st.booleans())
def test_case_blanks_and_dots_make_no_other_label(word, dots, upper):
    other = (word.upper() if upper else word.title()) + dots
    assert same_letters(other) == same_letters(word)
    assert same_words(other) == same_words(word)
    if other != word:
        assert alike_labels({word: 2, other: 1}, same_letters) == [[word, other]]


def test_spellings_of_a_feature_are_asked_with_their_rows():
    asked = spelling_question({"Paris": 30, "paris": 4, "PARIS ": 1, "Lyon": 9})
    assert "'Paris' (30), 'paris' (4) and 'PARIS ' (1)" in asked
    assert 'spellings: {"paris": "Paris"}' in asked
    assert spelling_question({"Paris": 30, "Lyon": 9, "A": 1, "AB": 2}) == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ckd", "notckd"), ("smoker", "non-smoker"), ("heart disease", "No heart disease"),
        ("recurrence-events", "no-recurrence-events"), ("fraud", "not fraud"), ("spam", "NonSpam"),
        ("défaut", "pas de défaut"), ("krank", "nicht krank"), ("enfermo", "no enfermo"),
        ("malato", "non malato"), ("doente", "não doente"), ("ziek", "niet ziek"),
        ("bad", "good"), ("sick", "negative"), ("tested_positive", "tested_negative"),
        ("Yes", "No"), ("oui", "non"), ("ja", "nein"), ("+", "-"), ("abnormal", "normal"),
        ("unhealthy", "healthy"), ("Attrited Customer", "Existing Customer"), ("décédé", "vivant"),
        ("Unpaid", "Paid"), ("Unsafe", "Safe"), ("Charged Off", "Fully Paid"), ("NOK", "OK"),
        ("O", "N"), ("J", "N"), ("S", "N"), ("on", "off"), ("Late", "On time"), ("fake", "real"),
        ("disloyal customer", "Loyal customer"), ("Dropout", "Graduate"),
        ("verspätet", "pünktlich"), ("en retard", "à l'heure"), ("inactive", "active"),
        ("delayed", "on-time"), ("gekündigt", "aktiv"), ("inadimplente", "em dia"),
        ("True", "False"),
    ],
)  # fmt: skip
def test_the_positive_class_by_its_word_whichever_is_rarer(first, second):
    for rows in ((30, 300), (300, 30)):
        for pair in ((first, second), (second, first)):
            codes = dict(zip(pair, rows, strict=True))
            assert positive_class(codes)[0] == first, codes


@pytest.mark.parametrize(
    ("labels", "positive", "why"),
    [
        ({"Approved": 200, "Rejected": 100}, "Rejected", "neither word shows which one matters"),
        ({"A": 100, "B": 200}, "A", "neither word shows which one matters"),
        ({"1": 200, "2": 100}, "2", "numbers do not show which class matters"),
        ({"0": 100, "1": 200}, "1", "1 usually means"),
        ({"bad": 100, "late": 200}, "bad", "neither word shows which one matters"),
    ],
)
def test_the_choice_is_asked_with_both_consequences(tmp_path, labels, positive, why):
    found = drafted(tmp_path, labels)
    other = next(label for label in labels if label != positive)
    assert str(list(found.target.codes)[-1]) == positive
    taken = f"The positive class is '{positive}' ({labels[positive]} rows)"
    assert said(found, taken, why, f"To predict '{other}' ({labels[other]} rows) instead")
