"""S3, where MLflow itself reads and writes the bucket of a server that does not serve artifacts.

S3's client is an extra that MLflow imports when it needs it: nothing here imports it.
"""

from __future__ import annotations

import os
import re
import sys
from urllib.parse import urlsplit

from mlflow.exceptions import MlflowException

from lockstep.console import visible, without_password
from lockstep.errors import RegistryError
from lockstep.extras import install_line

_ENDPOINTS = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables with the address of an S3 server that is not Amazon's; the first that is set counts."""
_HOST = re.compile(r"[A-Za-z0-9.:-]+")
"""A host's name, or an address of version 4 or 6."""
_CLIENT = ("boto3", "botocore")
_BASES = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("boto3.exceptions", "Boto3Error"),
)
"""The modules and names of the errors from which all others of the client derive."""
_BUCKET = "make the bucket, or correct the endpoint URL in MLFLOW_S3_ENDPOINT_URL"
_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to a user who may read and"
    " write the bucket"
)
_FIXES = {  # part of an error's text: the fix
    "bucket does not exist": _BUCKET,
    "NoSuchBucket": _BUCKET,
    "endpoint URL": "start the server, or correct its endpoint URL in MLFLOW_S3_ENDPOINT_URL",
    **dict.fromkeys(
        ("credentials", "Access", "ignature", "Token", "expired", "Forbidden"), _CREDENTIALS
    ),
}
_CHECK_ALL = "check the endpoint URL (MLFLOW_S3_ENDPOINT_URL), the bucket and the AWS credentials"


def s3_errors(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Return the classes of S3's errors and ``others``; call it in the ``except`` itself.

    It is called when there is an error, so MLflow has imported the client, or failed to.
    """
    error = sys.exception()
    lacks_client = isinstance(error, ModuleNotFoundError) and error.name in _CLIENT
    known = (getattr(sys.modules[name], base) for name, base in _BASES if name in sys.modules)
    return (*others, *known, *([ModuleNotFoundError] if lacks_client else ()))


def s3_fault(error: Exception) -> str:
    """Return what failed on S3, with the fix, as one line; empty for an error that isn't S3's."""
    if isinstance(error, ModuleNotFoundError):
        missing = f"artifacts on S3 need a package that is not installed: {error.name}"
        return f"{missing}; {install_line('s3')}" if error.name in _CLIENT else ""
    text = without_password(visible(" ".join(str(error).split()))).rstrip(".")
    of_mlflow = isinstance(error, MlflowException) and "s3://" in text
    if not of_mlflow and not isinstance(error, s3_errors()):
        return ""
    server = f"S3 at {without_password(place)}" if (place := _endpoint()) else "S3"
    fix = next((fix for sign, fix in _FIXES.items() if sign in text), _CHECK_ALL)
    return f"{server} failed: {text[:300]}; {fix}"


def check_endpoint() -> None:
    """Raise RegistryError for an endpoint that S3's client does not take: it has no line for it."""
    place = _endpoint()
    variable = next((name for name in _ENDPOINTS if os.environ.get(name)), "")
    shown = f"{variable} '{without_password(place)}'"
    if place and "://" not in place:
        raise RegistryError(f"{shown} is no URL; write http://{place}")
    if place and not _is_address(place):
        rule = "the host may have letters, digits, points and hyphens, the port is up to 65535"
        raise RegistryError(f"{shown} is no address that S3's client takes: {rule}; correct it")


def _is_address(place: str) -> bool:
    try:
        parts = urlsplit(place)
        return bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
    except ValueError:
        return False


def _endpoint() -> str:
    return next((place for name in _ENDPOINTS if (place := os.environ.get(name))), "")
