"""What each process of a run did, and because of whom it was stopped."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.runs.processes import ProcessState, processes_of
from app.runtimes.distribution import parse
from app.runtimes.tasks import plan_tasks
from app.tables.run import RunNode
from tests.runs.test_faults import World, fake_world

PS = parse({"type": "parameter_server", "worker_count": 1, "parameter_server_count": 1})
TASKS = plan_tasks(PS, node_count=2)
CLEAN = {"exit_code": 0, "stopped": False, "ended_at": 9.0}
TOLD = {"exit_code": None, "signal": "SIGTERM", "stopped": True, "ended_at": 10.0}


def node(index: int, state: str, result: dict[str, Any] | None = None) -> RunNode:
    return RunNode(name=f"n{index}", node_index=index, state=state, result=result, ports=[])


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (node(1, "Launched"), ProcessState.WAITING),
        (node(1, "Running"), ProcessState.RUNNING),
        (node(1, "Running", {"ended": {"0": CLEAN}}), ProcessState.ENDED),
        (node(1, "Lost"), ProcessState.LOST),
        (node(1, "Finished", {"processes": [], "reason": "peer_failed"}), ProcessState.STOPPED),
    ],
)
def test_what_a_process_is_doing(row: RunNode, state: ProcessState) -> None:
    found = processes_of(TASKS, [node(0, "Running"), row], error=None)
    assert [each.rank for each in found] == [0, 1]
    assert found[1].state is state


def test_a_server_is_stopped_because_its_worker_is_done() -> None:
    worker = node(0, "Finished", {"processes": [CLEAN], "reason": None})
    server = node(1, "Finished", {"processes": [TOLD], "reason": "peers_done"})
    ended, stopped = processes_of(TASKS, [worker, server], error=None)
    assert (ended.state, ended.stopped_because) == (ProcessState.ENDED, None)
    assert stopped.state is ProcessState.STOPPED
    assert stopped.signal == "SIGTERM"
    assert stopped.stopped_because == "the processes that the run waits for had ended"


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=0) as world:
        yield world


@pytest.mark.anyio
async def test_the_others_are_stopped_because_of_the_first(world: World) -> None:
    run_id = await world.submit(node_count=2, distribution={"type": "pytorch"})
    names = [f"tw-{run_id}-a1-n{index}" for index in range(2)]
    await world.until(run_id, lambda _: set(names) <= set(world.fake.specs))
    place = {"address": "127.0.0.1", "ports": [6105]}
    assert await world.say(names[0], "ready", **place) == 200
    assert await world.say(names[1], "ready", address="127.0.0.1", ports=[]) == 200
    for name in names:
        assert await world.say(name, "started") == 200
    bad = {"exit_code": 7, "signal": None, "stopped": False, "ended_at": 1e9, "oom": False}
    told = {"exit_code": None, "signal": 15, "stopped": True, "ended_at": 1e9 + 1}
    await world.say(names[1], "exited", processes=[bad], reason=None)
    await world.say(names[0], "exited", processes=[told], reason="peer_failed")

    answer = await world.api.client.get(f"runs/{run_id}/processes")

    first, second = answer.json()["items"]
    assert (first["state"], first["signal"], first["node"]) == ("stopped", "SIGTERM", "node 0")
    assert first["stopped_because"] == "rank 1 (process 1, node 1) exited with code 7"
    assert (second["state"], second["exit_code"], second["stopped_because"]) == ("ended", 7, None)
    assert second["stream"] == "user_logs/std_log_process_1.txt"
    none = await world.api.client.get(f"runs/{run_id}/processes", params={"attempt": 9})
    assert (none.status_code, none.json()["code"]) == (404, "attempt_not_found")
