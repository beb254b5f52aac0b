"""A node that changes while it is looked at, started or removed."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.providers.base import NodeSpec, NotYetRemoved
from app.providers.process import provider as of_processes
from app.providers.process.provider import NODE_VARIABLE, ProcessProvider

pytestmark = pytest.mark.anyio
_NODE = "tw-race-a1-n0"
_SLEEPER = "import time; time.sleep(600)"


class Forking(ProcessProvider):
    """Its node has a process; just after each look at them another one begins, so many times."""

    def __init__(self, nodes_dir: Path) -> None:
        super().__init__(nodes_dir, runner=nodes_dir / "runner.py")
        (nodes_dir / _NODE).mkdir()
        self.children: list[subprocess.Popen[bytes]] = []
        self.forks = 0
        self.fork()

    def fork(self) -> None:
        argv = [sys.executable, "-I", "-S", "-c", _SLEEPER]
        self.children.append(subprocess.Popen(argv, env={NODE_VARIABLE: _NODE}))

    def _processes_of(self, name: str) -> list[psutil.Process]:
        found = super()._processes_of(name)
        if self.forks:
            self.forks -= 1
            self.fork()
        return found


@pytest.fixture
def forking(tmp_path: Path) -> Iterator[Forking]:
    provider = Forking(tmp_path)
    yield provider
    for child in provider.children:
        child.kill()
        child.wait()


async def test_what_was_forked_while_a_node_was_removed_does_not_outlive_it(
    forking: Forking,
) -> None:
    forking.forks = 1

    await forking.remove(_NODE)

    assert len(forking.children) == 2
    assert all(child.poll() is not None for child in forking.children)
    assert await forking.list_names() == []


async def test_a_node_that_goes_on_forking_is_not_removed_yet(forking: Forking) -> None:
    forking.forks = 1000

    with pytest.raises(NotYetRemoved):
        await forking.remove(_NODE)

    assert await forking.list_names() == [_NODE]


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[int]:
    """The lock of a node, as somebody has it who asks whether its runner lives."""
    (tmp_path / _NODE).mkdir()
    lock = os.open(tmp_path / _NODE / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)
    yield lock
    os.close(lock)


async def test_who_asks_for_a_runner_at_the_same_time_is_none(tmp_path: Path, asked: int) -> None:
    provider = ProcessProvider(tmp_path, runner=tmp_path / "runner.py")

    assert not await provider.is_alive(_NODE)


async def test_who_asks_for_a_runner_does_not_keep_it_from_its_start(
    tmp_path: Path, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_lock = of_processes._try_lock

    def then_let_go(*arguments: Any) -> bool:
        is_mine = try_lock(*arguments)
        fcntl.flock(asked, fcntl.LOCK_UN)
        return is_mine

    monkeypatch.setattr(of_processes, "_try_lock", then_let_go)
    (tmp_path / "runner.py").write_text(_SLEEPER)
    provider = ProcessProvider(tmp_path, runner=tmp_path / "runner.py")
    spec = NodeSpec(name=_NODE, endpoint="", token="secret", cores=1.0, memory_bytes=0)
    try:
        await provider.ensure(spec)

        assert await provider.is_alive(_NODE)
    finally:
        await provider.remove(_NODE)
