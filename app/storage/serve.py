"""Stored objects as downloads: strong ETag, ranges, conditions (RFC 9110)."""

import base64
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.kernel.errors import RangeNotSatisfiable
from app.kernel.etags import is_listed
from app.storage.objects import ObjectStore

# One range; a number of more digits is no place in any file.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._+-]+")


async def object_response(
    request: Request,
    objects: ObjectStore,
    *,
    sha256: str,
    size_bytes: int,
    filename: str,
    media_type: str = "application/octet-stream",
) -> Response:
    """Answer with an object's bytes, a part of them, or 304.

    One range is served; several are answered with the whole, which is allowed. The bytes are
    never shown as a page of this origin: they are an attachment.

    Args:
        request: for its method and its `Range`, `If-Range` and `If-None-Match`.
        objects: where the bytes lie.
        sha256: of the object; also its ETag.
        size_bytes: of the object.
        filename: that the client may save it under.
        media_type: of the bytes.

    Raises:
        RangeNotSatisfiable: the range begins after the end.
        ObjectMissing: the object is not in the store.
        ObjectCorrupt: it was changed there.
    """
    etag = f'"{sha256}"'
    headers = attachment(filename, etag)
    headers["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"
    if is_known(request, etag):
        return Response(status_code=304, headers=headers)
    status, start, end = part_of(request, headers, etag=etag, size_bytes=size_bytes)
    # Told as it is: the framework would add a charset to text, and nobody knows that of a file.
    headers["Content-Type"] = media_type
    content: AsyncIterator[bytes] = await objects.open(sha256, start=start, end=end)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    return StreamingResponse(content, status_code=status, headers=headers)


def attachment(filename: str, etag: str) -> dict[str, str]:
    """The headers of every download whose bytes are named by an ETag."""
    # Simple clients, as curl, know the plain form only; nothing in such a name can break out.
    is_plain = _PLAIN_NAME.fullmatch(filename)
    name = f"filename={filename}" if is_plain else f"filename*=UTF-8''{quote(filename, safe='')}"
    return {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; {name}",
        "Content-Security-Policy": "sandbox",
    }


def is_known(request: Request, etag: str) -> bool:
    """Whether the client has these bytes already (``If-None-Match``)."""
    return is_listed(etag, request.headers.get("if-none-match", ""))


def asks_for_part(request: Request, etag: str) -> bool:
    """Whether one range is asked for, of these very bytes (``If-Range``)."""
    match = _range(request)
    return match is not None and request.headers.get("if-range", etag) == etag


def part_of(
    request: Request, headers: dict[str, str], *, etag: str, size_bytes: int
) -> tuple[int, int, int]:
    """Find out what is asked for, and add its place to the headers.

    Args:
        request: for its ``Range`` and ``If-Range``.
        headers: of the answer.
        etag: of the bytes.
        size_bytes: of all of them.

    Returns:
        The status, the first byte, and the one behind the last.

    Raises:
        RangeNotSatisfiable: the range begins after the end.
    """
    start, end = _wanted(request, etag=etag, size_bytes=size_bytes)
    headers["Content-Length"] = str(end - start)
    if (start, end) == (0, size_bytes):
        return 200, start, end
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    return 206, start, end


def _range(request: Request) -> re.Match[str] | None:
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    return match if match is not None and any(match.groups()) else None


def _wanted(request: Request, *, etag: str, size_bytes: int) -> tuple[int, int]:
    whole = (0, size_bytes)
    match = _range(request)
    if match is None or not asks_for_part(request, etag):
        return whole
    first, last = match.groups()
    if not first:
        start, end = max(0, size_bytes - int(last)), size_bytes
    else:
        start, end = int(first), min(int(last) + 1 if last else size_bytes, size_bytes)
        if last and int(last) < start:
            return whole
    if start >= end:
        raise RangeNotSatisfiable(
            f"The content has {size_bytes} bytes.",
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    return start, end
