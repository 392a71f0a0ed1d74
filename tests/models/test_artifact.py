import io
import os
import pickle
import subprocess
import sys
import zipfile

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from lockstep.errors import ArtifactError
from lockstep.models.artifact import (
    allowed_types,
    canonical_bytes,
    check_types,
    digest_of,
    model_digest,
    read_artifact,
    write_artifact,
)

MAKE = """
import numpy as np, pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

def pipeline(name):
    rng = np.random.Generator(np.random.PCG64(0))
    rows = pd.DataFrame(rng.normal(size=(300, 4)), columns=list("abcd"))
    target = (rows.a + rng.normal(size=300) > 0).astype(int)
    scaler = StandardScaler().set_output(transform="pandas")
    scaled = scaler.fit_transform(rows)
    if name == "forest":
        from sklearn.ensemble import RandomForestClassifier
        model = RandomForestClassifier(10, random_state=0)
    elif name == "xgboost":
        from xgboost import XGBClassifier
        model = XGBClassifier(n_estimators=10, n_jobs=1)
    elif name == "lightgbm":
        from lightgbm import LGBMClassifier
        model = LGBMClassifier(n_estimators=10, verbose=-1, deterministic=True, \
force_row_wise=True, n_jobs=1)
    else:
        from sklearn.linear_model import LogisticRegression
        model = LogisticRegression()
    model.fit(scaled, target)
    calibrated = CalibratedClassifierCV(FrozenEstimator(model)).fit(scaled, target)
    return rows, Pipeline([("encoder", scaler), ("model", calibrated)])
"""
KINDS = ("linear", "forest", "xgboost", "lightgbm")
_made: dict = {}
exec(MAKE, _made)
make = _made["pipeline"]


@pytest.fixture(scope="module", params=KINDS)
def case(request):
    rows, pipeline = make(request.param)
    return request.param, rows, pipeline


@pytest.fixture(scope="module")
def digests_elsewhere():
    """The digests that another process, with another hash seed and time zone, finds."""
    code = f"{MAKE}\nfrom lockstep.models.artifact import model_digest\n"
    code += f"for kind in {KINDS}: print(kind, model_digest(pipeline(kind)[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


def test_bytes_are_the_same_in_another_process(case, digests_elsewhere):
    name, _, pipeline = case
    assert digests_elsewhere[name] == model_digest(pipeline)


def test_digest_survives_joblib_and_its_own_round_trip(case, tmp_path):
    _, rows, pipeline = case
    digest = write_artifact(pipeline, tmp_path / "model.skops")
    joblib.dump(pipeline, tmp_path / "model.joblib")
    assert model_digest(joblib.load(tmp_path / "model.joblib")) == digest
    loaded = read_artifact(tmp_path / "model.skops", digest)
    assert model_digest(loaded) == digest
    assert np.array_equal(loaded.predict_proba(rows), pipeline.predict_proba(rows))


def test_a_frozen_estimator_is_stored_once(case):
    name, _, pipeline = case
    whole = canonical_bytes(pipeline)
    alone = canonical_bytes(pipeline[-1].calibrated_classifiers_[0].estimator.estimator)
    assert len(whole) < 1.5 * len(alone) + 20_000
    assert len(whole) < len(skops.io.dumps(pipeline)), name


def test_every_bit_of_a_model_is_in_the_digest(case):
    _, _, pipeline = case
    before = model_digest(pipeline)
    scaler = pipeline.named_steps["encoder"]
    kept, scaler.mean_ = scaler.mean_, np.nextafter(scaler.mean_, np.inf)
    try:
        assert model_digest(pipeline) != before
    finally:
        scaler.mean_ = kept
    assert model_digest(pipeline) == before


def test_the_transformers_code_is_in_the_digest(tmp_path):
    (tmp_path / "a.py").write_text("VERSION = 1\n")
    (tmp_path / "b.py").write_text("VERSION = 2\n")
    assert digest_of(b"model", tmp_path / "a.py") != digest_of(b"model", tmp_path / "b.py")


def test_sets_have_one_order():
    first, second = LogisticRegression(), LogisticRegression()
    first.names_ = {"a", "b", "c", "d", "e"}
    second.names_ = {"e", "d", "c", "b", "a"}
    assert canonical_bytes(first) == canonical_bytes(second)


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "model.skops"
    return path, write_artifact(make("linear")[1], path)


@pytest.mark.parametrize("place", [100, 5000, -40])
def test_a_changed_byte_is_refused(written, place):
    path, digest = written
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"has digest .* expected"):
        read_artifact(path, digest)


@pytest.mark.parametrize("keep", [0, 10, 3000])
def test_a_truncated_file_is_named_even_without_a_digest(written, keep):
    path, _ = written
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"cut short|pickle"):
        read_artifact(path, None)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


@pytest.mark.parametrize("kind", ["pickle", "joblib", "joblib lz4", "joblib zlib"])
def test_a_pickle_is_never_loaded(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.skops"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb()))
    else:
        compress = {"joblib": 0, "joblib lz4": ("lz4", 1), "joblib zlib": ("zlib", 1)}[kind]
        joblib.dump(Bomb(), path, compress=compress)
    with pytest.raises(ArtifactError, match=r"pickle|no skops file"):
        read_artifact(path, digest_of(path.read_bytes()))
    assert not (tmp_path / "exploded").exists()


def test_foreign_types_are_named_and_not_made(tmp_path):
    path = tmp_path / "model.skops"
    content = skops.io.dumps(Pipeline([("call", FunctionTransformer(func=os.system))]))
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"types that are not allowed: posix\.system"):
        read_artifact(path, digest_of(content))


class Foreign(BaseEstimator):
    pass


def test_an_estimator_of_elsewhere_is_refused():
    with pytest.raises(ArtifactError, match="Foreign"):
        check_types(canonical_bytes(Foreign()), "model")


def test_a_zip_that_is_no_skops_file_is_named(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ArtifactError, match="no readable skops file"):
        check_types(buffer.getvalue(), "model")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ArtifactError, match="is missing"):
        read_artifact(tmp_path / "none.skops", None)
    with pytest.raises(ArtifactError, match="is a folder"):
        read_artifact(tmp_path, None)


def test_nothing_in_the_list_can_run_code():
    assert not [
        name
        for name in allowed_types()
        if name.split(".")[0] in ("os", "posix", "builtins", "operator")
    ]
    assert list(allowed_types()) == sorted(allowed_types())


def test_padding_between_the_fields_of_a_tree_does_not_count():
    rows = pd.DataFrame({"a": np.arange(50.0)})
    forest = RandomForestClassifier(2, random_state=0).fit(rows, rows["a"] > 25)
    scaled = StandardScaler().fit(rows)
    calibrated = CalibratedClassifierCV(FrozenEstimator(forest)).fit(rows, rows["a"] > 25)
    content = canonical_bytes(Pipeline([("encoder", scaled), ("model", calibrated)]))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        arrays = [
            np.load(io.BytesIO(archive.read(n))) for n in archive.namelist() if n.endswith(".npy")
        ]
    nodes = [a for a in arrays if a.dtype.names and "threshold" in a.dtype.names]
    assert len(nodes) == 2
    for array in nodes:
        last = max(offset + field.itemsize for field, offset in array.dtype.fields.values())
        tail = array.view(np.uint8).reshape(len(array), array.dtype.itemsize)[:, last:]
        assert tail.size
        assert not tail.any()
