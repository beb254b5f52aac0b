"""What cannot be tested on a machine is said loudly, and fails nothing."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_tests_without_an_engine_say_that_they_were_left_out() -> None:
    nowhere = {"TRAINWRIGHT_DOCKER_URL": "unix:///nowhere/docker.sock"}
    command = ["-m", "pytest", "-n", "0", "-q", "tests/providers/docker/test_docker.py"]

    done = subprocess.run(
        [sys.executable, *command],
        cwd=_ROOT,
        env=os.environ | nowhere,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stdout
    assert "LEFT OUT" in done.stdout
    assert "none answers at unix:///nowhere/docker.sock" in done.stdout
