"""Media types: of answers that are not JSON, and of bodies that are bytes."""

from typing import Any

from fastapi import Depends, Request
from fastapi.responses import Response

from app.kernel.errors import UnsupportedMedia

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
BYTES_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/octet-stream": BINARY}}
}
"""What a route says in the document whose body is the bytes of a file."""
_FORMS = ("application/x-www-form-urlencoded", "multipart/")


class BytesResponse(Response):
    """The bytes of one file."""

    media_type = "application/octet-stream"


class GzipResponse(Response):
    """A tar.gz archive."""

    media_type = "application/gzip"


def is_json(request: Request) -> bool:
    """Whether a request says that its body is JSON."""
    media_type = _media_type(request)
    return media_type == "application/json" or media_type.endswith("+json")


async def _refuse_forms(request: Request) -> None:
    """Refuse a body that wraps or changes the bytes that a client means.

    A file may be of whatever type; but a form's parts would be kept with their boundaries, and
    `curl -d` takes the ends of lines away.
    """
    if _media_type(request).startswith(_FORMS):
        raise UnsupportedMedia(
            "Send the bytes themselves as application/octet-stream, not as a form: curl -T FILE."
        )


TAKES_BYTES = Depends(_refuse_forms)
"""For routes whose body is the bytes of a file."""


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
