"""The serving program in a process of its own, started as a replica starts it."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx2

WORKERS = Path(__file__).parents[2] / "workers"
TOKEN = "replica-token"
START_SECONDS = 120.0


class Served:
    """A running serving program and a client that carries its token."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.client = httpx2.Client(
            base_url=f"http://127.0.0.1:{port}/v1",
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=30,
            trust_env=False,
        )

    def predict(self, body: Any) -> Any:
        response = self.client.post("/predict", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    def refusal(self, content: bytes) -> tuple[int, str]:
        response = self.client.post("/predict", content=content)
        assert response.headers["content-type"] == "application/problem+json"
        return response.status_code, response.json()["code"]


def start_program(
    python: Path, model: Path, folder: Path, *options: str, token: str = TOKEN
) -> subprocess.Popen[bytes]:
    # Copied, as a replica gets it: a package named serving in its work folder.
    shutil.copytree(WORKERS / "serving", folder / "serving", dirs_exist_ok=True)
    (folder / "port").unlink(missing_ok=True)
    with (folder / "output.txt").open("wb") as output:
        return subprocess.Popen(
            [str(python), "-m", "serving", "--model-dir", str(model), "--port-file", "port",
             *options],
            cwd=folder,
            env={"TRAINWRIGHT_SERVING_TOKEN": token, "PATH": os.environ["PATH"],
                 "TF_CPP_MIN_LOG_LEVEL": "2"},
            stdout=output,
            stderr=output,
        )  # fmt: skip


def wait_for_port(process: subprocess.Popen[bytes], path: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while not path.exists():
        assert process.poll() is None, (path.parent / "output.txt").read_text()
        assert time.monotonic() < deadline, "no port file"
        time.sleep(0.05)
    return int(path.read_text())


def wait_until_ready(served: Served) -> None:
    deadline = time.monotonic() + START_SECONDS
    while served.client.get("/ready").status_code != 200:
        assert served.process.poll() is None, "it ended"
        assert time.monotonic() < deadline, "not ready in time"
        time.sleep(0.05)


def serve_named(python: Path, models: Path, folder: Path, model: str) -> Served:
    """Start the program as version 3 of a model, and wait until it answers."""
    options = ("--model-name", model, "--model-version", "3")
    process = start_program(python, models / model, folder, *options)
    found = Served(process, wait_for_port(process, folder / "port"))
    wait_until_ready(found)
    return found
