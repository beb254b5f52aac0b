"""Limits of what comes before a body: the address and the header fields."""

from starlette.types import ASGIApp, Receive, Scope, Send

from app.kernel.errors import AddressTooLong, BadRequest, DomainError, HeadersTooLarge
from app.kernel.problems import send_problem

MOST_ADDRESS_BYTES = 16 * 1024
MOST_HEADERS = 100
MOST_HEADER_BYTES = 32 * 1024
"""Of all names and values together."""
# Of two of these, different programs on the way believe different ones.
_ONLY_ONCE = frozenset({b"host", b"content-length", b"authorization", b"content-type"})


class HeadLimit:
    """Refuses long addresses, many or long header fields, and two of which there may be one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refusal := _refusal(scope)) is not None:
            await send_problem(refusal, scope, receive, send)
            return
        await self._app(scope, receive, send)


def _refusal(scope: Scope) -> DomainError | None:
    address_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if address_bytes > MOST_ADDRESS_BYTES:
        return AddressTooLong(
            f"The address has {address_bytes} bytes; at most {MOST_ADDRESS_BYTES} are taken."
        )
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    header_bytes = sum(len(name) + len(value) for name, value in headers)
    if len(headers) > MOST_HEADERS or header_bytes > MOST_HEADER_BYTES:
        return HeadersTooLarge(
            f"There are {len(headers)} header fields of {header_bytes} bytes; at most "
            f"{MOST_HEADERS} of together {MOST_HEADER_BYTES} bytes are taken."
        )
    names = [name for name, _ in headers if name in _ONLY_ONCE]
    if len(names) != len(set(names)):
        return BadRequest("A header field of which there may be one came more than once.")
    return None
