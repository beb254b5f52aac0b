"""A node starts only if it reaches the others of its attempt."""

import socket
from typing import Any

from tests.runner.conftest import Bench
from tests.runner.node_api import DEADLINE_SECONDS

NOBODY = "255.255.255.255"  # takes no connection, wherever this runs


def start_with(bench: Bench, *peers: dict[str, Any], seconds: float = 0.3) -> None:
    bench.script("print('it runs')")
    bench.api.order["ports"] = {"first": 21_700, "count": 1}
    bench.api.order["reach_seconds"] = seconds
    bench.api.start_at_ready = False
    bench.start()
    bench.api.event("ready")
    bench.api.answer_more = {"peers": list(peers)}
    bench.api.command = "start"


def test_a_peer_that_listens_and_one_that_does_not_yet_are_within_reach(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as open_:
        taken = open_.getsockname()[1]
        start_with(
            bench,
            {"node": 1, "address": "127.0.0.1", "port": free},
            {"node": 2, "address": "127.0.0.1", "port": taken},
        )
        assert bench.wait() == 0
    assert bench.api.text() == "it runs\n"


def test_a_peer_that_never_answers_is_named_and_nothing_starts(bench: Bench) -> None:
    start_with(bench, {"node": 1, "address": NOBODY, "port": 2222})

    failed = bench.api.event("failed")

    assert failed["code"] == "peers_unreachable"
    assert f"no answer from node 1 ({NOBODY}:2222) for 0.3 s" in failed["message"]
    assert bench.wait() != 0
    assert "started" not in [event["event"] for event in bench.api.events]


def test_a_peer_that_has_ended_meanwhile_is_not_missed(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(DEADLINE_SECONDS)
        there = {"node": 2, "address": "127.0.0.1", "port": server.getsockname()[1]}
        start_with(bench, there, {"node": 1, "address": NOBODY, "port": 2222}, seconds=20)
        server.accept()[0].close()  # it is asking by now
        bench.api.answer_more = {"peers": [there]}
        assert bench.wait() == 0
    assert bench.api.text() == "it runs\n"
