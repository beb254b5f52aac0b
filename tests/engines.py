"""Docker engines of a test's own, as many as it wants, each as if on a machine of its own.

An engine lives in namespaces (network, mounts, processes, host name) that one process holds
open: it has its own folders, its own `/etc/docker` and a network card on a bridge of this machine.
With that process all of it goes: the engine, its containers, its mounts. Needs root, and Debian's
docker.io, iptables and iproute2.
"""

import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from tests import docker_engine
from tests.machines import (
    NO_MACHINES,
    WAIT_SECONDS,
    NoEngine,
    can_be_made,
    cgroup,
    entering,
    machine,
    run,
    wait_for,
)

_PORT = 2375
_FIRST_HOST = 10


@dataclass
class Engine:
    """A Docker engine of its own.

    Attributes:
        name: its host name.
        address: of its network card.
        folder: everything that it keeps on disk.
    """

    name: str
    address: str
    folder: Path
    options: tuple[str, ...]
    card: str
    holder: int = 0
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where it answers, whether or not it is cut off."""
        return f"unix://{self.folder}/docker.sock"

    @property
    def network_url(self) -> str:
        """Where it answers over the network; without options, neither encrypted nor guarded."""
        return f"tcp://{self.address}:{_PORT}"

    def client(self) -> Any:
        """A client of it; close it."""
        return docker.APIClient(base_url=self.url, version="auto", timeout=60)

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            NoEngine: it did not.
        """
        command = [*entering(self.holder), "dockerd"]
        command += [f"--data-root={self.folder}/data", f"--exec-root={self.folder}/exec"]
        command += [f"--pidfile={self.folder}/engine.pid", f"--host={self.url}"]
        command += [f"--host={self.network_url}", *self.options]
        if "--tlsverify" not in self.options:
            command.append("--tls=false")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for(self._answers, f"engine {self.name} did not start", self.last_words)

    def kill(self) -> None:
        """End it at once, as a crash would; its containers live on."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in an orderly way, with its containers."""
        self._end(signal.SIGTERM)

    def cut_off(self) -> None:
        """Pull the network plug."""
        run("ip", "link", "set", self.card, "down")

    def plug_in(self) -> None:
        """Put the network plug back."""
        run("ip", "link", "set", self.card, "up")

    def inside(self, *command: str) -> str:
        """What a program says that runs on the engine's machine."""
        return run(*entering(self.holder), *command)

    def load(self, image: str = docker_engine.BASE_IMAGE) -> str:
        """Copy an image of this machine's engine; returns its id, which is the same there."""
        with closing(docker_engine.client()) as origin, closing(self.client()) as client:
            for record in client.load_image(origin.get_image(image)):
                assert "error" not in record, record
            return str(client.inspect_image(image)["Id"])

    def last_words(self) -> str:
        """The end of its log."""
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise NoEngine(f"engine {self.name} ended\n{self.last_words()}")
        # Not by the client: one that finds nobody leaves its connection open.
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            try:
                connection.connect(str(self.folder / "docker.sock"))
                connection.sendall(b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n")
                return b" 200 " in connection.recv(64)
            except OSError:
                return False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # The program that entered the namespaces waits for the engine, its only child.
        for engine in psutil.Process(process.pid).children():
            engine.send_signal(how)
        process.wait(timeout=WAIT_SECONDS)


class Segment:
    """A piece of network of this machine to which engines are connected."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._count = 0
        self.bridge = f"twbr{number}"
        self.subnet = f"10.87.{number}.0/24"
        self.gateway = f"10.87.{number}.1"
        """This machine as engines and their containers reach it."""

    @property
    def next_address(self) -> str:
        """The address that the next engine will have."""
        return f"10.87.{self._number}.{_FIRST_HOST + self._count}"

    @contextmanager
    def engine(self, name: str, *options: str) -> Iterator[Engine]:
        """An engine that runs for the block; the base image is not in it yet.

        Args:
            name: its host name.
            options: more of dockerd's.
        """
        place, address = _FIRST_HOST + self._count, self.next_address
        self._count += 1
        # Ranges of its own: containers of several engines are told apart by their addresses.
        containers, networks = (f"10.{first + place}.{self._number}" for first in (90, 150))
        with tempfile.TemporaryDirectory(prefix="tw-engine-") as folder:
            engine = Engine(
                name=name,
                address=address,
                folder=Path(folder),
                card=f"tw{self._number}e{place}",
                options=(
                    f"--bip={containers}.1/24",
                    f"--default-address-pool=base={networks}.0/24,size=28",
                    f"--cgroup-parent={cgroup(Path(folder))}",
                    "--insecure-registry=10.87.0.0/16",
                    *options,
                ),
            )
            with (
                machine(name, engine.folder) as engine.holder,
                self._connected(engine, f"{containers}.0/24"),
                _running(engine),
            ):
                yield engine

    @contextmanager
    def _connected(self, engine: Engine, containers: str) -> Iterator[None]:
        peer = f"{engine.card}p"
        run("ip", "link", "add", engine.card, "type", "veth", "peer", "name", peer)
        try:
            run("ip", "link", "set", peer, "netns", str(engine.holder))
            run("ip", "link", "set", engine.card, "master", self.bridge, "up")
            engine.inside("ip", "link", "set", peer, "name", "eth0")
            engine.inside("ip", "address", "add", f"{engine.address}/24", "dev", "eth0")
            engine.inside("ip", "link", "set", "eth0", "up")
            engine.inside("ip", "route", "add", "default", "via", self.gateway)
            # This machine reaches containers of the default network, as it does its own engine's.
            run("ip", "route", "add", containers, "via", engine.address)
            engine.inside("iptables", "-w", "-I", "FORWARD", "-i", "eth0", "-j", "ACCEPT")
            yield
        finally:
            subprocess.run(["ip", "link", "delete", engine.card], check=False)


@contextmanager
def segment() -> Iterator[Segment]:
    """A piece of network for the block, with a way out through this machine.

    Where engines of their own cannot be made, the test is left out, and that is said loudly.
    """
    if not can_be_made():
        pytest.skip(NO_MACHINES)
    with ExitStack() as taken:
        found = next(filter(None, map(_claim, range(1, 200))), None)
        assert found is not None, "no piece of network is free"
        taken.callback(run, "ip", "link", "delete", found.bridge)
        run("ip", "address", "add", f"{found.gateway}/24", "dev", found.bridge)
        run("ip", "link", "set", found.bridge, "up")
        out = ("POSTROUTING", "-s", found.subnet, "!", "-o", found.bridge, "-j", "MASQUERADE")
        for rule in (
            ("-t", "filter", "FORWARD", "-i", found.bridge, "-j", "ACCEPT"),
            ("-t", "filter", "FORWARD", "-o", found.bridge, "-j", "ACCEPT"),
            ("-t", "nat", *out),
        ):
            run("iptables", "-w", *rule[:2], "-I", *rule[2:])
            taken.callback(run, "iptables", "-w", *rule[:2], "-D", *rule[2:])
        yield found


@contextmanager
def own_engine(name: str = "lonely") -> Iterator[Engine]:
    """One engine with the base image, to stop, kill and start at will."""
    with segment() as network, network.engine(name) as engine:
        engine.load()
        yield engine


def _claim(number: int) -> Segment | None:
    found = Segment(number)
    made = subprocess.run(
        ["ip", "link", "add", found.bridge, "type", "bridge"], check=False, capture_output=True
    )
    return found if made.returncode == 0 else None


@contextmanager
def _running(engine: Engine) -> Iterator[None]:
    engine.start()
    try:
        yield
    finally:
        engine.kill()
