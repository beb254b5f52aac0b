"""Asking replicas over HTTP, with connections that are used again."""

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp
from yarl import URL

_CONNECT_SECONDS = 2.0
_KEPT_SECONDS = 5.0
"""So long a connection that is not used is kept."""
_MOST_CONNECTIONS = 512


class ReplicaUnreachable(Exception):
    """No answer, or a part of one: another replica may be asked."""


class ReplicaSilent(Exception):
    """It took the request, and its time is over."""


class ReplicaAnswer(NamedTuple):
    """What a replica says.

    Attributes:
        status: of HTTP.
        headers: whatever their case.
        content: the whole body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


class ReplicaClient:
    """Connections to the replicas of all deployments."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(
        self,
        method: str,
        host: str,
        port: int,
        target: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        silence_seconds: float,
    ) -> ReplicaAnswer:
        """The answer to one request, whatever it says.

        Args:
            method: of HTTP.
            host: of the replica.
            port: of the replica.
            target: path at the replica, sent as it is.
            body: sent as it is; its type is said by `headers` alone.
            headers: of the request.
            silence_seconds: how long nothing may come.

        Raises:
            ReplicaUnreachable: no connection, or it ended before the answer did.
            ReplicaSilent: nothing came for so long.
        """
        try:
            async with self._session.request(
                method,
                URL(f"http://{host}:{port}{target}", encoded=True),
                data=io.BytesIO(body) if body else None,
                headers=headers,
                skip_auto_headers=("Content-Type", "User-Agent"),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=silence_seconds,
                    sock_connect=_CONNECT_SECONDS,
                    sock_read=silence_seconds,
                ),
            ) as answer:
                return ReplicaAnswer(answer.status, answer.headers, await answer.read())
        except aiohttp.SocketTimeoutError as error:
            raise ReplicaSilent from error
        except aiohttp.ClientError as error:
            raise ReplicaUnreachable from error


@asynccontextmanager
async def replica_client() -> AsyncIterator[ReplicaClient]:
    """The connections of this process; they end with the block."""
    connector = aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, keepalive_timeout=_KEPT_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield ReplicaClient(session)
