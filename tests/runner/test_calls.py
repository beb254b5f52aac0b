"""Calls between runners: only who knows the secret is obeyed."""

import socket
import threading
from typing import Any

import pytest

from workers.runner.calls import CallRefused, Ending, call, receive_call, send_ending, send_output


def answered(
    secret: str, *, caller_secret: str, outputs: list[bytes]
) -> tuple[Ending | None, list[Any], list[bytes]]:
    """What a caller gets, what the called side saw, and the output that came."""
    seen: list[Any] = []
    came: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    seen.append(receive_call(connection, secret))
                except CallRefused as error:
                    seen.append(error)
                    return
                for data in outputs:
                    send_output(connection, data)
                send_ending(connection, Ending(None, 9))

        thread = threading.Thread(target=serve)
        thread.start()
        place = ("127.0.0.1", server.getsockname()[1])
        ending = call(place, caller_secret, {"want": "x\n"}, on_output=came.append)
        thread.join()
    return ending, seen, came


def test_output_comes_back_and_then_the_ending() -> None:
    ending, seen, came = answered(
        "s", caller_secret="s", outputs=[b"one\n", b"", b"\xff" * 100_000]
    )
    assert seen == [{"want": "x\n"}]
    assert b"".join(came) == b"one\n" + b"\xff" * 100_000
    assert ending == Ending(exit_code=None, signal=9)


def test_who_does_not_know_the_secret_is_refused() -> None:
    ending, seen, _ = answered("s", caller_secret="other", outputs=[])
    assert ending is None
    assert isinstance(seen[0], CallRefused)


def test_a_call_that_was_overheard_is_of_no_use_later() -> None:
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = ("127.0.0.1", server.getsockname()[1])
        thread = threading.Thread(target=lambda: call(place, "s", {"want": 1}, on_output=print))
        thread.start()
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"0" * 32 + b"\n")
            heard.append(connection.recv(1 << 16))
        thread.join()
    left, right = socket.socketpair()
    with left, right:
        left.sendall(heard[0])
        with pytest.raises(CallRefused):
            receive_call(right, "s")
