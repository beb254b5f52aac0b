"""The class of routes that create and change: repeated under a key, or only validated."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from app.auth.idempotency import Replayed, keep_answer
from app.kernel.validate_only import as_validated, is_validate_only

_READS = frozenset({"GET", "HEAD"})


class WriteRoute(APIRoute):
    """A route that honours what its dependencies found out about keys and ``validate_only``.

    It sees the whole answer before the transaction ends, which no dependency does.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI, and around it what a write has besides."""
        handler = super().get_route_handler()
        if not self.methods or self.methods <= _READS:
            return handler

        async def write(request: Request) -> Response:
            try:
                response = await handler(request)
            except Replayed as found:
                return found.response
            if is_validate_only(request):
                return as_validated(response)
            await keep_answer(request, response)
            return response

        return write
