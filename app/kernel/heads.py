"""``HEAD`` wherever there is ``GET``: the same answer without its body (RFC 9110, 9.3.2)."""

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kernel.routes import RouteTable


class HeadAsGet:
    """Answers HEAD with what GET would say, except where a route has its own HEAD."""

    def __init__(self, app: ASGIApp, routes: RouteTable) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or self._is_own(scope):
            await self._app(scope, receive, send)
            return
        async with anyio.create_task_group() as tasks:
            is_endless = False
            is_sent = False

            async def send_head(message: Message) -> None:
                nonlocal is_endless, is_sent
                if message["type"] == "http.response.start":
                    is_endless = "content-length" not in Headers(raw=message["headers"])
                    await send(message)
                elif not is_sent:
                    is_sent = True
                    await send({"type": "http.response.body", "body": b""})
                    if is_endless and message.get("more_body", False):
                        # Nobody wants the rest of the stream.
                        tasks.cancel_scope.cancel()
                        await anyio.sleep_forever()

            inner = {**scope, "method": "GET"}
            await self._app(inner, receive, send_head)
            scope["route"] = inner.get("route")

    def _is_own(self, scope: Scope) -> bool:
        return "HEAD" in self._routes.methods(scope["path"])
