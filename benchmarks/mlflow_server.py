"""A real MLflow server as it is shipped, in an environment of its own, on a given PostgreSQL."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import uv

VERSION = "3.17.2"
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
    program = installed()
    port = free_port()
    command = [
        str(program), "server", "--backend-store-uri", database_url, "--host", "127.0.0.1",
        "--port", str(port), "--serve-artifacts", "--artifacts-destination", str(folder / "files"),
    ]  # fmt: skip
    with running(command, f"http://127.0.0.1:{port}", folder) as address:
        yield address


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


@contextmanager
def running(command: Sequence[str], address: str, folder: Path) -> Iterator[str]:
    """Run one of MLflow's servers for the block, once `address` says that it is healthy.

    Raises:
        RuntimeError: it did not start; the message holds the end of its log.
    """
    log_path = folder / "mlflow.log"
    with log_path.open("wb") as log:
        child = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, cwd=folder,
            env={
                **os.environ,
                "PATH": f"{Path(command[0]).parent}{os.pathsep}{os.environ['PATH']}",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
            },
        )  # fmt: skip
    try:
        _wait_until_ready(address, child, log_path)
        yield address
    finally:
        if child.poll() is None:
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


def installed(folder_name: str = "mlflow", packages: Sequence[str] = ("psycopg2-binary",)) -> Path:
    """MLflow's program, installed once into the build folder.

    Args:
        folder_name: of its environment, before the version.
        packages: what it needs beside itself.
    """
    folder = _BUILD / f"{folder_name}-{VERSION}"
    done = folder / ".ready"
    if not done.exists():
        sys.stderr.write(f"installing MLflow {VERSION} into {folder.name} …\n")
        program = uv.find_uv_bin()
        subprocess.run(
            [program, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
            check=True,
        )
        install = [program, "pip", "install", "--quiet", "--python", str(folder / "bin/python")]
        subprocess.run([*install, f"mlflow=={VERSION}", *packages], check=True)
        done.touch()
    return folder / "bin/mlflow"
