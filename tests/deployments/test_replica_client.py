"""What is sent to replicas, and what comes of replicas that do not answer."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.deployments import replica_client as replica_client_module
from app.deployments.replica_client import (
    ReplicaAnswer,
    ReplicaSilent,
    ReplicaUnreachable,
    replica_client,
)

pytestmark = pytest.mark.anyio
Talks = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(talks: Talks) -> AsyncIterator[int]:
    """A server whose connections are `talks`; yields its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talks(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def head_and_body(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().splitlines():
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return head, await reader.readexactly(length)


async def asked(port: int, target: str = "/v1/predict", **more: Any) -> ReplicaAnswer:
    given: dict[str, Any] = {"body": b"{}", "headers": {}, "silence_seconds": 30.0} | more
    async with replica_client() as client:
        return await client.ask("POST", "127.0.0.1", port, target, **given)


async def test_a_request_is_sent_as_it_is() -> None:
    seen: list[tuple[bytes, bytes]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head_and_body(reader))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()

    body = os.urandom(3_000_000)
    async with listening(talk) as port:
        target = "/v2/models/a%2Fb/..%2Finfer?x=%7E"
        answer = await asked(port, target, body=body, headers={"Authorization": "Bearer x"})

    assert (answer.status, answer.content, answer.headers["location"]) == (302, b"ok", "/elsewhere")
    ((head, got),) = seen  # no second one: it goes nowhere else
    assert head.startswith(f"POST {target} HTTP/1.1\r\n".encode())
    assert b"Authorization: Bearer x" in head
    assert b"content-type" not in head.lower()
    assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()


async def test_a_replica_that_says_nothing_is_silent() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_and_body(reader)
        await reader.read()

    async with listening(talk) as port:
        with pytest.raises(ReplicaSilent):
            await asked(port, silence_seconds=0.2)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"?\r\n"]
)
async def test_a_replica_that_breaks_off_is_unreachable(said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_and_body(reader)
        writer.write(said)
        await writer.drain()

    async with listening(talk) as port:
        with pytest.raises(ReplicaUnreachable):
            await asked(port)


async def test_a_kept_connection_that_has_ended_is_no_failure() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_and_body(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        # Kept, as far as the client knows, and closed when it is used again.
        await reader.read(1)

    async with listening(talk) as port, replica_client() as client:
        for _ in range(3):
            answer = await client.ask(
                "POST", "127.0.0.1", port, "/", body=b"{}", headers={}, silence_seconds=30.0
            )
            assert answer.content == b"ok"


async def test_a_body_that_nobody_takes_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_client_module, "_CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(replica_client_module, "_SLOWEST_BYTES_PER_SECOND", 1e9)
    is_over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await is_over.wait()

    async with listening(talk) as port:
        with pytest.raises(ReplicaSilent):
            await asked(port, body=bytes(30_000_000), silence_seconds=0.2)
        is_over.set()


@pytest.mark.parametrize(("host", "port"), [("a..b", 80), ("127.0.0.1", 99_999)])
async def test_an_address_that_is_none_is_no_replica(host: str, port: int) -> None:
    async with replica_client() as client:
        with pytest.raises(ReplicaUnreachable):
            await client.ask("POST", host, port, "/", body=b"", headers={}, silence_seconds=1.0)


async def test_where_nobody_listens_is_no_replica() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(talk) as port:
        pass

    with pytest.raises(ReplicaUnreachable):
        await asked(port)
