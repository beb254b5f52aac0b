"""Real runners against a small real server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runner.node_api import DEADLINE_SECONDS, TOKEN, NodeApi

RUNNER = Path(__file__).parents[2] / "workers" / "runner" / "main.py"


class Bench:
    """A node folder, the server, and the runner once started."""

    def __init__(self, folder: Path, api: NodeApi) -> None:
        self.api = api
        self.node_dir = folder / "node"
        self.node_dir.mkdir()
        self.objects_dir = folder / "objects"
        self.name = f"tw-{os.urandom(6).hex()}-a1-n0"
        (self.node_dir / "token").write_text(TOKEN)
        self.runner: subprocess.Popen[bytes] | None = None
        self.api.order = {
            "name": self.name,
            "kind": "run",
            "run_id": "run_1",
            "attempt": 1,
            "node_index": 0,
            "heartbeat_seconds": 0.1,
            "grace_seconds": 1,
            "max_duration_seconds": None,
            "deliver_seconds": 60,
            "source": [],
            "inputs": [],
            "processes": [],
            "environment": {},
            "path_prepend": [],
            "standin": False,
            "objects_dir": None,
            "collect": ["outputs"],
            "follow": ["logs"],
        }

    @property
    def work(self) -> Path:
        return self.node_dir / "work"

    def source(self, path: str, text: str | bytes, *, executable: bool = False) -> None:
        data = text.encode() if isinstance(text, str) else text
        self.api.order["source"].append(
            {
                "path": path,
                "sha256": self.api.add_blob(data),
                "size_bytes": len(data),
                "executable": executable,
            }
        )

    def script(self, text: str, *arguments: Any, **process: Any) -> None:
        """Add a process that runs this Python text."""
        index = len(self.api.order["processes"])
        path = f"train{index}.py"
        self.source(path, text)
        self.process(sys.executable, path, *arguments, **process)

    def process(self, *argv: Any, **process: Any) -> None:
        index = len(self.api.order["processes"])
        stream = "user_logs/std_log.txt" if not index else f"user_logs/std_log_{index}.txt"
        item = {"stream": stream, "argv": list(argv), "environment": {}, **process}
        self.api.order["processes"].append(item)

    def store(self, data: bytes, *, sealed: bool = True) -> str:
        """Put an object into the local object store only."""
        digest = self.api.add_blob(data)
        del self.api.blobs[digest]
        path = self.objects_dir / "sha256" / digest[:2] / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if sealed:
            path.chmod(0o444)
            os.utime(path, (946_684_800, 946_684_800))
        return digest

    def start(self) -> subprocess.Popen[bytes]:
        environment = {
            "PATH": os.environ["PATH"],
            "TRAINWRIGHT_NODE": self.name,
            "TRAINWRIGHT_ENDPOINT": self.api.url,
        }
        self.runner = subprocess.Popen(
            [sys.executable, "-I", str(RUNNER)],
            cwd=self.node_dir,
            env=environment,
            start_new_session=True,
        )
        return self.runner

    def wait(self, *, seconds: float = DEADLINE_SECONDS) -> int:
        assert self.runner is not None
        return self.runner.wait(seconds)

    def run(self) -> int:
        self.start()
        return self.wait()

    def exited(self) -> dict[str, Any]:
        event = self.api.event("exited")
        return {**event["processes"][0], "reason": event["reason"]}

    def leftovers(self) -> list[int]:
        """Processes that carry the node's name."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    environ = (entry / "environ").read_bytes()
                except OSError:
                    continue
                if f"TRAINWRIGHT_NODE={self.name}".encode() in environ.split(b"\0"):
                    found.append(int(entry.name))
        return found

    def wait_for_no_leftovers(self) -> None:
        ends_at = time.monotonic() + DEADLINE_SECONDS
        while self.leftovers():
            assert time.monotonic() < ends_at, "processes are left"
            time.sleep(0.01)

    def close(self) -> None:
        if self.runner is not None and self.runner.poll() is None:
            self.runner.kill()
            self.runner.wait()
        for pid in self.leftovers():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def api() -> Iterator[NodeApi]:
    server = NodeApi()
    yield server
    server.close()


@pytest.fixture
def bench(tmp_path: Path, api: NodeApi) -> Iterator[Bench]:
    bench = Bench(tmp_path, api)
    yield bench
    bench.close()
