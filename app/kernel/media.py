"""Response classes of answers that are not JSON, so that the OpenAPI document names them."""

from fastapi.responses import Response


class BytesResponse(Response):
    """The bytes of one file."""

    media_type = "application/octet-stream"


class GzipResponse(Response):
    """A tar.gz archive."""

    media_type = "application/gzip"
