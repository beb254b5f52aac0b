"""Archives as downloads: made while they are sent, and yet with ETag, ranges and conditions."""

import hashlib
import json
import zlib
from collections.abc import AsyncIterator, Sequence

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.kernel.media import GzipResponse
from app.storage.objects import ObjectStore
from app.storage.serve import asks_for_part, attachment, is_known, part_of
from app.storage.tar_stream import TarEntry, tar_stream

_PARTS_BYTES = 2**30
"""Of archives of more, unpacked, no part is made."""


async def archive_response(
    request: Request, objects: ObjectStore, entries: Sequence[TarEntry], *, filename: str
) -> Response:
    """Answer with a tar.gz of these files, a part of it, or 304.

    The same files give the same bytes, so a download that broke off can go on. How long an archive
    is, is known only once it is made: for a part it is made twice, so there are none of large
    ones. Where a file still grows there is no ETag, and no part.

    Args:
        request: for its method and its `Range`, `If-Range` and `If-None-Match`.
        objects: where the files lie.
        entries: the files.
        filename: that the client may save it under.

    Raises:
        RangeNotSatisfiable: the range begins after the end.
    """
    etag = _etag(entries)
    headers = attachment(filename, etag or "")
    if etag is None:
        del headers["ETag"]
    elif is_known(request, etag):
        return Response(status_code=304, headers=headers)
    has_parts = etag is not None and sum(each.size_bytes for each in entries) <= _PARTS_BYTES
    if not has_parts:
        headers["Accept-Ranges"] = "none"
    media_type = GzipResponse.media_type
    if request.method == "HEAD":
        head = Response(headers=headers, media_type=media_type)
        # How long it is, is not known.
        del head.headers["Content-Length"]
        return head
    if etag is None or not has_parts or not asks_for_part(request, etag):
        content = tar_stream(objects, entries)
        return StreamingResponse(content, headers=headers, media_type=media_type)
    size_bytes = 0
    async for chunk in tar_stream(objects, entries):
        size_bytes += len(chunk)
    status, start, end = part_of(request, headers, etag=etag, size_bytes=size_bytes)
    part = _cut(tar_stream(objects, entries), start, end)
    return StreamingResponse(part, status_code=status, headers=headers, media_type=media_type)


def _etag(entries: Sequence[TarEntry]) -> str | None:
    if any(entry.read for entry in entries):
        return None
    files = [(entry.path, entry.sha256, entry.size_bytes) for entry in entries]
    # Another zlib may pack the same bytes otherwise.
    named = json.dumps([zlib.ZLIB_RUNTIME_VERSION, files])
    return f'"{hashlib.sha256(named.encode()).hexdigest()}"'


async def _cut(chunks: AsyncIterator[bytes], start: int, end: int) -> AsyncIterator[bytes]:
    position = 0
    async for chunk in chunks:
        piece = chunk[max(0, start - position) : max(0, end - position)]
        position += len(chunk)
        if piece:
            yield piece
        if position >= end:
            return
