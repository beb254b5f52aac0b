"""A whole stack as a child of a test, and looking at its processes."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from tests.conftest import REPOSITORY

DEADLINE_SECONDS = 60.0


class RunningStack:
    """`trainwright up` on a data folder and a free port."""

    def __init__(self, data_dir: Path, *options: str) -> None:
        self.data_dir = data_dir
        self.output = data_dir.with_name(data_dir.name + ".out")
        self.process = start_up(data_dir, *options, output=self.output)

    def wait_until_ready(self) -> str:
        """Wait until it has introduced itself; return its address."""
        wait_for(lambda: "ready at" in self.said(), what=self.said, alive=self.process)
        found = re.search(r"ready at (\S+)", self.said())
        assert found is not None
        return found.group(1)

    def said(self) -> str:
        """Return all it has printed."""
        return self.output.read_text()

    def child(self, name: str) -> psutil.Process:
        """Return the supervised child whose command line has `name` in it."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess):
                if name in " ".join(child.cmdline()):
                    found.append(child)
        assert len(found) == 1, found
        return found[0]

    def stop(self, number: signal.Signals = signal.SIGINT) -> list[psutil.Process]:
        """Stop it and return what is left of its processes."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        self.process.wait(timeout=DEADLINE_SECONDS)
        _, left = psutil.wait_procs(family, timeout=10)
        return left


@contextmanager
def running_stack(data_dir: Path) -> Iterator[RunningStack]:
    """A stack for the block; it is stopped then, unless the block has done so."""
    stack = RunningStack(data_dir, "--port", "0")
    try:
        yield stack
    finally:
        if stack.process.poll() is None:
            stack.stop()


def start_up(data_dir: Path, *options: str, output: Path) -> subprocess.Popen[bytes]:
    """Start `trainwright up`, its output into a file."""
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up", "--data-dir", str(data_dir), *options],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def wait_for(
    is_so: Callable[[], bool],
    *,
    what: Callable[[], str] = lambda: "",
    alive: subprocess.Popen[bytes] | None = None,
) -> float:
    """Wait until `is_so`; return the seconds it took."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < DEADLINE_SECONDS, what()
        assert alive is None or alive.poll() is None, what()
        time.sleep(0.02)
    return time.monotonic() - began


def answers(address: str, path: str = "/readyz") -> bool:
    """Say whether the API answers 200."""
    try:
        with urlopen(address + path, timeout=30) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)
    except (URLError, ConnectionError, TimeoutError):
        return False
