"""Bytes that take longer on their way than an answer may take arrive all the same."""

import errno
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.conftest import Bench
from workers.runner.api import Channel, Endpoint
from workers.runner.control import Control

ANSWER_SECONDS = 3.0
READ_AT_ONCE_BYTES = 1 << 16
PAUSE_SECONDS = 0.05
VALUE = "x" * (8 << 20)
SYSTEM_BYTES = 2 << 20
"""So much at most lies with the system when the last byte has been given to it."""
PACKET_BYTES = 1400
"""As small as those of a network: the system takes little over at once."""


def _read_slowly(listening: socket.socket) -> None:
    with listening.accept()[0] as connection, connection.makefile("rb") as reader:
        size_bytes = 0
        while line := reader.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size_bytes = int(value)
        left = size_bytes
        while left and (piece := reader.read(min(left, READ_AT_ONCE_BYTES))):
            left -= len(piece)
            if left > SYSTEM_BYTES:
                time.sleep(PAUSE_SECONDS)
        body = json.dumps({"came": size_bytes - left}).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Channel]:
    """To a server that takes a body in several times the seconds in which it has to answer."""
    token = tmp_path / "token"
    token.write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_AT_ONCE_BYTES)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, PACKET_BYTES)
        server = threading.Thread(target=_read_slowly, args=(listening,), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        channel = Endpoint(url, str(token), Control()).channel()
        yield channel
        channel.close()
        server.join(timeout=60)


def test_a_disk_that_is_full_is_no_broken_connection(bench: Bench) -> None:
    token = bench.node_dir.with_name("token")
    token.write_text(bench.api.token)
    channel = Endpoint(bench.api.url, str(token), Control()).channel()

    def sink(chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        channel.download(f"/blobs/{bench.api.add_blob(VALUE.encode())}", sink)
    channel.close()


def test_a_body_that_goes_on_moving_is_not_given_up(channel: Channel) -> None:
    body = {"value": VALUE}
    answer = channel.post_json("/records", body, timeout_seconds=ANSWER_SECONDS)
    assert answer == {"came": len(json.dumps(body))}
