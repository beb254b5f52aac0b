"""Faults, drawn from a seed: parts are killed or frozen, the network is cut, lossy or slow."""

import random
import signal
import time
from collections import Counter

import psutil

from examples.walk.stack import Stack
from tests.client.door import Door
from tests.links import Link

PARTS = ("api", "worker", "broker", "postgres", "runner", "replica")
"""Of a stack; what of it is on a node belongs to a run (`runner`) or to a deployment."""
_LONGEST_FREEZE_SECONDS = 4.0
_LONGEST_OUTAGE_SECONDS = 3.0
_LONGEST_DELAY_SECONDS = 0.5
_LOST_SHARES = (0.1, 0.3)
_MODEMS_BITS_PER_SECOND = (14_400, 33_600, 56_000)
_LONGEST_BAD_LINK_SECONDS = 8.0


class Faults:
    """Hurts a stack; `injected` counts what was done, by kind.

    Args:
        stack: which.
        door: the way by which clients and runners reach its API.
        link: what leads to the door, if it can be made worse.
        seed: the same gives the same order of faults.
    """

    def __init__(self, stack: Stack, door: Door, link: Link | None, *, seed: int) -> None:
        self.injected: Counter[str] = Counter()
        self._stack = stack
        self._door = door
        self._link = link
        self._random = random.Random(seed)
        self._kinds = ["kill", "kill", "freeze", "cut", "outage", "delay"]
        if link is not None:
            self._kinds += ["loss", "modem"]

    def inject(self) -> None:
        """Do one thing; what was frozen, cut off or made worse is well again afterwards."""
        kind = self._random.choice(self._kinds)
        if kind == "cut":
            self._door.cut()
            self.injected["network cut"] += 1
        elif kind == "outage":
            self._door.shut()
            time.sleep(self._random.uniform(0.2, _LONGEST_OUTAGE_SECONDS))
            self._door.reopen()
            self.injected["network outage"] += 1
        elif kind == "delay":
            self._door.delay(self._random.uniform(0.05, _LONGEST_DELAY_SECONDS))
            time.sleep(self._random.uniform(0.5, _LONGEST_OUTAGE_SECONDS))
            self._door.delay(0)
            self.injected["network delay"] += 1
        elif kind in ("loss", "modem"):
            self._worsen(kind)
        else:
            self._hurt(kind)

    def _worsen(self, kind: str) -> None:
        assert self._link is not None
        worse = (
            self._link.losing(self._random.uniform(*_LOST_SHARES))
            if kind == "loss"
            else self._link.slowed(self._random.choice(_MODEMS_BITS_PER_SECOND))
        )
        with worse:
            time.sleep(self._random.uniform(1.0, _LONGEST_BAD_LINK_SECONDS))
        self.injected[f"network {kind}"] += 1

    def _hurt(self, kind: str) -> None:
        part = self._random.choice(PARTS)
        seconds = self._random.uniform(0.5, _LONGEST_FREEZE_SECONDS)
        found = processes(self._stack, part)
        if not found:
            return
        chosen = self._random.choice(found)
        try:
            if kind == "kill":
                chosen.send_signal(signal.SIGKILL)
            else:
                chosen.suspend()
                time.sleep(seconds)
                chosen.resume()
        except psutil.NoSuchProcess:
            return
        self.injected[f"{kind} {part}"] += 1


def processes(stack: Stack, part: str) -> list[psutil.Process]:
    """The processes of a part of the stack; of PostgreSQL the server and its back ends."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            folder = str(stack.data_dir)
            if folder in process.cwd() or any(folder in word for word in words):
                if _part(words, process.cwd()) == part:
                    found.append(process)
            elif process.environ().get("TRAINWRIGHT_DATA_DIR") == folder and _part(words) == part:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _part(words: list[str], folder: str = "") -> str:
    line = " ".join(words)
    if "exec_child.py" in line:
        return ""
    for part, sign in {
        "api": "app.cli api",
        "worker": "celery",
        "broker": "valkey-server",
        # The server, or a connection of ours; its other processes are its own affair.
        "postgres": "bin/postgres -D",
        "postgres ": "postgres: trainwright",
        "runner": "runner/main.py",
    }.items():
        if sign in line:
            return "replica" if part == "runner" and "/tw-dep_" in folder else part.strip()
    return ""
