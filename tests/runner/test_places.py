"""Nodes that share a machine keep ports apart, and learn of the others at the start."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runner.conftest import Bench
from tests.runner.node_api import NodeApi


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Bench]:
    """A second node, with a control plane of its own."""
    folder = tmp_path / "other"
    folder.mkdir()
    api = NodeApi()
    bench = Bench(folder, api)
    yield bench
    bench.close()
    api.close()


def await_ready(bench: Bench, *, first: int, count: int) -> dict[str, Any]:
    bench.api.order["ports"] = {"first": first, "count": count}
    bench.api.start_at_ready = False
    bench.start()
    return bench.api.event("ready")


def test_two_nodes_at_once_take_other_ports_and_addresses(bench: Bench, other: Bench) -> None:
    with socket.create_server(("127.0.0.1", 21_400)):
        readies = [await_ready(node, first=21_400, count=3) for node in (bench, other)]
        ports = [port for ready in readies for port in ready["ports"]]
        assert len(set(ports)) == 6
        assert 21_400 not in ports
    addresses = {ready["address"] for ready in readies}
    assert len(addresses) == 2
    assert all(address.startswith("127.") for address in addresses)


def test_ports_are_free_again_when_the_runner_is_gone(bench: Bench, other: Bench) -> None:
    before = await_ready(bench, first=21_500, count=2)["ports"]
    assert bench.runner is not None
    bench.runner.kill()
    bench.runner.wait()
    assert await_ready(other, first=21_500, count=2)["ports"] == before


def test_what_comes_with_the_start_is_in_the_environment(bench: Bench) -> None:
    for _ in range(2):
        bench.script("import os; print(os.environ['TF_CONFIG'], os.environ['MINE'])")
    for process in bench.api.order["processes"]:
        process["environment"] = {"MINE": "kept", "TF_CONFIG": "old"}
    await_ready(bench, first=21_600, count=2)
    told = [{"TF_CONFIG": "zero"}, {"TF_CONFIG": "one"}]
    bench.api.answer_more = {"environments": told}
    bench.api.command = "start"
    assert bench.wait() == 0
    assert bench.api.text() == "zero kept\n"
    assert bench.api.text("user_logs/std_log_1.txt") == "one kept\n"


def test_the_others_are_done(bench: Bench) -> None:
    bench.process(sys.executable, "-c", "pass")
    bench.process(sys.executable, "-c", "import time; time.sleep(600)")
    bench.start()
    ended = bench.api.event("process_ended")
    assert (ended["place"], ended["exit_code"], ended["stopped"]) == (0, 0, False)
    bench.api.answer_more = {"reason": "peers_done"}
    bench.api.command = "stop"
    assert bench.wait() == 0
    exited = bench.api.event("exited")
    assert exited["reason"] == "peers_done"
    assert [process["stopped"] for process in exited["processes"]] == [False, True]
    assert bench.api.outputs is not None
    assert bench.api.outputs["partial"] is False


def test_a_stop_before_the_start_keeps_its_reason(bench: Bench) -> None:
    bench.script("print('never')")
    await_ready(bench, first=21_700, count=1)
    bench.api.answer_more = {"reason": "peer_failed"}
    bench.api.command = "stop"
    assert bench.wait() == 0
    exited = bench.api.event("exited")
    assert (exited["reason"], exited["processes"]) == ("peer_failed", [])
    assert bench.api.text() == ""


def test_streams_that_every_node_has_are_named_after_the_node(bench: Bench) -> None:
    bench.api.order["stream_prefix"] = "nodes/1/"
    bench.script("print('out'); open('logs/own.txt', 'w').write('own')")
    assert bench.run() == 0
    assert bench.api.text() == "out\n"
    assert bench.api.text("nodes/1/logs/own.txt") == "own"
