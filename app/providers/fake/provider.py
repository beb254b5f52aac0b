"""A provider of which a test says how large it is and what goes wrong at it.

It is for tests of the planner and of faults, and for nothing else: no setting selects it, and no
module of the product imports it (import-linter checks that). Its nodes are real runners without
any isolation, or, without a runner's program, mere entries in memory.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from app.providers.base import (
    LOCAL,
    Capacity,
    Host,
    HostLost,
    HostState,
    NodeSpec,
    NotYetRemoved,
)
from app.providers.fake.faults import Fault, Faults, Verb

_KILL_SECONDS = 5.0


class FakeProvider:
    """Nodes that live in this process's memory and, if a runner is given, as its children."""

    name = "fake"

    def __init__(
        self, *, capacity: Capacity, folder: Path | None = None, runner: Path | None = None
    ) -> None:
        """Make the provider.

        Args:
            capacity: what it says that it has.
            folder: where the nodes' folders lie; needed with a runner.
            runner: the runner's program; None: nodes are alive and do nothing.
        """
        self.size = capacity
        self.machines: list[Host] = []
        """The hosts that there are; empty: one of the size above."""
        self.faults = Faults()
        self.specs: dict[str, NodeSpec] = {}
        """What each node that is left was asked to be."""
        self.volumes: dict[str, bytes] = {}
        """The archives that volumes were filled with."""
        self._folder = folder
        self._runner = runner
        self._running: set[str] = set()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._networks: set[str] = set()

    def lose(self, name: str) -> None:
        """Let a node vanish without a trace, as when somebody removes its container by hand."""
        self._end(name)
        self._forget(name)

    async def capacity(self) -> Capacity:
        """What the test said."""
        async with self._call(Verb.CAPACITY):
            return self.size

    async def hosts(self) -> list[Host]:
        """One machine of that size, unless the test said otherwise."""
        async with self._call(Verb.CAPACITY):
            return self.machines or [Host(name=LOCAL, capacity=self.size)]

    async def ensure(self, spec: NodeSpec) -> None:
        """Start the node unless it runs."""
        self._check_host(spec.host)
        async with self._call(Verb.ENSURE, spec.name):
            self.specs[spec.name] = spec
            if spec.network is not None:
                self._networks.add(spec.network)
            if not self._lives(spec.name):
                self._start(spec)

    async def stop(self, name: str, *, host: str = LOCAL) -> None:
        """Ask the runner to end; a node without one ends at once."""
        self._check_host(host)
        async with self._call(Verb.STOP, name):
            child = self._children.get(name)
            if child is None:
                self._running.discard(name)
            elif child.poll() is None:
                child.send_signal(signal.SIGTERM)

    async def remove(self, name: str, *, host: str | None = None) -> None:
        """Kill the node and forget it."""
        self._check_host(host)
        async with self._call(Verb.REMOVE, name):
            await asyncio.to_thread(self._end, name)
            self._forget(name)

    async def is_alive(self, name: str, *, host: str = LOCAL) -> bool:
        """Whether the node was started and has not ended."""
        self._check_host(host)
        async with self._call(Verb.IS_ALIVE, name):
            return self._lives(name)

    async def address(self, name: str) -> str | None:
        """The loopback address."""
        async with self._call(Verb.ADDRESS, name):
            return "127.0.0.1" if self._lives(name) else None

    async def list_names(self) -> list[str]:
        """The nodes that were started and not removed."""
        async with self._call(Verb.LIST):
            return sorted(self.specs)

    async def list_networks(self) -> list[str]:
        """The networks that nodes were started in."""
        async with self._call(Verb.LIST):
            return sorted(self._networks)

    async def remove_network(self, name: str) -> None:
        """Forget a network that no node is in."""
        async with self._call(Verb.REMOVE, name):
            self._forget_network(name)

    def _check_host(self, name: str | None) -> None:
        for machine in self.machines:
            if machine.name == name and machine.state == HostState.DOWN:
                raise HostLost(f"Host {name} is down.")

    async def fill_volume(
        self, name: str, archive: Iterable[bytes], *, image: str, host: str = LOCAL
    ) -> None:
        """Keep the archive."""
        async with self._call(Verb.FILL, name):
            self.volumes[name] = await asyncio.to_thread(b"".join, archive)

    async def list_volumes(self) -> list[str]:
        """The names of those that were filled."""
        async with self._call(Verb.LIST):
            return sorted(self.volumes)

    async def remove_volume(self, name: str, *, host: str | None = None) -> None:
        """Forget an archive."""
        async with self._call(Verb.REMOVE, name):
            if any(each.volume == name for spec in self.specs.values() for each in spec.inputs):
                raise NotYetRemoved(name)
            self.volumes.pop(name, None)

    @asynccontextmanager
    async def _call(self, verb: Verb, node: str = "") -> AsyncIterator[None]:
        fault = self.faults.take(verb, node) or Fault(verb)
        await asyncio.sleep(fault.delay_seconds)
        if fault.error is None or fault.is_carried_out:
            yield
        if fault.error is not None:
            raise fault.error

    def _start(self, spec: NodeSpec) -> None:
        if self._runner is None or self._folder is None:
            self._running.add(spec.name)
            return
        folder = self._folder / spec.name
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(spec.token)
        environment = {
            "PATH": os.environ["PATH"],
            "TRAINWRIGHT_NODE": spec.name,
            "TRAINWRIGHT_ENDPOINT": spec.endpoint,
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
        }
        self._children[spec.name] = subprocess.Popen(
            [sys.executable, "-I", str(self._runner)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _lives(self, name: str) -> bool:
        child = self._children.get(name)
        return name in self._running if child is None else child.poll() is None

    def _end(self, name: str) -> None:
        self._running.discard(name)
        child = self._children.get(name)
        if child is None or child.poll() is not None:
            return
        family = [*psutil.Process(child.pid).children(recursive=True)]
        child.kill()
        child.wait()
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        if psutil.wait_procs(family, timeout=_KILL_SECONDS)[1]:
            raise NotYetRemoved(name)

    def _forget(self, name: str) -> None:
        self._children.pop(name, None)
        spec = self.specs.pop(name, None)
        if self._folder is not None:
            shutil.rmtree(self._folder / name, ignore_errors=True)
        if spec is not None and spec.network is not None:
            self._forget_network(spec.network)

    def _forget_network(self, name: str) -> None:
        if all(spec.network != name for spec in self.specs.values()):
            self._networks.discard(name)
