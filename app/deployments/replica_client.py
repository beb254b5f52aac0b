"""Asking replicas over HTTP, with connections that are used again."""

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import aiohttp
from tenacity import retry, retry_if_exception_type, stop_after_attempt
from yarl import URL

_CONNECT_SECONDS = 2.0
_KEPT_SECONDS = 2.0
"""So long a connection that is not used is kept: less than replicas keep theirs (5 s)."""
_MOST_CONNECTIONS = 512
_MOST_TRIES = 3
_SLOWEST_BYTES_PER_SECOND = 1_000_000
"""A replica that takes a body more slowly is taken to hang."""


class ReplicaUnreachable(Exception):
    """No answer, or a part of one: another replica may be asked."""


class ReplicaSilent(Exception):
    """It has the request or a part of it, and its time is over."""


class _KeptConnectionEnded(ReplicaUnreachable):
    """A connection from before had ended, and nobody had noticed: a new one may do."""


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

    # Predictions change nothing, so one may be sent again.
    @retry(
        retry=retry_if_exception_type(_KeptConnectionEnded),
        stop=stop_after_attempt(_MOST_TRIES),
        reraise=True,
    )
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
            silence_seconds: how long nothing may come once the body is sent.

        Raises:
            ReplicaUnreachable: no connection, or it ended before the answer did.
            ReplicaSilent: nothing came for so long, or the body was not taken.
        """
        connection = SimpleNamespace(is_kept=False)
        # aiohttp measures silence only when all of the body is sent.
        sending_seconds = _CONNECT_SECONDS + len(body) / _SLOWEST_BYTES_PER_SECOND
        try:
            async with asyncio.timeout(sending_seconds + silence_seconds):
                answer = await self._session.request(
                    method,
                    URL(f"http://{host}:{port}{target}", encoded=True),
                    data=io.BytesIO(body) if body else None,
                    headers=headers,
                    skip_auto_headers=("Content-Type", "User-Agent"),
                    allow_redirects=False,
                    trace_request_ctx=connection,
                    timeout=aiohttp.ClientTimeout(
                        connect=silence_seconds,
                        sock_connect=_CONNECT_SECONDS,
                        sock_read=silence_seconds,
                    ),
                )
            async with answer:
                return ReplicaAnswer(answer.status, answer.headers, await answer.read())
        except aiohttp.SocketTimeoutError as error:
            raise ReplicaSilent from error
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            raise _KeptConnectionEnded if connection.is_kept else ReplicaUnreachable from error
        except (aiohttp.ClientError, ValueError) as error:  # a bad address is a ValueError
            raise ReplicaUnreachable from error
        except TimeoutError as error:
            raise ReplicaSilent from error


@asynccontextmanager
async def replica_client() -> AsyncIterator[ReplicaClient]:
    """The connections of this process; they end with the block."""
    connector = aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, keepalive_timeout=_KEPT_SECONDS)
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_kept)
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[tracing]
    ) as session:
        yield ReplicaClient(session)


async def _note_kept(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    params: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    connection: Any = context.trace_request_ctx
    connection.is_kept = True
