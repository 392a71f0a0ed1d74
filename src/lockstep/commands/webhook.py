"""Tell another system of an alarm: one signed POST, repeated while the other side is down."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import orjson
import requests

from lockstep.console import warn, without_password

SECRET = "LOCKSTEP_WEBHOOK_SECRET"
SIGNATURE = "X-Lockstep-Signature"
_ATTEMPTS, _TIMEOUT = 3, 10
_PAUSE = 1.0


def post(url: str, content: Any, environ: Mapping[str, str]) -> bool:
    """Send JSON to a URL; False, with a warning, if it is not taken after three attempts.

    With LOCKSTEP_WEBHOOK_SECRET the header X-Lockstep-Signature holds ``sha256=`` and the HMAC of
    the body.
    """
    body = orjson.dumps(content)
    headers = {"Content-Type": "application/json"}
    if secret := environ.get(SECRET):
        headers[SIGNATURE] = f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
    fault = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(_PAUSE * attempt)
        try:
            answer = requests.post(
                url,
                data=body,
                headers=headers,
                timeout=_TIMEOUT,
                allow_redirects=False,  # it would become a GET without the body
            )
        except requests.RequestException as error:
            fault = type(error).__name__
            continue
        if answer.is_redirect:
            fault = f"it redirects to {answer.headers['location']}; set that address"
            break
        if answer.ok:
            return True
        fault = f"it answers {answer.status_code}"
        if answer.status_code < 500:  # a second time would be no better
            break
    warn(f"the alarm could not be sent to the webhook {without_password(url)}: {fault}")
    return False
