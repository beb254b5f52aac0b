"""The whole stack: started, hurt, stopped and started again."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.embedded.stacks import (
    DEADLINE_SECONDS,
    RunningStack,
    answers,
    running_stack,
    start_up,
    wait_for,
)

CHILDREN = {"postgres": "postgres", "broker": "valkey", "api": " api ", "worker": "celery"}


def odd_folder(folder: Path) -> Path:
    """Return a data folder whose path is too long for sockets and has odd characters."""
    above = folder / ("a folder with a long näme, " * 4).strip()
    above.mkdir()
    return above / "data"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return odd_folder(tmp_path_factory.mktemp("up"))


@pytest.fixture(scope="module")
def stack(data_dir: Path) -> Iterator[RunningStack]:
    with running_stack(data_dir) as stack:
        yield stack


@pytest.fixture(scope="module")
def address(stack: RunningStack) -> str:
    return stack.wait_until_ready()


def test_first_start_shows_a_token_and_answers(stack: RunningStack, address: str) -> None:
    assert answers(address)
    assert re.search(r"first token  twt_\S{20,}", stack.said())


def test_second_start_on_the_same_folder_is_refused(
    stack: RunningStack, address: str, data_dir: Path, tmp_path: Path
) -> None:
    output = tmp_path / "second"
    second = start_up(data_dir, "--port", "0", output=output)
    assert second.wait(timeout=DEADLINE_SECONDS) == 1
    assert f"already running on {data_dir} (process {stack.process.pid})" in output.read_text()
    assert answers(address)


@pytest.mark.parametrize("name", list(CHILDREN))
def test_killed_child_comes_back(stack: RunningStack, address: str, name: str) -> None:
    killed = stack.child(CHILDREN[name])
    killed.kill()
    # The socket stays open meanwhile: clients of the API wait, none is refused.
    wait_for(lambda: answers(address), what=stack.said, alive=stack.process)
    wait_for(lambda: f"{name} was ended by SIGKILL; restart" in stack.said(), what=stack.said)
    wait_for(lambda: _is_back(stack, name, killed.pid), what=stack.said)


def _is_back(stack: RunningStack, name: str, old_pid: int) -> bool:
    try:
        return stack.child(CHILDREN[name]).pid != old_pid
    except AssertionError:
        return False


def test_token_commands_reach_the_running_stack(address: str, data_dir: Path) -> None:
    secret = _trainwright(data_dir, "token", "create", "for a test").strip()
    assert secret.startswith("twt_")
    listed = _trainwright(data_dir, "token", "list")
    row = next(line for line in listed.splitlines() if "for a test" in line)
    assert secret not in listed
    _trainwright(data_dir, "token", "revoke", row.split()[0])
    after = next(
        line
        for line in _trainwright(data_dir, "token", "list").splitlines()
        if "for a test" in line
    )
    assert len(after.split()) == len(row.split()) + 1


def test_logs_hold_no_token(stack: RunningStack, address: str, data_dir: Path) -> None:
    secret = re.search(r"twt_\S+", stack.said())
    assert secret is not None
    for log in (data_dir / "logs").iterdir():
        assert secret.group() not in log.read_text(errors="replace")


def test_stop_leaves_nothing_and_a_new_start_goes_on(tmp_path: Path) -> None:
    data_dir = odd_folder(tmp_path)
    with running_stack(data_dir) as first:
        first.wait_until_ready()
        before = _trainwright(data_dir, "token", "list")
        assert first.stop(signal.SIGINT) == []
    assert first.process.returncode == 0

    with running_stack(data_dir) as again:
        again.wait_until_ready()
        assert "first token" not in again.said()
        assert _trainwright(data_dir, "token", "list") == before
        # The kernel takes the children along, and the lock file of PostgreSQL is stale from now on.
        assert again.stop(signal.SIGKILL) == []

    with running_stack(data_dir) as third:
        assert answers(third.wait_until_ready())
        assert _trainwright(data_dir, "token", "list") == before
        assert third.stop(signal.SIGTERM) == []
    assert third.process.returncode == 0


def test_stop_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "data", "--port", "0")
    wait_for((tmp_path / "data" / "logs" / "postgres.log").exists, alive=stack.process)
    assert stack.stop(signal.SIGTERM) == []
    assert "ready" not in stack.said()
    assert stack.process.returncode == 0


def test_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        output = tmp_path / "out"
        process = start_up(tmp_path / "data", "--port", str(port), output=output)
        assert process.wait(timeout=DEADLINE_SECONDS) == 1
    assert f"port {port} on 127.0.0.1 is taken" in output.read_text()
    assert "--port" in output.read_text()


def _trainwright(data_dir: Path, *arguments: str) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=REPOSITORY,
        env={"TRAINWRIGHT_DATA_DIR": str(data_dir), "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout
