"""Ranks that mpirun starts, through a whole stack with nodes as processes."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.mpi_scripts import ABORT, ONE_ENDS_BADLY, SUM, WAITING
from tests.e2e.scripts import await_status, await_true, cancel_all, run_of, submit

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
RUNNER = Path(__file__).parents[2] / "workers" / "runner" / "main.py"
WORKSPACE = "ranks"
MPI = {"type": "mpi"}


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    assert shutil.which("mpirun"), "these tests need Open MPI (Debian: openmpi-bin)"
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}", expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 3}
    talk.ask("PUT", f"/v1/workspaces/{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk, workspace=WORKSPACE)
    talk.close()


def start(talk: Talk, script: str, **more: Any) -> str:
    return submit(talk, script, workspace=WORKSPACE, distribution=MPI, **more)


def await_failed(talk: Talk, run_id: str) -> dict[str, Any]:
    run = await_status(talk, run_id, "Failed", workspace=WORKSPACE, seconds=120)
    return dict(run["error"])


def text(talk: Talk, run_id: str, path: str) -> str:
    address = f"/v1/workspaces/{WORKSPACE}/runs/{run_id}/{path}"
    return str(talk.client.get(address, headers=talk.authorization()).text)


def printed(talk: Talk, run_id: str, rank: int) -> str:
    return text(talk, run_id, f"logs?stream=user_logs/std_log_process_{rank}.txt")


def living(stack: Stack, run_id: str) -> list[list[str]]:
    """Command lines of all processes that carry the name of a node of the run."""
    found = []
    for process in psutil.process_iter():
        try:
            if run_id in process.environ().get("TRAINWRIGHT_NODE", ""):
                found.append(process.cmdline())
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found


def test_ranks_on_two_nodes_know_and_reach_each_other(stack: Stack, talk: Talk) -> None:
    run_id = start(
        talk, SUM, node_count=2, process_count_per_node=2, arguments=["a b", "'$HOME'"],
        environment_variables={"OWN": "x y"},
    )  # fmt: skip
    run = await_status(talk, run_id, "Completed", workspace=WORKSPACE)
    assert (run["error"], run["outputs_partial"]) == (None, False)
    hosts = set()
    for rank in range(4):
        assert printed(talk, run_id, rank) == (
            f"rank {rank} sees 10 a b '$HOME'\nto standard error\n"
        )
        seen = json.loads(text(talk, run_id, f"files/outputs/rank-{rank}.json"))
        numbers = [seen[f"OMPI_COMM_WORLD_{name}"] for name in
                   ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")]  # fmt: skip
        assert numbers == [str(rank), "4", str(rank % 2), "2"]
        first, second = seen["AZ_BATCH_HOST_LIST"].split(",")
        assert seen["AZ_BATCH_MASTER_NODE"].startswith(f"{first}:")
        assert seen["AZ_BATCH_IS_CURRENT_NODE_MASTER"] == ("true" if rank < 2 else "false")
        assert seen["CCP_NODES"] == f"2 {first} 2 {second} 2"
        assert seen["hosts"] == f"{first} slots=2\n{second} slots=2\n"
        assert seen["OWN"] == "x y"
        assert "TRAINWRIGHT_LAUNCH" not in seen
        assert seen["cwd"].endswith(f"-n{rank // 2}/work")
        hosts |= {first, second}
    assert len(hosts) == 2
    assert living(stack, run_id) == []


@pytest.mark.parametrize(("how", "exit_code", "name"), [("7", 7, None), ("kill", None, "SIGKILL")])
def test_the_rank_that_failed_first_is_named(
    stack: Stack, talk: Talk, tmp_path: Path, how: str, exit_code: int | None, name: str | None
) -> None:
    heard = tmp_path / "rank-0-was-heard"
    run_id = start(talk, ONE_ENDS_BADLY, node_count=2, arguments=[how, str(heard)])
    await_true(lambda: printed(talk, run_id, 0) == "at work\n")
    heard.touch()
    error = await_failed(talk, run_id)
    assert (error["code"], error["rank"], error["node"]) == ("process_failed", 1, "node 1")
    assert (error["exit_code"], error["signal"]) == (exit_code, name)
    assert error["last_lines"][:2] == ["at work", "about to fail"]
    assert printed(talk, run_id, 0) == "at work\n"
    assert living(stack, run_id) == []


def test_an_abort_is_named_and_ends_all(stack: Stack, talk: Talk) -> None:
    run_id = start(talk, ABORT, node_count=2)
    error = await_failed(talk, run_id)
    assert "9" in str(error["exit_code"]) or "errorcode 9" in error["message"], error
    assert living(stack, run_id) == []


def test_a_canceled_run_leaves_nothing(stack: Stack, talk: Talk) -> None:
    run_id = start(talk, WAITING, node_count=3, process_count_per_node=2)
    await_true(lambda: all("at work 6" in printed(talk, run_id, rank) for rank in range(6)))
    words = [" ".join(line) for line in living(stack, run_id)]
    assert sum("orted" in line for line in words) >= 2
    talk.ask("POST", f"/v1/workspaces/{WORKSPACE}/runs/{run_id}/cancel", expect=(202,))
    run = await_status(talk, run_id, "Canceled", workspace=WORKSPACE)
    assert run["error"] is None
    assert living(stack, run_id) == []
    await_true(lambda: not list((stack.data_dir / "nodes").glob(f"*{run_id}*")))


def test_a_lost_node_means_a_new_attempt_of_all_ranks(stack: Stack, talk: Talk) -> None:
    run_id = start(talk, WAITING, node_count=2)
    await_true(lambda: "at work 2" in printed(talk, run_id, 1))
    killed = [
        process
        for process in psutil.process_iter(["cmdline", "cwd"])
        if (process.info["cmdline"] or [])[-1:] == [str(RUNNER)]
        and f"{run_id}-a1-n1" in (process.info["cwd"] or "")
    ]
    os.kill(killed[0].pid, signal.SIGKILL)
    await_true(lambda: run_of(talk, run_id, workspace=WORKSPACE)["attempt"] == 2)
    run = await_status(talk, run_id, "Completed", workspace=WORKSPACE)
    assert run["attempt"] == 2
    assert living(stack, run_id) == []


def test_without_open_mpi_the_run_says_what_to_install(talk: Talk) -> None:
    run_id = start(talk, SUM, node_count=2, environment_variables={"PATH": "/nowhere"})
    error = await_failed(talk, run_id)
    assert error["code"] == "mpi_missing"
    assert "openmpi-bin" in error["message"]
