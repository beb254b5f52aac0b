"""Short ways for what is asked all the time.

To find a route, solve what it depends on, check and render costs FastAPI several times what such
an answer costs otherwise. A route may therefore have a shortcut: a function that answers the plain
form of the same request. It comes after everything that stands before the routes (who asks, limits,
the audit log), the route's `@needs` holds for it as well, and what is not plain it leaves to the
route, which alone knows how to refuse.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Any, NamedTuple, TypeVar

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth.needs import authorize_scope
from app.auth.principal import Principal
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.errors import DomainError
from app.kernel.names import WORKSPACE_PATTERN
from app.kernel.pagination import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, PageQuery
from app.kernel.plain_text import may_be_unkeepable
from app.kernel.problems import send_problem

_MARK = "__trainwright_shortcut__"
_BODIES = frozenset({"POST", "PUT", "PATCH"})
_SIZE_DIGITS = 9
_PLAIN_QUERY = re.compile(rb"[A-Za-z0-9_.~=&-]*")
# What the routes themselves allow, or less.
_PLAIN_PARAMETERS = {
    "workspace": re.compile(WORKSPACE_PATTERN),
    "": re.compile(r"[\w-]{1,128}", re.ASCII),
}
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
Body = TypeVar("Body", bound=BaseModel)


class Answer(NamedTuple):
    """An answer, as it is sent."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Names in lower case."""
    media_type: bytes = b"application/json"


class NotPlain(Exception):
    """Nothing was done; the route has to look at this request."""


@dataclass(slots=True)
class Asked:
    """A plain request whose caller may make it.

    Attributes:
        scope: of the request.
        path: parameters of the address.
        body: all of it.
    """

    scope: Scope
    path: dict[str, str]
    body: bytes

    @property
    def database(self) -> Database:
        """The database of the application."""
        database: Database = self.scope["app"].state.database
        return database

    @property
    def settings(self) -> Settings:
        """The settings of the application."""
        settings: Settings = self.scope["app"].state.settings
        return settings

    @property
    def principal(self) -> Principal:
        """Who asks."""
        principal: Principal = self.scope["principal"]
        return principal

    def query(self, *known: str) -> dict[str, str]:
        """The parameters of the query.

        Args:
            known: those that the shortcut understands.

        Raises:
            NotPlain: there is another, or one of them twice.
        """
        text = self.scope["query_string"].decode()
        found: dict[str, str] = {}
        for part in text.split("&") if text else ():
            name, _, value = part.partition("=")
            if name not in known or name in found:
                raise NotPlain
            found[name] = value
        return found

    def page(self) -> PageQuery:
        """The page that is asked for, of a list without filters.

        Raises:
            NotPlain: something else is asked for.
        """
        given = self.query("page_size", "page_token")
        size = given.get("page_size", str(DEFAULT_PAGE_SIZE))
        if not (size.isascii() and size.isdigit() and len(size) <= _SIZE_DIGITS and int(size)):
            raise NotPlain
        size_taken = min(int(size), MAX_PAGE_SIZE)
        return PageQuery(page_size=size_taken, page_token=given.get("page_token", ""))

    def header(self, wanted: bytes) -> bytes:
        """The first header of this name, in lower case; empty: there is none."""
        return next((value for name, value in self.scope["headers"] if name == wanted), b"")

    def parse(self, model: type[Body]) -> Body:
        """The body as what the route takes.

        Raises:
            NotPlain: it is none, or holds what may have to be refused.
        """
        if may_be_unkeepable(self.body):
            raise NotPlain
        try:
            return model.model_validate_json(self.body)
        except ValidationError:
            raise NotPlain from None


Shortcut = Callable[[Asked], Awaitable[Answer]]


def shortcut(
    answer: Shortcut, *, keyed: bool = False, has_query: bool = False
) -> Callable[[Endpoint], Endpoint]:
    """Give the function of a route, beneath its ``@router…``, a shortcut.

    Args:
        answer: the shortcut.
        keyed: whether it knows what to do with an ``Idempotency-Key``; else such requests go
            the long way.
        has_query: whether it looks at the query, and refuses what it does not know; else requests
            that have one go the long way, where unknown parameters are named.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _MARK, (answer, keyed, has_query))
        return endpoint

    return mark


class _Known(NamedTuple):
    pattern: Pattern[str]
    route: APIRoute
    answer: Shortcut
    keyed: bool
    has_query: bool


class Shortcuts:
    """Answers what has a shortcut; stands before the routes and behind everything else."""

    def __init__(self, app: ASGIApp, routes: FastAPI) -> None:
        self._app = app
        self._known = _find(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        known = None
        if scope["type"] == "http" and _PLAIN_QUERY.fullmatch(scope["query_string"]):
            known = self._matching(scope)
        if known is None:
            await self._app(scope, receive, send)
            return
        (_, route, answer, _, _), path = known
        body = b""
        scope.update(route=route, endpoint=route.endpoint, path_params=path)
        try:
            if scope["method"] in _BODIES:
                messages = await _received(receive)
                if messages[-1]["type"] == "http.disconnect":
                    return
                body = b"".join(message["body"] for message in messages if "body" in message)
                receive = _again(messages, receive)
            authorize_scope(scope)
            found = await answer(Asked(scope, path, body))
        except NotPlain:
            for name in ("route", "endpoint", "path_params"):
                del scope[name]
            await self._app(scope, receive, send)
            return
        except DomainError as error:
            await send_problem(error, scope, receive, send)
            return
        headers = [
            (b"content-length", str(len(found.body)).encode()),
            (b"content-type", found.media_type),
            *found.headers,
        ]
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})

    def _matching(self, scope: Scope) -> tuple[_Known, dict[str, str]] | None:
        path: str = scope["path"]
        for known in self._known.get((scope["method"], path.count("/")), ()):
            if (match := known.pattern.match(path)) is not None:
                parameters = match.groupdict()
                is_plain = all(map(_is_plain, parameters.items()))
                return (known, parameters) if is_plain and _takes(known, scope) else None
        return None


def _is_plain(parameter: tuple[str, str]) -> bool:
    name, value = parameter
    pattern = _PLAIN_PARAMETERS.get(name) or _PLAIN_PARAMETERS[""]
    return pattern.fullmatch(value) is not None


def _takes(known: _Known, scope: Scope) -> bool:
    if scope["query_string"] and not known.has_query:
        return False
    if scope["method"] not in _BODIES:
        return True
    is_json = has_key = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            is_json = value == b"application/json"
        elif name == b"idempotency-key":
            has_key = True
    return is_json and (known.keyed or not has_key)


async def _received(receive: Receive) -> Sequence[Message]:
    messages = [await receive()]
    while messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _again(messages: Sequence[Message], receive: Receive) -> Receive:
    """The same messages once more, then what comes after them."""
    left = list(reversed(messages))

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


def _find(app: FastAPI) -> dict[tuple[str, int], list[_Known]]:
    found: dict[tuple[str, int], list[_Known]] = {}
    before: list[tuple[str, frozenset[str]]] = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        address = context.path_format
        if not isinstance(route, APIRoute) or not context.methods or address is None:
            continue
        marked: tuple[Shortcut, bool, bool] | None = getattr(route.endpoint, _MARK, None)
        methods = frozenset(context.methods)
        if marked is not None:
            # A shortcut must not take what belongs to a route that is asked before its own.
            for other, theirs in before:
                assert not (methods & theirs and context.path_regex.match(other)), other
            for method in methods:
                known = _Known(context.path_regex, route, *marked)
                found.setdefault((method, address.count("/")), []).append(known)
        before.append((address, methods))
    return found
