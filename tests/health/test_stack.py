"""A whole stack as it is watched: what is told of one run, and of a database that hangs."""

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import psutil
import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.scripts import await_status, await_true, submit
from tests.health.collector import Collector, collecting
from tests.health.figures import value

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCRIPT = 'import os; print(os.environ["TRACEPARENT"])'


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def worker_door() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, collector: Collector, worker_door: str
) -> Iterator[Stack]:
    stack = Stack(
        tmp_path_factory.mktemp("watched").resolve() / "data",
        settings={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TRAINWRIGHT_WORKER_LISTEN": worker_door,
        },
    )
    stack.start()
    yield stack
    assert stack.stop() == [], "the stack left processes behind"


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", "/v1/workspaces/watched", expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", "/v1/workspaces/watched/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    talk.close()


def lines(stack: Stack, child: str) -> list[dict[str, Any]]:
    """What a child has logged in the form in which the service logs."""
    text = (stack.data_dir / "logs" / f"{child}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_a_run_can_be_followed_through_traces_logs_and_figures(
    stack: Stack, talk: Talk, collector: Collector, worker_door: str
) -> None:
    talk.client.headers["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
    run_id = submit(talk, SCRIPT, workspace="watched")
    del talk.client.headers["traceparent"]
    await_status(talk, run_id, "Completed", workspace="watched")

    def found() -> dict[str, str]:
        return {span.name: span.service for span in collector.of(TRACE)}

    wanted = {
        "POST /v1/workspaces/{workspace}/runs": "trainwright-api",
        "message": "trainwright-worker",
        "attempt 1": "trainwright-worker",
        "prepare": "trainwright-worker",
        "build environment": "trainwright-worker",
        "set up node": "trainwright-runner",
        "process 0": "trainwright-runner",
        "finalize": "trainwright-worker",
    }
    await_true(lambda: wanted.items() <= found().items())
    spans = {span.name: span for span in collector.of(TRACE)}
    submission, message, attempt = (
        spans[name] for name in ("POST /v1/workspaces/{workspace}/runs", "message", "attempt 1")
    )
    assert message.parent_id == submission.span_id
    assert submission.began_ns <= message.began_ns <= message.ended_ns
    path = f"/v1/workspaces/watched/runs/{run_id}/logs?stream=user_logs/std_log.txt"
    printed = talk.client.get(path, headers=talk.authorization()).text
    assert printed.strip() == f"00-{TRACE}-{attempt.span_id}-01"

    names = {"run_id": run_id, "trace_id": TRACE}
    (submitted,) = [line for line in lines(stack, "api") if line["event"] == "run_submitted"]
    assert names.items() <= submitted.items()
    assert submitted["request_id"]
    changes = [line for line in lines(stack, "worker") if line.get("row_id") == run_id]
    said = {line["status"] for line in changes if line["event"] == "run_changed"}
    assert said >= {"Preparing", "Queued", "Completed"}
    of_nodes = [line for line in lines(stack, "api") if line.get("status") == "Running"]
    assert [line["event"] for line in of_nodes] == ["run_changed"]
    assert all(line["request_id"] for line in of_nodes)
    for line in [*changes, *of_nodes]:
        assert names.items() <= line.items()

    figures = httpx2.get(f"http://{worker_door}/metrics", trust_env=False).text
    assert value(figures, "trainwright_reconciles_total", table="runs", outcome="done")
    assert value(figures, "trainwright_image_build_seconds_count", outcome="ready") == 1
    of_api = talk.client.get("/metrics", headers=talk.authorization()).text
    assert value(of_api, "trainwright_runs", status="Completed") == 1
    assert value(of_api, "trainwright_run_wait_seconds_count") == 1


def test_a_database_that_hangs_makes_the_api_unready_and_kills_nobody(
    stack: Stack, worker_door: str
) -> None:
    def status(address: str) -> int:
        return httpx2.get(address, trust_env=False, timeout=20).status_code

    assert status(f"http://{worker_door}/readyz") == 200
    data = str(stack.data_dir / "postgres")
    servers = [
        p for p in psutil.process_iter(["cmdline"]) if data in " ".join(p.info.get("cmdline") or [])
    ]
    assert servers
    family = [each for server in servers for each in (server, *server.children(recursive=True))]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        await_true(lambda: status(f"{stack.address}/readyz") == 503)
        assert status(f"{stack.address}/healthz") == 200
        assert status(f"http://{worker_door}/healthz") == 200
    finally:
        for process in family:
            process.send_signal(signal.SIGCONT)
    await_true(lambda: status(f"{stack.address}/readyz") == 200)
    assert status(f"http://{worker_door}/readyz") == 200
