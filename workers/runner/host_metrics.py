"""Measure what the node uses while its scripts run, and tell the control plane."""

from __future__ import annotations

import collections
import os
import threading
import time
from typing import Any, Deque, Dict, NamedTuple

from workers.runner.api import Channel, Endpoint
from workers.runner.errors import Away, Fenced, Refused
from workers.runner.gpus import Gpus
from workers.runner.usage import Reading, machine_counters, network_counters, node_counters

# A day at the first interval would be 17,280 samples; what takes long need not be seen so finely.
SAMPLES_AT_FIRST = 720
LONGEST_INTERVAL_SECONDS = 60.0
# Measuring takes at most this share of one core.
MOST_EFFORT = 0.01
# Those that cannot be delivered are kept, the oldest given up.
MOST_WAITING = 1000


class _Counters(NamedTuple):
    at: float
    node: Reading
    machine: Reading
    network: Reading


class HostMetrics(threading.Thread):
    """Samples at a bounded rate; each sample is delivered once, late where it has to be.

    Args:
        endpoint: the control plane.
        interval_seconds: between samples, at first; a run that goes on is sampled more seldom.
        folder: on the disk whose free space is told.
    """

    def __init__(self, endpoint: Endpoint, *, interval_seconds: float, folder: str) -> None:
        super().__init__(name="host-metrics", daemon=True)
        self._endpoint = endpoint
        self._interval_seconds = interval_seconds
        self._folder = folder
        self._gpus = Gpus()
        self._closing = threading.Event()
        self._waiting: Deque[Dict[str, Any]] = collections.deque(maxlen=MOST_WAITING)
        self._taken = 0

    def run(self) -> None:
        """Sample until closed or fenced."""
        channel = self._endpoint.channel()
        began = time.monotonic()
        before = self._count()
        pause = self._interval_seconds
        try:
            while not self._closing.wait(pause):
                started = time.monotonic()
                after = self._count()
                self._add(before, after)
                before = after
                effort = time.monotonic() - started
                self._deliver(channel)
                pause = pause_seconds(self._interval_seconds, started - began, effort)
        except (Fenced, Refused, OSError):
            return  # disowned, not wanted, or the folder is gone: nobody misses the rest
        finally:
            channel.close()

    def close(self) -> None:
        """Sample no more."""
        self._closing.set()

    def _count(self) -> _Counters:
        node = node_counters(os.getpid())
        machine, network = machine_counters(), network_counters()
        return _Counters(time.monotonic(), node, machine, network)

    def _add(self, before: _Counters, after: _Counters) -> None:
        seconds = max(after.at - before.at, 1e-3)
        values = {
            "cpu_percent": 100 * _rate(before.node, after.node, "cpu_seconds", seconds),
            "memory_bytes": after.node["memory_bytes"],
            "disk_free_bytes": self._free_bytes(),
            "machine.memory_available_bytes": after.machine.get("memory_available_bytes", 0.0),
            "machine.cpu_percent": _machine_percent(before.machine, after.machine, seconds),
            **self._gpus.read(),
        }
        for name in ("disk_read_bytes", "disk_written_bytes"):
            values[f"{name}_per_second"] = _rate(before.node, after.node, name, seconds)
        for name in ("network_received_bytes", "network_sent_bytes"):
            values[f"{name}_per_second"] = _rate(before.network, after.network, name, seconds)
        self._waiting.append({"number": self._taken, "time": time.time(), "values": values})
        self._taken += 1

    def _free_bytes(self) -> float:
        status = os.statvfs(self._folder)
        return float(status.f_bavail * status.f_frsize)

    def _deliver(self, channel: Channel) -> None:
        samples = list(self._waiting)
        try:
            channel.post_json("/host-metrics", {"samples": samples}, timeout_seconds=10)
        except Away:
            return  # the next delivery takes them along
        for _ in samples:
            self._waiting.popleft()


def pause_seconds(interval_seconds: float, elapsed_seconds: float, effort_seconds: float) -> float:
    """How long to wait before the next sample.

    Args:
        interval_seconds: at first.
        elapsed_seconds: since the scripts began.
        effort_seconds: how long the last sample took.
    """
    wanted = min(elapsed_seconds / SAMPLES_AT_FIRST, LONGEST_INTERVAL_SECONDS)
    return max(interval_seconds, wanted, effort_seconds / MOST_EFFORT)


def _machine_percent(before: Reading, after: Reading, seconds: float) -> float:
    busy = _rate(before, after, "busy_seconds", seconds) / max(after["cores"], 1.0)
    return min(100.0, 100 * busy)  # the kernel counts in ticks: short spans round up


def _rate(before: Reading, after: Reading, name: str, seconds: float) -> float:
    # A process that has ended takes its count along: less than nothing is nothing.
    return max(0.0, after.get(name, 0.0) - before.get(name, 0.0)) / seconds
