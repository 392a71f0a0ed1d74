"""The one decorator that turns errors into a line and an exit code."""

import errno
import gc

import pytest

from lockstep import errors
from lockstep.errors import DataError, LockstepError, UsageError, nearest, run_command, unknown


@pytest.fixture(autouse=True)
def collecting():
    yield
    gc.unfreeze()
    gc.enable()


def ends(raised):
    def main():
        if raised is not None:
            raise raised

    with pytest.raises(SystemExit) as exit_:
        run_command(main)
    return exit_.value.code


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (None, 0),
        (DataError("x"), 1),
        (LockstepError("x"), 1),
        (UsageError("x"), 2),
        (KeyboardInterrupt(), 1),
    ],
)
def test_exit_codes(raised, code):
    assert ends(raised) == code


def test_an_expected_error_is_one_line_on_stderr(capsys):
    ends(DataError("the file is empty; give another"))
    assert capsys.readouterr().err == "✗ the file is empty; give another\n"


def test_a_full_disk_is_named_with_its_fix(capsys):
    ends(OSError(errno.ENOSPC, "No space left on device", "model.joblib"))
    assert (
        capsys.readouterr().err
        == "✗ the disk is full: model.joblib; free some space and run the command again\n"
    )


def test_of_a_copy_the_target_is_the_full_disk(capsys):
    ends(OSError(errno.ENOSPC, "No space left on device", "made here", None, "mlruns/1/roc.csv"))
    assert "the disk is full: mlruns/1/roc.csv;" in capsys.readouterr().err


def test_a_read_only_folder_is_named_with_its_fix(capsys):
    ends(PermissionError(errno.EACCES, "Permission denied", "models"))
    assert "no permission to write or read: models" in capsys.readouterr().err


def test_a_traceback_only_on_request(capsys, monkeypatch):
    monkeypatch.setenv("LOCKSTEP_TRACEBACK", "1")
    ends(DataError("broken"))
    assert "Traceback" in capsys.readouterr().err


def without_home(monkeypatch):
    monkeypatch.setattr(errors.os.path, "expanduser", lambda path: path)


def test_a_user_without_a_home_folder_is_told_to_set_one(capsys, monkeypatch):
    without_home(monkeypatch)
    assert ends(RuntimeError("Could not determine home directory.")) == 1
    told = capsys.readouterr().err
    assert told.startswith("✗ this user has no home folder,")
    assert "set HOME" in told
    assert len(told.splitlines()) == 1


def test_with_a_home_folder_another_error_is_not_swallowed():
    with pytest.raises(RuntimeError, match="another"):
        run_command(lambda: raising(RuntimeError("another")))


def raising(error):
    raise error


def test_an_unexpected_error_is_not_swallowed():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


def test_nearest_prefers_another_case_over_another_spelling():
    assert nearest("staging", ["None", "Staging"]) == " (did you mean 'Staging'?)"
    assert nearest("xgbost", ["xgboost", "lightgbm"]) == " (did you mean 'xgboost'?)"
    assert nearest("prod", ["None", "Production"]) == " (did you mean 'Production'?)"
    assert nearest("zzz", ["xgboost"]) == ""


def test_unknown_lists_what_is_known():
    assert unknown("stage", "Prod", ["None"]) == "unknown stage 'Prod'; known: None"
