"""For clients that read no answer before they have sent everything."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BODIES = frozenset({"POST", "PUT", "PATCH"})
_MOST_SECONDS = 10.0
_FIRST_REFUSAL = 400


class LateReaders:
    """Takes the rest of a body before its refusal is sent, if the connection ends with that.

    Python's urllib, for one, asks for that with every request. If the server closes first, the
    kernel answers what is still sent with a reset, and the client never sees why it was refused.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in _BODIES or not _ends(scope):
            await self._app(scope, receive, send)
            return
        is_read = False

        async def receive_noted() -> Message:
            nonlocal is_read
            message = await receive()
            is_read = not message.get("more_body", False)
            return message

        async def send_afterwards(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= _FIRST_REFUSAL:
                with anyio.move_on_after(_MOST_SECONDS):
                    while not is_read:
                        await receive_noted()
            await send(message)

        await self._app(scope, receive_noted, send_afterwards)


def _ends(scope: Scope) -> bool:
    """Whether the connection ends with this request, whose client does not wait to be let in."""
    names = {name: value.lower() for name, value in scope["headers"]}
    return names.get(b"connection") == b"close" and b"expect" not in names
