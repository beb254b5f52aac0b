"""A link of a test's own between this machine and one that is not there, as bad as links can be.

Its far end is in a network namespace that one process holds open: with that process all of it goes.
Needs root, and Debian's iptables and iproute2.
"""

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.machines import run, wait_for

NO_LINKS = "no link of its own can be made to lose or slow what passes"
_PROGRAMS = ("ip", "iptables", "nsenter", "setpriv", "tc", "unshare")
_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_FAR_CARD = "eth0"
_LOSS = "-m statistic --mode random --probability {} -j DROP"
# The queue of a modem holds a second; the burst has to hold the largest packet.
_SLOW = "root tbf rate {}bit burst 3000 latency 1s"
_TRIED = (
    f"iptables -w -A INPUT {_LOSS.format(0.5)} && tc qdisc add dev lo {_SLOW.format(9600)}"
    " && ip link add near type veth peer name far"
)


class Link:
    """A link, whole at first.

    Args:
        number: of its own on this machine.
        holder: process id of who holds the namespace of the far end.
    """

    def __init__(self, number: int, holder: int) -> None:
        self.address = f"10.88.{number}.2"
        """Of the far end, as this machine reaches it."""
        self._near_card = _card(number)
        self._holder = holder

    def listen(self) -> socket.socket:
        """A socket of this process that listens at the far end."""
        # A thread that has gone there does not come back, but it ends.
        with ThreadPoolExecutor(1) as away:
            return away.submit(self._listen_there).result()

    @contextmanager
    def losing(self, share: float) -> Iterator[None]:
        """During the block this share of all packets is lost, in either direction."""
        for chain in ("INPUT", "OUTPUT"):
            self.far("iptables", "-w", "-A", chain, *_LOSS.format(share).split())
        try:
            yield
        finally:
            self.far("iptables", "-w", "-F")

    @contextmanager
    def slowed(self, bits_per_second: int) -> Iterator[None]:
        """During the block no more than this passes, in either direction."""
        how = _SLOW.format(bits_per_second).split()
        run("tc", "qdisc", "add", "dev", self._near_card, *how)
        self.far("tc", "qdisc", "add", "dev", _FAR_CARD, *how)
        try:
            yield
        finally:
            run("tc", "qdisc", "delete", "dev", self._near_card, "root")
            self.far("tc", "qdisc", "delete", "dev", _FAR_CARD, "root")

    def far(self, *command: str) -> str:
        """What a program says that runs at the far end."""
        return run("nsenter", f"--target={self._holder}", "--net", *command)

    def _listen_there(self) -> socket.socket:
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/proc/{self._holder}/ns/net").open() as network:
            if libc.setns(network.fileno(), _NEW_NETWORK):
                raise OSError(ctypes.get_errno(), "the far end cannot be entered")
        return socket.create_server((self.address, 0))


def can_be_made() -> bool:
    """Whether this machine lets us: as root, with these programs and the kernel's help."""
    if os.geteuid() != 0 or not all(map(shutil.which, _PROGRAMS)):
        return False
    tried = ["unshare", "--net", "sh", "-c", _TRIED]
    return subprocess.run(tried, check=False, capture_output=True).returncode == 0


@contextmanager
def link() -> Iterator[Link]:
    """A link for the block."""
    # Should this process die, so does the holder, and the kernel takes away both ends.
    holder = subprocess.Popen(["setpriv", "--pdeathsig=KILL", "unshare", "--net", "sleep", "inf"])
    try:
        own = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own, "no namespace")
        number = next(filter(_claim, range(1, 200)), 0)
        assert number, "no link is free"
        try:
            made = Link(number, holder.pid)
            _connect(number, made)
            yield made
        finally:
            subprocess.run(["ip", "link", "delete", _card(number)], check=False)
    finally:
        holder.kill()
        holder.wait()


def _connect(number: int, made: Link) -> None:
    near, far = _card(number), f"{_card(number)}p"
    run("ip", "link", "set", far, "netns", str(made._holder), "name", _FAR_CARD)
    run("ip", "address", "add", f"10.88.{number}.1/24", "dev", near)
    run("ip", "link", "set", near, "up")
    made.far("ip", "address", "add", f"{made.address}/24", "dev", _FAR_CARD)
    made.far("ip", "link", "set", _FAR_CARD, "up")


def _card(number: int) -> str:
    return f"twlink{number}"


def _claim(number: int) -> bool:
    card = _card(number)
    command = ["ip", "link", "add", card, "type", "veth", "peer", "name", f"{card}p"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0
