import io

import joblib
from hypothesis import given
from hypothesis import strategies as st

from lockstep.joblib_files import write_joblib

VALUES = st.recursive(
    st.text(max_size=8) | st.integers() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def copied(value):
    """Return the value with a new object for every string."""
    if isinstance(value, str):
        return value.encode().decode()
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, dict):
        return {copied(key): copied(item) for key, item in value.items()}
    return value


def written(value):
    file = io.BytesIO()
    write_joblib(file, value)
    return file.getvalue()


@given(VALUES)
def test_equal_values_are_the_same_bytes_and_come_back(value):
    twice = [value, copied(value)]
    assert written(twice) == written([copied(value), copied(value)])
    assert joblib.load(io.BytesIO(written(twice))) == twice


def test_joblib_itself_writes_other_bytes():
    """The reason for a writer of our own."""
    name = "max_depth of it"
    one, two = io.BytesIO(), io.BytesIO()
    joblib.dump([name, name], one)
    joblib.dump([name, copied(name)], two)
    assert one.getvalue() != two.getvalue()
    assert written([name, name]) == written([name, copied(name)])
