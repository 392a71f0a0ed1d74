import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests import Session

from lockstep.console import without_password
from lockstep.network import proxies_set, proxy_of

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
DEAD = "http://127.0.0.1:9"


def unset(patch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower() in NAMES]:
        patch.delenv(name)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    unset(monkeypatch)


@pytest.mark.parametrize("url", ["http://models.example:5000", "https://dagshub.com/a/b.mlflow"])
def test_without_variables_requests_go_straight(url):
    assert proxy_of(url) is None
    assert proxies_set() == ""


@pytest.mark.parametrize(
    ("variables", "url", "named"),
    [
        ({"http_proxy": DEAD}, "http://models.example:5000/health", "http_proxy"),
        ({"HTTP_PROXY": DEAD}, "http://models.example:5000", "HTTP_PROXY"),
        ({"https_proxy": DEAD}, "https://dagshub.com/a/b.mlflow", "https_proxy"),
        ({"ALL_PROXY": DEAD}, "https://dagshub.com", "ALL_PROXY"),
        ({"all_proxy": DEAD}, "http://127.0.0.1:5000", "all_proxy"),
        ({"http_proxy": "127.0.0.1:9"}, "http://models.example", "http_proxy"),
        (
            {"http_proxy": DEAD, "HTTP_PROXY": "http://other:1"},
            "http://models.example",
            "http_proxy",
        ),
        ({"http_proxy": DEAD}, "https://dagshub.com", None),
        ({"https_proxy": DEAD}, "http://models.example", None),
        ({"http_proxy": ""}, "http://models.example", None),
        ({"http_proxy": DEAD, "no_proxy": "models.example"}, "http://models.example:5000", None),
        ({"http_proxy": DEAD, "NO_PROXY": ".example"}, "http://models.example:5000", None),
        ({"http_proxy": DEAD, "no_proxy": "127.0.0.0/8"}, "http://127.0.0.1:5000", None),
        ({"http_proxy": DEAD, "no_proxy": "*"}, "http://models.example", None),
        ({"http_proxy": DEAD, "no_proxy": "other"}, "http://models.example", "http_proxy"),
    ],
)
def test_the_variable_that_applies_is_named(monkeypatch, variables, url, named):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_of(url)
    assert (found.variable if found else None) == named


def test_passwords_are_not_shown(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://jane:secret@proxy.example:3128")
    found = proxy_of("http://models.example:5000")
    assert (
        str(found) == "the proxy http://jane:***@proxy.example:3128 (from the variable http_proxy)"
    )
    assert found.fix == "correct or unset http_proxy, or add models.example to no_proxy"
    assert proxies_set() == "http_proxy=http://jane:***@proxy.example:3128"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("postgresql://mlflow:ab/cd@db/mlflow", "postgresql://mlflow:***@db/mlflow"),
        ("postgresql://mlflow:a@b/c@db:5432/mlflow", "postgresql://mlflow:***@db:5432/mlflow"),
        ("postgresql://mlflow:a b@db/mlflow", "postgresql://mlflow:***@db/mlflow"),
        ("postgresql://mlflow@db/mlflow", "postgresql://mlflow@db/mlflow"),
        ("https://TOKEN@host/x.mlflow", "https://***@host/x.mlflow"),
        ("https://:TOKEN@host", "https://:***@host"),
        ("http://host:5000/a", "http://host:5000/a"),
        ("https://host/@jane", "https://host/@jane"),
        ("sqlite:////home/jane@corp/mlflow.db", "sqlite:////home/jane@corp/mlflow.db"),
        (
            "postgresql://db/mlflow?user=jane&password=a%2Fb&sslmode=require",
            "postgresql://db/mlflow?user=jane&password=***&sslmode=require",
        ),
        ("https://host/hook?access_token=abc#x", "https://host/hook?access_token=***"),
        (
            "'http://jane:a/b@one' (from X), then http://two:5000 for jane",
            "'http://jane:***@one' (from X), then http://two:5000 for jane",
        ),
    ],
)
def test_no_password_or_token_of_a_uri_is_shown(uri, shown):
    assert without_password(uri) == shown


HOSTS = st.sampled_from(["models.example", "example", "127.0.0.1", "10.1.2.3", "a.models.example"])
VALUES = st.sampled_from(["", DEAD, "http://proxy:1", "proxy:2"])


@settings(max_examples=150, deadline=None)
@given(
    variables=st.dictionaries(st.sampled_from(["http_proxy", "HTTPS_PROXY", "All_Proxy"]), VALUES),
    skipped=st.lists(st.sampled_from(["models.example", ".example", "127.0.0.0/8", "10.1.2.3"])),
    scheme=st.sampled_from(["http", "https"]),
    host=HOSTS,
)
def test_it_is_the_proxy_that_requests_takes(variables, skipped, scheme, host):
    url = f"{scheme}://{host}:5000/health"
    with pytest.MonkeyPatch.context() as patch:
        unset(patch)
        for name, value in {**variables, "no_proxy": ",".join(skipped)}.items():
            patch.setenv(name, value)
        merged = Session().merge_environment_settings(url, {}, None, None, None)["proxies"]
        taken = merged.get(scheme) or merged.get("all")
        found = proxy_of(url)
        assert (found.address if found else None) == taken
        if found:
            assert os.environ[found.variable] == taken
