"""A node that changes while it is looked at, started or removed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.providers.base import NotYetRemoved
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
