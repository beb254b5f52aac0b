"""What nodes measure about themselves while their scripts run."""

import os
from pathlib import Path

import pytest

from tests.runner.conftest import Bench
from workers.runner.host_metrics import pause_seconds

NAMES = {
    "cpu_percent",
    "memory_bytes",
    "disk_free_bytes",
    "disk_read_bytes_per_second",
    "disk_written_bytes_per_second",
    "network_received_bytes_per_second",
    "network_sent_bytes_per_second",
    "machine.cpu_percent",
    "machine.memory_available_bytes",
}
# The work is a child's, which is the node's all the same.
WORKS = """
import subprocess, sys
work = "held = b'x' * (64 << 20)\\nprint('at work', flush=True)\\nwhile True: pass"
subprocess.run([sys.executable, "-c", work])
"""
SLEEPS = "import time; print('asleep', flush=True); time.sleep(600)"


def stop(bench: Bench) -> None:
    bench.api.command = "stop"
    assert bench.wait() == 0


def test_what_a_script_and_its_children_use_is_told(bench: Bench) -> None:
    bench.api.order["host_metrics_seconds"] = 0.3
    bench.script(WORKS)
    bench.start()

    def seen() -> list[dict[str, float]]:
        return [sample["values"] for sample in bench.api.samples]

    bench.api.wait_for(lambda: any(values["cpu_percent"] > 5 for values in seen()))
    bench.api.wait_for(lambda: seen()[-1]["memory_bytes"] > 64 << 20)

    last = seen()[-1]
    assert set(last) == NAMES
    assert last["memory_bytes"] < 4 << 30
    assert last["disk_free_bytes"] > 0
    assert 0 < last["machine.cpu_percent"] <= 100
    assert last["machine.memory_available_bytes"] > 1 << 20
    stop(bench)


def test_samples_wait_while_the_control_plane_is_away(bench: Bench) -> None:
    bench.api.order["host_metrics_seconds"] = 0.1
    bench.script(SLEEPS)
    bench.start()
    bench.api.wait_for(lambda: len(bench.api.samples) >= 2)
    bench.api.is_away = True
    before = bench.api.requests
    bench.api.wait_for(lambda: bench.api.requests >= before + 10)
    bench.api.is_away = False
    reached = len(bench.api.samples) + 5

    bench.api.wait_for(lambda: len(bench.api.samples) >= reached)

    numbers = [sample["number"] for sample in bench.api.samples]
    assert numbers == list(range(len(numbers)))
    times = [sample["time"] for sample in bench.api.samples]
    assert times == sorted(times)
    stop(bench)


def test_gpus_are_asked_where_their_tool_is(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, 87, 1024, 61, 250.5'\necho '1, 0, 3, [N/A], 60.0'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    bench.api.order["host_metrics_seconds"] = 0.1
    bench.script(SLEEPS)
    bench.start()

    bench.api.wait_for(lambda: bench.api.samples)

    values = bench.api.samples[0]["values"]
    assert values["gpu0.utilization_percent"] == 87
    assert values["gpu0.memory_bytes"] == 1 << 30
    assert (values["gpu0.temperature_celsius"], values["gpu0.power_watts"]) == (61, 250.5)
    assert values["gpu1.power_watts"] == 60
    assert "gpu1.temperature_celsius" not in values
    stop(bench)


def test_nothing_is_measured_where_nobody_asked(bench: Bench) -> None:
    bench.script("import time; print('began', flush=True); time.sleep(1)")
    assert bench.run() == 0
    assert bench.api.samples == []


@pytest.mark.parametrize(
    ("elapsed_seconds", "effort_seconds", "expected"),
    [
        (0.0, 0.01, 5.0),
        (3600.0, 0.01, 5.0),
        (7200.0, 0.01, 10.0),
        (30 * 24 * 3600.0, 0.01, 60.0),
        (0.0, 0.5, 50.0),
    ],
)
def test_long_runs_and_dear_samples_are_measured_more_seldom(
    elapsed_seconds: float, effort_seconds: float, expected: float
) -> None:
    assert pause_seconds(5.0, elapsed_seconds, effort_seconds) == pytest.approx(expected)
