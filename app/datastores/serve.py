"""Files of datastores as downloads."""

from contextlib import ExitStack

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.datastores.stores import Opened
from app.kernel.media import BytesResponse
from app.storage.serve import attachment, is_known, part_of


class _FileResponse(StreamingResponse):
    """Lets go of the file however the answer ends."""

    def __init__(self, opened: Opened, status: int, start: int, end: int) -> None:
        super().__init__(
            opened.read(start, end), status_code=status, media_type=BytesResponse.media_type
        )
        self._opened = opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._opened.close()


def file_response(request: Request, opened: Opened, *, filename: str) -> Response:
    """Answer with a file, a part of it, or 304; the file is closed in the end.

    Args:
        request: for its method and its `Range`, `If-Range` and `If-None-Match`.
        opened: the file.
        filename: that the client may save it under.

    Raises:
        RangeNotSatisfiable: the range begins after the end.
    """
    etag = opened.etag
    headers = attachment(filename, etag)
    with ExitStack() as unless_sent:
        unless_sent.callback(opened.close)
        if is_known(request, etag):
            return Response(status_code=304, headers=headers)
        status, start, end = part_of(request, headers, etag=etag, size_bytes=opened.size_bytes)
        if request.method == "HEAD":
            kind = BytesResponse.media_type
            return Response(status_code=status, headers=headers, media_type=kind)
        response = _FileResponse(opened, status, start, end)
        response.headers.update(headers)
        unless_sent.pop_all()
        return response
