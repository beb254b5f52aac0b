"""Calls between the processes of one attempt: who knows its secret may call.

The side that is called sends a nonce; the caller answers with one line of JSON and its
HMAC-SHA-256 over both, so that the secret never travels. What comes back are frames: output of
what was started, and at last how it ended.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

CONTACT_VARIABLE = "TRAINWRIGHT_LAUNCH"
"""Names the file in which a node's helpers find the places of all runners, and the secret."""
CALL_SECONDS = 30.0
MOST_LINE_BYTES = 4 << 20
_OUTPUT = b"o"
_END = b"e"
_HEADER = struct.Struct("!cI")


class CallRefused(Exception):
    """The caller does not know the secret, or does not speak this protocol."""


class Ending(NamedTuple):
    """How a process ended: by an exit code, or by the number of a signal."""

    exit_code: int | None
    signal: int | None


def receive_call(connection: socket.socket, secret: str) -> dict[str, Any]:
    """Return what the other side asks for, once it has proved that it knows the secret.

    Raises:
        CallRefused: it has not.
        OSError: it went away, or took too long.
    """
    connection.settimeout(CALL_SECONDS)
    nonce = os.urandom(16).hex().encode()
    connection.sendall(nonce + b"\n")
    with connection.makefile("rb") as reader:
        line = reader.readline(MOST_LINE_BYTES)
    if not line:
        # A peer that only asks whether it reaches this node.
        raise ConnectionAbortedError("the caller said nothing")
    proof, _, body = line.rstrip(b"\n").partition(b" ")
    if not hmac.compare_digest(proof, _proof(secret, nonce, body)):
        raise CallRefused("the caller does not know the secret of this attempt")
    call = json.loads(body)
    if not isinstance(call, dict):
        raise CallRefused("a call is a JSON object")
    connection.settimeout(None)
    return call


def send_output(connection: socket.socket, data: bytes) -> None:
    """Send output of what was started; raises OSError when the caller is gone."""
    connection.sendall(_HEADER.pack(_OUTPUT, len(data)) + data)


def send_ending(connection: socket.socket, ending: Ending) -> None:
    """Send how it ended; raises OSError when the caller is gone."""
    data = json.dumps(ending._asdict()).encode()
    connection.sendall(_HEADER.pack(_END, len(data)) + data)


def call(
    place: tuple[str, int],
    secret: str,
    wanted: dict[str, Any],
    *,
    on_output: Callable[[bytes], object],
) -> Ending | None:
    """Ask a runner for something, and return how it ended; None when the runner went away.

    Args:
        place: address and port of the runner.
        secret: of the attempt.
        wanted: what is asked for.
        on_output: is given output as it comes.

    Raises:
        OSError: the runner cannot be reached.
    """
    connection = socket.create_connection(place, CALL_SECONDS)
    with connection, connection.makefile("rb") as reader:
        nonce = reader.readline(MOST_LINE_BYTES).rstrip(b"\n")
        body = json.dumps(wanted).encode()
        connection.sendall(_proof(secret, nonce, body) + b" " + body + b"\n")
        connection.settimeout(None)
        while len(header := reader.read(_HEADER.size)) == _HEADER.size:
            kind, length = _HEADER.unpack(header)
            data = reader.read(length)
            if kind == _END:
                return Ending(**json.loads(data))
            on_output(data)
    return None


def _proof(secret: str, nonce: bytes, body: bytes) -> bytes:
    return hmac.new(secret.encode(), nonce + b" " + body, hashlib.sha256).hexdigest().encode()
