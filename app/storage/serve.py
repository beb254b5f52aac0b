"""Stored objects as downloads: strong ETag, ranges, conditions (RFC 9110)."""

import base64
import re
from collections.abc import AsyncIterator
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.kernel.errors import RangeNotSatisfiable
from app.storage.objects import ObjectStore

# One range; a number of more digits is no place in any file.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


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
    headers = {
        "ETag": etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        "Content-Security-Policy": "sandbox",
        "Repr-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:",
    }
    if etag in _listed(request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    start, end = _wanted(request, etag=etag, size_bytes=size_bytes)
    status = 200
    if (start, end) != (0, size_bytes):
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    headers["Content-Length"] = str(end - start)
    content: AsyncIterator[bytes] = await objects.open(sha256, start=start, end=end)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=media_type)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=media_type)


def _listed(header: str) -> list[str]:
    return [part.strip().removeprefix("W/") for part in header.split(",")]


def _wanted(request: Request, *, etag: str, size_bytes: int) -> tuple[int, int]:
    whole = (0, size_bytes)
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or request.headers.get("if-range", etag) != etag or not any(match.groups()):
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
