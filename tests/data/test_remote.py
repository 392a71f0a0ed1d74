"""The DVC remote, with real DVC and git repositories.

It is a local folder, or S3 on a moto server on loopback.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstep.commands.dvc_remote import main, remote_address
from lockstep.dvc.command import default_remote, run_dvc
from lockstep.errors import ConfigError, DataError, UsageError


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one tracked folder, committed: made once, copied for each test."""
    root = tmp_path_factory.mktemp("template")
    git(root, "init", "-q")
    git(root, "config", "user.name", "somebody")
    git(root, "config", "user.email", "somebody@example.org")
    run_dvc(root, "init", "-q")
    # A stage that never ran: what it would make is not there to be fetched,
    # which is no fault of the remote.
    (root / "dvc.yaml").write_text("stages: {later: {cmd: touch later, outs: [later]}}\n")
    (root / "data").mkdir()
    (root / "data" / "people.csv").write_text("a,b\n1,2\n")
    run_dvc(root, "add", "-q", "data")
    git(root, "add", ".")
    git(root, "commit", "-qm", "all")
    return root


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["remote", *arguments])
    main()


def clone(root: Path) -> Path:
    git(root, "commit", "-qam", "remote")
    target = root.parent / "a clone"
    git(root.parent, "clone", "-q", str(root), str(target))
    return target


def assert_pulls(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy)
    assert not (copy / "data").exists()
    call(monkeypatch, "pull")
    assert (copy / "data" / "people.csv").read_text() == "a,b\n1,2\n"


def test_push_and_pull_to_a_local_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "docs").mkdir()
    monkeypatch.chdir(project / "docs")  # a relative folder is meant from where the command runs
    call(monkeypatch, "set", "../../the store")
    assert "dvc push" in capsys.readouterr().out
    run_dvc(project, "push")
    assert (project.parent / "the store" / "files").is_dir()
    assert_pulls(clone(project), monkeypatch)


def test_absolute_and_home_folders_are_taken_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remote_address(tmp_path / "project", str(tmp_path / "store")) == str(tmp_path / "store")
    assert remote_address(tmp_path / "project", "~/store") == str(tmp_path / "store")
    assert remote_address(tmp_path / "project", f"file://{tmp_path}/store") == str(
        tmp_path / "store"
    )


@pytest.fixture
def moto_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_REGION": "eu-west-3",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_push_and_pull_to_s3_on_a_moto_server(
    project: Path, monkeypatch: pytest.MonkeyPatch, moto_server: str
) -> None:
    import boto3

    s3 = boto3.client("s3", endpoint_url=moto_server, region_name="us-east-1")
    s3.create_bucket(Bucket="accidents")
    call(monkeypatch, "set", "s3://accidents/store", "--endpoint-url", moto_server)
    run_dvc(project, "push")
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket="accidents")["Contents"]]
    s3.close()
    assert len(keys) == 2
    assert all(key.startswith("store/files/md5/") for key in keys)
    assert_pulls(clone(project), monkeypatch)


def test_a_new_address_takes_the_place_of_the_old_one_whole(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(monkeypatch, "set", "s3://bucket/x", "--endpoint-url", "http://127.0.0.1:1")
    call(monkeypatch, "set", "../store")
    config = (project / ".dvc" / "config").read_text()
    assert "127.0.0.1" not in config
    assert "s3://" not in config
    assert default_remote(project) == "storage"


def test_pull_without_a_remote_says_how_to_set_one(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"no DVC remote is configured.*make dvc-remote URL="):
        call(monkeypatch, "pull")


def test_pull_of_what_nobody_pushed_passes_on_dvcs_message_and_names_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    call(monkeypatch, "set", "../store")
    monkeypatch.chdir(clone(project))
    with pytest.raises(
        DataError, match=r"the remote lacks data.*run `dvc push` where they were made"
    ):
        call(monkeypatch, "pull")
    assert "Missing cache files" in capfd.readouterr().err


@pytest.mark.parametrize("proxied", [True, False])
def test_a_remote_out_of_reach_is_not_one_that_lacks_files(
    project: Path, monkeypatch: pytest.MonkeyPatch, proxied: bool
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "" if proxied else "127.0.0.1")
    call(monkeypatch, "set", "s3://accidents/store", "--endpoint-url", "http://127.0.0.1:1")
    monkeypatch.chdir(clone(project))
    with pytest.raises(DataError, match=r"`dvc pull` failed \(its message is above\)") as caught:
        call(monkeypatch, "pull")
    named = (
        "the proxy http://127.0.0.1:9 (from the variable http_proxy): correct or unset http_proxy"
    )
    assert (named in str(caught.value)) is proxied


def test_a_failing_dvc_command_is_one_line_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not inside of a DVC repository") as caught:
        run_dvc(tmp_path, "add", "x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "no address was given: make dvc-remote URL="),
        ("gs://bucket/x", "gs:// is not supported"),
        ("https://host/x", "https:// is not supported"),
        ("s3:///prefix", "names no bucket"),
        ("s3://key:secret@bucket/x", "credentials do not belong into the address"),
        (__file__, "is a file; a DVC remote needs a folder"),
        ("~nobody_of_this_name/store", "begins with no known home folder; write the whole path"),
    ],
)
def test_wrong_addresses_are_usage_errors(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        remote_address(tmp_path, url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "endpoint"), [("../store", "http://127.0.0.1:1"), ("s3://bucket/x", "127.0.0.1")]
)
def test_wrong_endpoints_change_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, address: str, endpoint: str
) -> None:
    before = (project / ".dvc" / "config").read_bytes()
    with pytest.raises(UsageError, match=r"endpoint|S3 server"):
        call(monkeypatch, "set", address, "--endpoint-url", endpoint)
    assert (project / ".dvc" / "config").read_bytes() == before
