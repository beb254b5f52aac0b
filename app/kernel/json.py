"""JSON as this API writes it: UTF-8, no NaN, a newline at the end for terminals."""

import json
from typing import Any

from fastapi.responses import JSONResponse


def json_bytes(value: Any) -> bytes:
    """Encode a JSON value, with the trailing newline that terminals want."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class NewlineJSONResponse(JSONResponse):
    """The default response class."""

    def render(self, content: Any) -> bytes:
        """Encode ``content``."""
        return json_bytes(content)
