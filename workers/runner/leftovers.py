"""Find and end every process that belongs to this node, also those that left their group."""

from __future__ import annotations

import os
import signal
import time

POLL_SECONDS = 0.02
KILL_SECONDS = 5.0


def find_leftovers(node_name: str, *, sessions: set[int]) -> list[int]:
    """Return ids of living processes that carry the node's name, or belong to its sessions.

    The runner itself and its parent are left out. Without /proc nothing can be found.
    """
    marker = b"TRAINWRIGHT_NODE=" + node_name.encode()
    excluded = {os.getpid(), os.getppid()}
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    found = []
    for name in names:
        if not name.isdigit() or int(name) in excluded:
            continue
        if _session_of(name) in sessions or _carries(name, marker):
            found.append(int(name))
    return found


def end_leftovers(node_name: str, *, sessions: set[int], grace_seconds: float) -> None:
    """Send SIGTERM to what is left, then SIGKILL to what outlives the grace."""
    ends_at = time.monotonic() + grace_seconds
    is_told = False
    while time.monotonic() < ends_at:
        left = find_leftovers(node_name, sessions=sessions)
        if not left:
            return
        if not is_told:
            _signal_all(left, signal.SIGTERM)
            is_told = True
        time.sleep(POLL_SECONDS)
    kill_leftovers(node_name, sessions=sessions)


def kill_leftovers(node_name: str, *, sessions: set[int]) -> None:
    """Send SIGKILL until nothing is left (a process may fork while it is being hunted)."""
    ends_at = time.monotonic() + KILL_SECONDS
    while time.monotonic() < ends_at:
        left = find_leftovers(node_name, sessions=sessions)
        if not left:
            return
        _signal_all(left, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def _session_of(pid: str) -> int:
    """Session of a living process; -1 for one that is gone or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        return -1
    if len(fields) < 4 or fields[0] in (b"Z", b"X"):
        return -1
    return int(fields[3])


def _carries(pid: str, marker: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return marker in file.read().split(b"\0")
    except OSError:
        return False
