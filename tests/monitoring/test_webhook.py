"""The webhook against a real server: signed, repeated while it fails, never in the way."""

import hashlib
import hmac
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import orjson
import pytest

from lockstep.commands import webhook
from lockstep.config.settings import CONFIG_FILE, read_model_config
from lockstep.errors import ConfigError


@pytest.fixture
def receiver():
    """A server that answers with the given codes, and keeps what it got."""
    got, codes = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((body, self.headers.get(webhook.SIGNATURE)))
            code = codes.pop(0)
            self.send_response(code)
            if code in (301, 308):
                self.send_header("Location", "https://alarms.example/hook")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", codes, got
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(webhook, "_PAUSE", 0.01)


def test_it_is_signed_and_repeated_while_the_server_fails(receiver):
    url, codes, got = receiver
    codes += [503, 500, 204]
    assert webhook.post(url, {"alarm": "drift"}, {webhook.SECRET: "key"})
    assert len(got) == 3
    body, signature = got[-1]
    assert orjson.loads(body) == {"alarm": "drift"}
    assert signature == f"sha256={hmac.new(b'key', body, hashlib.sha256).hexdigest()}"


def test_what_is_refused_is_not_repeated_and_costs_a_warning(receiver, capsys):
    url, codes, got = receiver
    codes.append(401)
    assert not webhook.post(url, {}, {})
    assert [signature for _, signature in got] == [None]
    assert f"could not be sent to the webhook {url}: it answers 401" in capsys.readouterr().err


@pytest.mark.parametrize("code", [301, 308])
def test_a_redirect_is_no_answer_and_names_the_address(receiver, capsys, code):
    """Followed, it would become a GET without the alarm."""
    url, codes, got = receiver
    codes.append(code)
    assert not webhook.post(url, {}, {})
    assert len(got) == 1
    told = "it redirects to https://alarms.example/hook; set that address"
    assert told in capsys.readouterr().err


def test_a_server_that_is_down_costs_a_warning(capsys):
    assert not webhook.post("http://127.0.0.1:9/", {}, {})
    assert (
        "could not be sent to the webhook http://127.0.0.1:9/: ConnectionError"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("address", ["alerts", "alerts.example/hook", "ftp://host", "https://"])
def test_what_is_no_address_is_refused_before_there_is_an_alarm(tmp_path, address):
    path = tmp_path / CONFIG_FILE
    path.parent.mkdir(parents=True)
    path.write_text(f"monitoring: {{webhook: '{address}'}}\n")
    told = f"webhook = '{address}': give an address with http:// or https://"
    with pytest.raises(ConfigError, match=told):
        read_model_config(tmp_path)
    path.write_text("monitoring: {webhook: 'http://localhost:9/hook'}\n")
    assert read_model_config(tmp_path)[0].monitoring.webhook == "http://localhost:9/hook"
    path.write_text("monitoring: {webhook: ''}\n")
    assert read_model_config(tmp_path)[0].monitoring.webhook is None
