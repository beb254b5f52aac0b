"""Heads of requests that never end: the connection does, and the server keeps little of them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn

from app.kernel import http_protocol
from app.kernel.http_protocol import MOST_HEAD_BYTES, BoundedHttpProtocol

pytestmark = pytest.mark.anyio

Door = Callable[[], Any]


async def hello(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hello, http=BoundedHttpProtocol, lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield listening.getsockname()[1]
    server.should_exit = True
    await serving


async def flood(port: int, first: bytes, piece: bytes, *, most_bytes: int) -> tuple[bytes, int]:
    """Send pieces until the server has had enough; the answer, and how much was sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sent = 0
    with contextlib.suppress(ConnectionError):
        writer.write(first)
        while sent < most_bytes and not reader.at_eof():
            writer.write(piece)
            sent += len(piece)
            await writer.drain()
            await asyncio.sleep(0)
    answer = b""
    with contextlib.suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer, sent


@pytest.mark.parametrize(
    ("first", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x" * 2**16),
        (b"GET /", b"x" * 2**16),
        (b"GET / HTTP/1.1\r\n", b"X-One: y\r\n" * 5000),
    ],
    ids=["one value", "the address", "many fields"],
)
async def test_an_endless_head(port: int, first: bytes, piece: bytes) -> None:
    answer, sent = await flood(port, first, piece, most_bytes=2**30)
    assert sent < 2**24, "the server went on reading"
    assert not answer or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400")), answer
    assert MOST_HEAD_BYTES < 2**24


async def test_a_head_that_takes_for_ever(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    for first in (b"", b"GET / HTTP/1.1\r\nHo"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(first)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_requests_go_on_over_one_connection(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b"x" * (2 * MOST_HEAD_BYTES)
    for _ in range(3):
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body)
        answer = await asyncio.wait_for(reader.readuntil(b"hello"), 5)
        assert answer.startswith(b"HTTP/1.1 200")
        await asyncio.sleep(0.3)
    writer.close()


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: +1\r\n\r\nx",
        b"X: a\rb\r\n\r\n",
        b"X: a\x00b\r\n\r\n",
        b"X y: a\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ],
)
async def test_what_two_programs_may_read_in_two_ways_is_refused(port: int, fields: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + fields)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 400"), answer[:100]
    writer.close()
