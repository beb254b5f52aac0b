"""A real MLflow server as it is shipped, in an environment of its own, on a given PostgreSQL."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uv

VERSION = "3.17.2"
_PACKAGES = (f"mlflow=={VERSION}", "psycopg2-binary")
_BUILD = Path(__file__).parents[1] / "build"
_START_SECONDS = 400.0


@contextmanager
def mlflow_server(database_url: str, folder: Path) -> Iterator[str]:
    """Run MLflow's server, with its own number of workers, for the block; yields its address.

    Args:
        database_url: of an empty database, as SQLAlchemy writes it for psycopg2.
        folder: for artifacts and the server's log.

    Raises:
        RuntimeError: it did not start; the message holds the end of its log.
    """
    program = _installed()
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        str(program), "server", "--backend-store-uri", database_url, "--host", "127.0.0.1",
        "--port", str(port), "--serve-artifacts", "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    log_path = folder / "mlflow.log"
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, cwd=folder,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        )  # fmt: skip
    try:
        _wait_until_ready(address, child, log_path)
        yield address
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def _wait_until_ready(address: str, child: "subprocess.Popen[bytes]", log_path: Path) -> None:
    ends_at = time.monotonic() + _START_SECONDS
    while time.monotonic() < ends_at and child.poll() is None:
        try:
            if httpx2.get(f"{address}/health", timeout=2, trust_env=False).is_success:
                return
        except httpx2.TransportError:
            time.sleep(0.2)
    raise RuntimeError("MLflow's server did not start: " + log_path.read_text()[-2000:])


def _installed() -> Path:
    """The program, installed once into the build folder."""
    folder = _BUILD / f"mlflow-{VERSION}"
    done = folder / ".ready"
    if not done.exists():
        sys.stderr.write(f"installing MLflow {VERSION} into {folder.name} …\n")
        program = uv.find_uv_bin()
        subprocess.run(
            [program, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            check=True,
        )
        install = [program, "pip", "install", "--quiet", "--python", str(folder / "bin/python")]
        subprocess.run([*install, *_PACKAGES], check=True)
        done.touch()
    return folder / "bin/mlflow"
