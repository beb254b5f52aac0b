"""What a node and its machine have used so far, as the kernel counts it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Dict, List, NamedTuple, Set

from workers.runner.memory import has_own_group

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_GROUPS = "/sys/fs/cgroup"
# Places in /proc/<pid>/stat, counted behind the name, which may hold anything.
_PARENT, _SESSION, _TIMES, _RESIDENT = 1, 3, slice(11, 15), 21

Reading = Dict[str, float]


class _Process(NamedTuple):
    parent: int
    session: int
    cpu_seconds: float
    resident_bytes: int


def node_counters(runner_pid: int) -> Reading:
    """`cpu_seconds`, `memory_bytes`, `disk_read_bytes` and `disk_written_bytes` of the node.

    A container's control group counts processor and memory; elsewhere these are sums over the
    runner's descendants, in which memory that processes share counts several times.
    """
    processes = _processes()
    members = _members(processes, runner_pid)
    found = {
        "cpu_seconds": sum(processes[pid].cpu_seconds for pid in members),
        "memory_bytes": float(sum(processes[pid].resident_bytes for pid in members)),
        "disk_read_bytes": 0.0,
        "disk_written_bytes": 0.0,
    }
    for pid in members:
        for line in _lines(f"/proc/{pid}/io"):
            if line.startswith("read_bytes:"):
                found["disk_read_bytes"] += float(line.split()[1])
            elif line.startswith("write_bytes:"):
                found["disk_written_bytes"] += float(line.split()[1])
    if has_own_group():
        found.update(_group_counters())
    return found


def machine_counters() -> Reading:
    """`busy_seconds` of all cores, `cores`, and `memory_available_bytes` of the machine."""
    found: Reading = {}
    cores = 0
    for line in _lines("/proc/stat"):
        name, *ticks = line.split()
        if name == "cpu":
            idle = sum(map(int, ticks[3:5]))
            found["busy_seconds"] = (sum(map(int, ticks[:8])) - idle) / _TICKS_PER_SECOND
        elif name.startswith("cpu"):
            cores += 1
    found["cores"] = float(cores)
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable:"):
            found["memory_available_bytes"] = float(line.split()[1]) * 1024
    return found


def network_counters() -> Reading:
    """`network_received_bytes`, `network_sent_bytes` over all interfaces but loopback.

    A container has interfaces of its own; elsewhere they are the machine's.
    """
    received = sent = 0.0
    for line in _lines("/proc/net/dev"):
        name, colon, counts = line.partition(":")
        if colon and name.strip() != "lo":
            fields = counts.split()
            received += float(fields[0])
            sent += float(fields[8])
    return {"network_received_bytes": received, "network_sent_bytes": sent}


def _group_counters() -> Reading:
    found: Reading = {}
    usage = _number(f"{_GROUPS}/cpuacct/cpuacct.usage")
    if usage is not None:
        found["cpu_seconds"] = usage / 1e9
    for line in _lines(f"{_GROUPS}/cpu.stat"):
        if line.startswith("usage_usec "):
            found["cpu_seconds"] = float(line.split()[1]) / 1e6
    for usage_file, statistics, cache in (
        ("memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file "),
        ("memory.current", "memory.stat", "inactive_file "),
    ):
        used = _number(f"{_GROUPS}/{usage_file}")
        if used is not None:
            # What the kernel would give up at once is no need of the script.
            spare = [line for line in _lines(f"{_GROUPS}/{statistics}") if line.startswith(cache)]
            found["memory_bytes"] = used - sum(float(line.split()[1]) for line in spare)
    return found


def _processes() -> dict[int, _Process]:
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        for line in _lines(f"/proc/{entry}/stat"):
            fields = line.rpartition(")")[2].split()
            # Those of its children that it has waited for are in the last two of the times.
            ticks = sum(map(int, fields[_TIMES]))
            found[int(entry)] = _Process(
                int(fields[_PARENT]),
                int(fields[_SESSION]),
                ticks / _TICKS_PER_SECOND,
                int(fields[_RESIDENT]) * _PAGE_BYTES,
            )
    return found


def _members(processes: dict[int, _Process], runner_pid: int) -> Set[int]:
    """The runner, its descendants, and whoever shares a session with one of them."""
    children: Dict[int, List[int]] = {}
    for pid, process in processes.items():
        children.setdefault(process.parent, []).append(pid)
        if process.session != pid:
            children.setdefault(process.session, []).append(pid)
    members: Set[int] = set()
    waiting = [runner_pid] if runner_pid in processes else []
    while waiting:
        pid = waiting.pop()
        if pid not in members:
            members.add(pid)
            waiting += children.get(pid, [])
    return members


def _number(path: str) -> float | None:
    for line in _lines(path):
        with contextlib.suppress(ValueError):
            return float(line)
    return None


def _lines(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            yield from file.read().splitlines()
    except OSError:
        return  # it has ended meanwhile, or this kernel has no such file
