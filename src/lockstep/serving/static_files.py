"""The files that the pages of the API load, read once; browsers cache them under their digest."""

from __future__ import annotations

from pathlib import Path

from swagger_ui_bundle import swagger_ui_path

from lockstep.reports import look
from lockstep.serving.file_addresses import PLACE, address_of, content_of
from lockstep.serving.http_request import Headers, HttpRequest, Reply

CACHED: Headers = ((b"cache-control", b"max-age=86400"),)
_SCRIPT = b"text/javascript; charset=utf-8"
_SWAGGER = Path(swagger_ui_path)
_FILES = {
    "swagger-ui-bundle.js": (_SWAGGER, _SCRIPT),
    "swagger-ui.css": (_SWAGGER, b"text/css; charset=utf-8"),
    "favicon-32x32.png": (_SWAGGER, b"image/png"),
    "vega.js": (look.HERE, _SCRIPT),
}
"""Each file's folder and content type."""
PATHS = tuple(f"{PLACE}{name}" for name in _FILES)


def docs_file(name: str) -> str:
    """Return the address of a file by its name."""
    return address_of(_FILES[name][0] / name)


async def static_file(request: HttpRequest) -> Reply:
    """Return the file of a request's path."""
    name = request.scope["path"].removeprefix(PLACE)
    return Reply(200, content_of(_FILES[name][0] / name), _FILES[name][1], CACHED)
