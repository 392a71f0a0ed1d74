"""The housing problem.

Three forms of its table are one, its sample has the table's shape, its archive is read.
"""

import io
import shutil
import sys
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import _california_housing as fetcher

from lockstep.config.params import Preprocess, Sample
from lockstep.data import import_raw
from lockstep.data.preprocess import tidy
from lockstep.errors import DataError, UsageError
from lockstep.io import sha256_file
from lockstep.problems.california_housing.sample import write_sample
from lockstep.problems.california_housing.sample.districts import (
    CAP,
    calibration,
    draw_values,
    noise,
)
from lockstep.problems.draws import Draws
from lockstep.problems.schema import load_schema

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "housing"
SCHEMA = load_schema("california_housing")
ROWS = 6000


def read(folder: Path, kind: str = "table") -> pd.DataFrame:
    return tidy(folder, kind, SCHEMA, Preprocess())[0]


# ---- the sample


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("sample") / "raw"
    write_sample(Sample(units=ROWS, seed=7), folder)
    return read(folder, "sample")


@pytest.mark.parametrize(
    "name", ["MedInc", "HouseAge", "AveRooms", "AveBedrms", "Population", "AveOccup"]
)
def test_the_sample_has_the_tables_marginals(sample: pd.DataFrame, name: str) -> None:
    table = calibration()["quantiles"]
    for at in (0.05, 0.25, 0.5, 0.75, 0.95):
        expected = table[name][table["at"].index(at)]
        assert sample[name].quantile(at) == pytest.approx(
            expected, rel=0.03, abs=0.5 * (name == "HouseAge")
        )


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("MedInc", "AveRooms", 0.644),
        ("MedInc", "MedHouseVal", 0.677),
        ("HouseAge", "Population", -0.284),
        ("AveOccup", "MedHouseVal", -0.257),
        ("Latitude", "Longitude", -0.879),
        ("Latitude", "MedHouseVal", -0.166),
        ("MedInc", "HouseAge", -0.147),
    ],
)
def test_the_sample_has_the_tables_rank_correlations(
    sample: pd.DataFrame, one: str, other: str, expected: float
) -> None:
    assert sample[one].corr(sample[other], method="spearman") == pytest.approx(expected, abs=0.08)


def test_the_sample_has_cap_outliers_blanks_and_a_place_that_matters(sample: pd.DataFrame) -> None:
    assert sample["MedHouseVal"].max() == 5.00001
    assert (sample["MedHouseVal"] == 5.00001).mean() == pytest.approx(0.047, abs=0.015)
    assert sample["AveOccup"].max() > 100 * sample["AveOccup"].median()
    assert sample["AveBedrms"].isna().mean() == pytest.approx(0.01, abs=0.005)
    cell = sample.groupby([sample["Latitude"].round(1), sample["Longitude"].round(1)])[
        "MedHouseVal"
    ]
    within = (sample["MedHouseVal"] - cell.transform("mean"))[cell.transform("size") > 5]
    assert within.std() < 0.9 * sample["MedHouseVal"].std()


def test_the_true_value_is_what_the_value_is_on_average(sample: pd.DataFrame) -> None:
    error = sample["MedHouseVal"] - sample["true_value"]
    standard_error = error.std() / len(sample) ** 0.5
    assert abs(error.mean()) < 4 * standard_error
    for part in np.array_split(np.argsort(sample["true_value"].to_numpy()), 5):
        assert abs(error.iloc[part].mean()) < 4 * error.iloc[part].std() / len(part) ** 0.5


def test_expectations_hold_the_cap() -> None:
    found = draw_values(np.array([1.0, 50.0]), Draws(1))
    assert found["expected"][0] == pytest.approx(100_000 * noise().mean(), rel=1e-3)
    assert found["expected"][1] == found["value"][1] == CAP


@pytest.mark.parametrize("units", [100, 2345])
def test_the_sample_has_any_number_of_units_and_the_same_bytes_each_time(
    tmp_path: Path, units: int
) -> None:
    for name in ("one", "two"):
        write_sample(Sample(units=units, seed=3), tmp_path / name)
    first, second = (tmp_path / name / "cal_housing.csv" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()
    assert len(pd.read_csv(first)) == units
    write_sample(Sample(units=units, seed=4), tmp_path / "other")
    assert (tmp_path / "other" / "cal_housing.csv").read_bytes() != first.read_bytes()


def test_a_census_cannot_drift(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"source\.sample\.drift to 0"):
        write_sample(Sample(drift=1.0), tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


# ---- a table of one's own

STATLIB = """longitude,latitude,housing_median_age,total_rooms,total_bedrooms,population,\
households,median_income,median_house_value
-122.23,37.88,41.0,880.0,129.0,322.0,126.0,8.3252,452600.0
-122.22,37.86,21.0,7099.0,,2401.0,1138.0,8.3014,500001.0
"""


def test_totals_and_dollars_become_the_schemas_columns(tmp_path: Path) -> None:
    (tmp_path / "cal_housing.data").write_text(STATLIB)
    table = read(tmp_path)
    first = table.iloc[0]
    assert first["AveRooms"] == 880 / 126
    assert first["AveOccup"] == 322 / 126
    assert table["MedHouseVal"].tolist() == [4.526, 5.00001]
    assert table["AveBedrms"].isna().tolist() == [False, True]


def test_a_total_that_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(STATLIB.replace("total_rooms", "rooms"))
    with pytest.raises(DataError, match=r"lacks.*(AveRooms|total_rooms)"):
        read(tmp_path)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="the real housing tables are not beside the project")
def test_the_three_real_files_are_one_table(tmp_path: Path) -> None:
    tables = []
    for name in ("california_housing_sklearn.csv", "cal_housing.data", "housing.csv"):
        (tmp_path / name).mkdir()
        shutil.copyfile(REAL / name, tmp_path / name / name)
        tables.append(read(tmp_path / name / "").drop(columns="true_value"))
    first, statlib, other = tables
    pd.testing.assert_frame_equal(first, statlib, check_exact=True)
    assert int(other["AveBedrms"].isna().sum()) == 207
    keys = ["Longitude", "Latitude", "MedInc", "Population", "HouseAge", "MedHouseVal", "AveRooms"]
    sort = lambda table: (  # noqa: E731
        table.drop(columns="AveBedrms").sort_values(keys, ignore_index=True)
    )
    pd.testing.assert_frame_equal(sort(first), sort(other), check_exact=True)


# ---- the publisher's archive


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive as scikit-learn expects it, of two districts."""
    path = tmp_path / "mirror" / "cal_housing.tgz"
    path.parent.mkdir()
    rows = "\n".join(line.replace(",,", ",1106.0,") for line in STATLIB.splitlines()[1:]).encode()
    with tarfile.open(path, "w:gz") as packed:
        entry = tarfile.TarInfo("CaliforniaHousing/cal_housing.data")
        entry.size = len(rows)
        packed.addfile(entry, io.BytesIO(rows))
    return path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(archive: Path) -> Iterator[str]:
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(archive.parent))
    ) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def download(tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run the stage with source download from an address; return the raw folder."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(fetcher, "ARCHIVE", fetcher.ARCHIVE._replace(checksum=sha256_file(archive)))

    def run(url: str) -> Path:
        source = f"{{kind: download, download: {{base_url: '{url}'}}}}"
        (root / "params.yaml").write_text(
            f"problems: {{california_housing: {{source: {source}, model_types: [ridge]}}}}\n"
            "train: {california_housing-ridge: {problem: california_housing, type: ridge}}\n"
        )
        monkeypatch.setattr(sys, "argv", ["import_raw", "--problem", "california_housing"])
        import_raw.main()
        return root / "data" / "california_housing" / "raw"

    return run


def test_a_download_is_read_by_scikit_learns_fetcher(
    download: Callable[..., Path], mirror: str
) -> None:
    table = read(download(mirror), "download")
    assert table["AveRooms"].tolist() == [880 / 126, 7099 / 1138]
    assert table["MedHouseVal"].tolist() == [4.526, 5.00001]
    assert table["Latitude"].tolist() == [37.88, 37.86]


def test_an_archive_of_another_sum_is_refused(
    download: Callable[..., Path], mirror: str, archive: Path
) -> None:
    archive.write_bytes(archive.read_bytes() + b"x")
    with pytest.raises(DataError, match="has the SHA-256"):
        download(mirror)
    assert not Path("data/california_housing/raw").exists()


def test_without_a_network_one_line_says_what_to_do(
    download: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.data.download.time.sleep", lambda _: None)
    with pytest.raises(
        DataError, match=r"could not be fetched from http://127.0.0.1:9/.*make add-data"
    ):
        download("http://127.0.0.1:9")


def test_the_pinned_archive_is_scikit_learns() -> None:
    from lockstep.problems.california_housing.sources import files_of_year

    (file,) = files_of_year(1990)
    assert (file.name, file.url, file.sha256) == fetcher.ARCHIVE


# ---- bad input


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("cheap", "column MedHouseVal, row 1: 'cheap' is no number"),
        (2.0, "target MedHouseVal is 2 in all 100 rows; nothing can be learned"),
        ([None] * 60 + [1.0, 2.0] * 20, "no_MedHouseVal 60.*max_dropped"),
        (452600.0, "is it in another unit than 100,000 dollars"),
    ],
)
def test_a_target_that_cannot_be_learned_is_one_line(
    tmp_path: Path, values: object, said: str
) -> None:
    write_sample(Sample(units=100), tmp_path / "raw")
    table = read(tmp_path / "raw").assign(MedHouseVal=values)
    (tmp_path / "own").mkdir()
    table.to_csv(tmp_path / "own" / "table.csv", index=False)
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path / "own")
    assert "\n" not in str(caught.value)
