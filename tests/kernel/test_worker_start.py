"""A worker that cannot be started ends, and says why."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_worker_without_a_key_to_sign_with_ends(tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    environment = {
        **os.environ,
        "TRAINWRIGHT_DATA_DIR": str(tmp_path),
        "TRAINWRIGHT_SIGNING_KEY_FILE": str(tmp_path / "keys"),
        "TRAINWRIGHT_BROKER_URL": f"redis+socket://{tmp_path}/broker",
    }

    ended = subprocess.run(
        [sys.executable, "-m", "app.cli", "worker"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    (reason,) = [line for line in ended.stdout.splitlines() if "worker_not_started" in line]
    assert "there is no signing key" in reason
