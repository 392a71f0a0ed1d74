"""The stage import_raw over all kinds of source, in temporary project folders."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.shared.denied import deny

import lockstep.problems
from lockstep.config.params import Download
from lockstep.data import import_raw
from lockstep.errors import ConfigError, DataError, UsageError
from lockstep.io import sha256_file
from lockstep.problems.accidents import sources

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "accidents"
Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the stage in a project with a space in its path; return the raw folder."""
    root = tmp_path / "my project"
    root.mkdir()
    (root / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def stage(source: dict, problem: str = "accidents") -> Path:
        write_params(root, problem, source)
        monkeypatch.setattr(sys, "argv", ["import_raw", "--problem", problem])
        import_raw.main()
        return root / "data" / problem / "raw"

    return stage


def write_params(root: Path, problem: str, source: dict) -> None:
    train = {f"{problem}-xgboost": {"problem": problem, "type": "xgboost"}}
    content = {
        "problems": {problem: {"source": source, "model_types": ["xgboost"]}},
        "train": train,
    }
    (root / "params.yaml").write_text(json.dumps(content))


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A problem package `pears` with nothing in it but what a test adds."""
    package = tmp_path / "packages" / "pears"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.setattr(
        lockstep.problems, "__path__", [*lockstep.problems.__path__, str(package.parent)]
    )
    yield package
    for name in [m for m in sys.modules if m.startswith("lockstep.problems.pears")]:
        del sys.modules[name]


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder served over HTTP as a mirror of the publisher's files of 2021."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Stay silent."""

    folder = tmp_path / "mirror"
    folder.mkdir()
    for file in sources.files_of_year(2021):
        (folder / file.name).write_text(f'"Num_Acc";"{file.name}"\n"1";"2"\n')
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()
    thread.join()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_sample_calls_the_problems_generator_with_its_settings(run: Run, problem: Path) -> None:
    (problem / "sample.py").write_text(
        "def write_sample(settings, folder):\n"
        "    (folder / 'a.csv').write_text(f'{settings.units}')\n"
    )
    assert contents(run({"kind": "sample", "sample": {"units": 321}}, "pears")) == {"a.csv": b"321"}


def test_a_problem_without_generator_says_what_to_do(run: Run, problem: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"pears has no sample generator.*make add-data PROBLEM=pears"
    ):
        run({"kind": "sample"}, "pears")


def test_a_generator_that_writes_nothing_leaves_nothing(run: Run, problem: Path) -> None:
    (problem / "sample.py").write_text(
        "def write_sample(settings, folder):\n    (folder / 'a').touch()\n"
    )
    with pytest.raises(DataError, match="no data at all"):
        run({"kind": "sample"}, "pears")
    assert not list(Path("data/pears").iterdir())


def test_a_generator_that_fails_leaves_what_was_there(run: Run, problem: Path) -> None:
    (problem / "sample.py").write_text(
        "def write_sample(settings, folder):\n    (folder / 'a').mkdir() / 0\n"
    )
    kept = Path("data/pears/raw/old.csv")
    kept.parent.mkdir(parents=True)
    kept.write_text("old")
    with pytest.raises(TypeError):
        run({"kind": "sample"}, "pears")
    assert contents(Path("data/pears")) == {"raw/old.csv": b"old"}


def test_download_fetches_the_years_files_from_the_mirror(
    run: Run, mirror: tuple[Path, str]
) -> None:
    folder, url = mirror
    pins = {"usagers-2021.csv": sha256_file(folder / "usagers-2021.csv").upper()}
    raw = run(
        {"kind": "download", "download": {"years": [2021], "base_url": url + "/", "sha256": pins}}
    )
    assert contents(raw) == contents(folder)


def test_a_temporary_tree_takes_what_the_workspace_has_fetched(
    run: Run, mirror: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, url = mirror
    kept = contents(folder)
    pins = {name: sha256_file(folder / name) for name in kept}
    source = {"kind": "download", "download": {"base_url": url, "sha256": pins}}
    workspace = run(source).parents[2]
    for name in kept:
        (folder / name).unlink()
    tree = workspace / ".dvc/tmp/exps/standalone/tmpabc"
    tree.mkdir(parents=True)
    (tree / "dvc.yaml").write_text("stages: {}\n")
    write_params(tree, "accidents", source)
    monkeypatch.chdir(tree)
    import_raw.main()
    assert contents(tree / "data/accidents/raw") == kept
    assert not (tree / ".lockstep").exists()


def test_download_with_one_file_missing_writes_no_raw_folder(
    run: Run, mirror: tuple[Path, str]
) -> None:
    folder, url = mirror
    (folder / "lieux-2021.csv").unlink()
    with pytest.raises(DataError, match=r"lieux-2021.csv.*404"):
        run({"kind": "download", "download": {"base_url": url}})
    assert not Path("data/accidents/raw").exists()


def test_interrupting_a_download_keeps_the_part_and_no_raw_folder(tmp_path: Path) -> None:
    arrived, ended = threading.Event(), threading.Event()

    class Slow(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b"x" * 16_384)
            self.wfile.flush()
            arrived.set()
            ended.wait(20)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    address = f"http://127.0.0.1:{http.server_port}"
    write_params(tmp_path, "accidents", {"kind": "download", "download": {"base_url": address}})
    command = [sys.executable, "-m", "lockstep.data.import_raw", "--problem", "accidents"]
    environment = {k: v for k, v in os.environ.items() if k != "DVC_ROOT"}
    stage = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert arrived.wait(20)
        parts = wait_for(lambda: [p for p in tmp_path.rglob("*.csv.part") if p.stat().st_size])
        stage.send_signal(signal.SIGINT)
        _, errors = stage.communicate(timeout=20)
    finally:
        ended.set()
        http.shutdown()
        http.server_close()
        thread.join()
    assert stage.returncode == 1
    assert errors.startswith("✗ interrupted")
    assert "Traceback" not in errors
    assert parts[0].stat().st_size > 0
    assert not list((tmp_path / "data").rglob("*.csv"))


def wait_for(look: Callable[[], list[Path]]) -> list[Path]:
    """Look until there is something, at most 20 seconds."""
    never = threading.Event()
    for _ in range(400):
        if found := look():
            return found
        never.wait(0.05)
    raise AssertionError("nothing came")


@pytest.mark.parametrize("kind", ["files", "table"])
def test_external_folders_are_copied_without_hidden_files(run: Run, kind: str) -> None:
    external = Path("data/external/accidents")
    (external / "2021").mkdir(parents=True)
    (external / "2021" / "usagers-2021.csv").write_text("a;b\n")
    (external / ".gitignore").write_text("/x\n")
    (external / "2021" / "._usagers-2021.csv").write_bytes(b"\x00\x05\x16\x07")
    (external / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (external / "~$usagers.csv").write_bytes(b"\x05")
    (external / "read_only.csv").write_text("c\n")
    (external / "read_only.csv").chmod(0o444)
    raw = run({"kind": kind, "external": str(external)})
    assert contents(raw) == {"2021/usagers-2021.csv": b"a;b\n", "read_only.csv": b"c\n"}
    assert os.access(raw / "read_only.csv", os.W_OK)


def test_a_folder_that_may_not_be_read_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    external = Path("data/external/accidents")
    (external / "2021").mkdir(parents=True)
    (external / "a.csv").write_text("a\n")
    deny(monkeypatch, "2021")
    with pytest.raises(DataError, match=r"the folder .*/2021 can't be read .*; "):
        run({"kind": "files", "external": str(external)})


@pytest.mark.parametrize("kind", ["files", "table"])
def test_no_external_folder_names_the_command_that_brings_it(run: Run, kind: str) -> None:
    with pytest.raises(ConfigError, match=r"make add-data PROBLEM=accidents FROM="):
        run({"kind": kind})


@pytest.mark.parametrize("outside", ["/tmp", "../elsewhere", "data/external/link"])
def test_a_path_outside_the_repository_is_refused(run: Run, outside: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path("data/external").mkdir(parents=True)
    Path("data/external/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"outside the repository.*make add-data"):
        run({"kind": "files", "external": outside})


def test_a_missing_external_folder_points_to_the_remote(run: Run) -> None:
    with pytest.raises(
        ConfigError, match="data/external/accidents is missing; run `make dvc-pull`"
    ):
        run({"kind": "files", "external": "data/external/accidents"})


def test_an_empty_external_folder_is_refused(run: Run) -> None:
    Path("data/external/accidents").mkdir(parents=True)
    with pytest.raises(DataError, match="no data at all"):
        run({"kind": "table", "external": "data/external/accidents"})


def test_an_unknown_problem_is_a_usage_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(Path.cwd(), "accidents", {})
    monkeypatch.setattr(sys, "argv", ["import_raw", "--problem", "acidents"])
    with pytest.raises(UsageError, match="did you mean 'accidents'"):
        import_raw.main()


def test_pins_must_name_a_file_of_the_years_and_be_sums() -> None:
    with pytest.raises(ConfigError, match=r"usager-2021.csv.*did you mean 'usagers-2021.csv'"):
        import_raw.remote_files("accidents", Download(sha256={"usager-2021.csv": "0" * 64}))
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        import_raw.remote_files("accidents", Download(sha256={"usagers-2021.csv": "abc"}))


def test_a_problem_without_publisher_cannot_download(problem: Path) -> None:
    with pytest.raises(ConfigError, match="pears has no publisher"):
        import_raw.remote_files("pears", Download())


def test_every_year_has_its_four_files_once() -> None:
    files = [file for year in sources.files_by_year() for file in sources.files_of_year(year)]
    assert sorted(sources.files_by_year()) == list(range(2005, 2025))
    assert len({f.url for f in files}) == len({f.name for f in files}) == 4 * 20
    assert all(sources.is_raw_name(f.name) for f in files)


def test_an_unknown_year_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"known: 2005 to 2024.*make add-data PROBLEM=accidents"):
        sources.files_of_year(2004)


@pytest.mark.parametrize(
    "name",
    [
        "X_train.csv",
        "my_places.csv",
        "df-dev-test.csv",
        "immovehicules.csv",
        "vehicules-immatricules-baac-2021.csv",
        "usagers-2021.xlsx",
    ],
)
def test_other_names_are_no_raw_names(name: str) -> None:
    assert not sources.is_raw_name(name)


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.exists(), reason="the real files are not beside the project")
def test_names_are_the_publishers_own() -> None:
    published = json.loads((REAL / "raw_files_by_year.json").read_text(encoding="utf-8"))
    names = {file["nom"] for table in published.values() for file in table["fichiers"]}
    ours = {f.name for y in sources.files_by_year() for f in sources.files_of_year(y) if y <= 2023}
    assert ours == names
    samples = [p.name for folder in REAL.glob("raw_*") if folder.is_dir() for p in folder.iterdir()]
    assert samples
    assert all(sources.is_raw_name(name) for name in samples)
