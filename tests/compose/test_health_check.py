"""The health check that the Compose file has for workers, run against a worker's door."""

import subprocess
import sys

import pytest
import yaml

from tests.conftest import REPOSITORY
from workers.health import HealthDoor
from workers.pulse import Pulse


@pytest.fixture(scope="module")
def check() -> tuple[list[str], str]:
    """The words of the check, and the port of the worker's door in the container."""
    worker = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())["services"]["worker"]
    first, *words = worker["healthcheck"]["test"]
    assert first == "CMD"
    return words, worker["environment"]["TRAINWRIGHT_WORKER_LISTEN"].rpartition(":")[2]


def is_healthy(check: tuple[list[str], str], port: int) -> bool:
    """What the engine would take a worker for that listens at this port instead."""
    (program, *words), in_container = check
    assert program == "python"
    assert any(in_container in word for word in words)
    argv = [word.replace(in_container, str(port)) for word in words]
    return subprocess.run([sys.executable, *argv], check=False, timeout=30).returncode == 0


def test_a_worker_is_healthy_while_it_finds_out_what_is_due(
    check: tuple[list[str], str],
) -> None:
    pulse = Pulse(patience_seconds=3600)
    door = HealthDoor("127.0.0.1:0", pulse, list)
    try:
        assert not is_healthy(check, door.port), "it has not looked yet"
        pulse.note_look()
        assert is_healthy(check, door.port)
    finally:
        door.close()
    assert not is_healthy(check, door.port), "nobody is there"
