"""Namespaces of their own, in which a test's engine finds itself as if on its own machine."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

NO_MACHINES = "no machine of its own can be made for an engine"
_PROGRAMS = ("dockerd", "ip", "iptables", "nsenter", "setpriv", "unshare")
_NAMESPACES = ("--mount", "--uts", "--net", "--pid", "--fork")
WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.05
# The first process of the engine's own process namespace: it collects orphans while it waits.
_HOLD = """
hostname {name}
mkdir -p /etc/docker
mount --bind {folder}/etc /etc/docker
ip link set lo up
sleep 2147483647 &
wait
"""


class NoEngine(Exception):
    """The engine did not start or does not answer; the message has its last words."""


def can_be_made() -> bool:
    """Whether this machine lets us: as root, with the programs of Debian's docker.io and others."""
    if os.geteuid() != 0 or not all(map(shutil.which, _PROGRAMS)):
        return False
    tried = subprocess.run(["unshare", *_NAMESPACES, "true"], check=False, capture_output=True)
    return tried.returncode == 0


@contextmanager
def machine(name: str, folder: Path) -> Iterator[int]:
    """Hold namespaces open for the block; afterwards nothing runs or is mounted in them.

    Yields:
        The process id of their first process.
    """
    (folder / "etc").mkdir()
    # Should this process die, so does the holder, and the kernel ends all that is in there.
    command = ["setpriv", "--pdeathsig=KILL", "unshare", *_NAMESPACES]
    command += ["--kill-child", "--mount-proc", "--propagation=private"]
    script = _HOLD.format(name=name, folder=folder)
    holder = subprocess.Popen([*command, "sh", "-c", script])
    first = 0
    try:
        outer = psutil.Process(holder.pid)
        wait_for(lambda: bool(outer.children()), "no namespaces")
        first = outer.children()[0].pid
        wait_for(lambda: _is_ready(first, name), "the namespaces are not ready")
        yield first
    finally:
        if first:
            os.kill(first, signal.SIGKILL)
        holder.kill()
        holder.wait()
        _remove_cgroups(cgroup(folder))


def entering(first: int) -> list[str]:
    """The beginning of a command line that runs in the namespaces of this process."""
    return ["nsenter", f"--target={first}", "--net", "--mount", "--uts", "--pid"]


def cgroup(folder: Path) -> str:
    """The control group for what runs on the machine of this folder."""
    return f"/{folder.name}"


def wait_for(
    condition: Callable[[], bool], what: str, more: Callable[[], str] = lambda: ""
) -> None:
    """Wait until the condition holds.

    Raises:
        NoEngine: it never did; with the words, and those that `more` then gives.
    """
    ends_at = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > ends_at:
            raise NoEngine(f"{what}\n{more()}")
        time.sleep(_LOOK_SECONDS)


def run(*command: str) -> str:
    """What a program that has to succeed says."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _is_ready(first: int, name: str) -> bool:
    look = "hostname; ip link show lo up; grep /etc/docker /proc/mounts; :"
    said = run(*entering(first), "sh", "-c", look)
    return said.startswith(name) and "LOOPBACK" in said and "/etc/docker" in said


def _remove_cgroups(name: str) -> None:
    def is_removed() -> bool:
        for top in [*Path("/sys/fs/cgroup").glob(f"*{name}"), Path(f"/sys/fs/cgroup{name}")]:
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    return False  # what was in there is still ending
        return True

    wait_for(is_removed, "processes of the engine are left")
