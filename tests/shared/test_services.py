import pytest
from tests.shared import services


@pytest.mark.parametrize(
    ("lacking", "fix"),
    [("DRIVERS", "run `make env`"), ("INSTALLED", "run scripts/install_services.sh")],
)
def test_without_the_services_tests_are_skipped_with_the_fix_or_fail_where_required(
    tmp_path, monkeypatch, lacking, fix
):
    monkeypatch.setattr(services, "DRIVERS", ("no_such_driver",) if lacking == "DRIVERS" else ())
    monkeypatch.setattr(services, "INSTALLED", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(services.REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match=fix):
        services.need_postgres()
    monkeypatch.setenv(services.REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=f"{fix}.*forbids to skip"):
        services.need_postgres()
