"""A small installation of real processes, whose parts are started anew at once when they die.

The API's socket is opened here and outlives it: clients wait meanwhile, none is refused.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg

from tests.conftest import REPOSITORY
from tests.faults.invariants import Installation, breaches

_STARTS_SECONDS = 180.0
_PROGRAM = (sys.executable, "-P", "-m", "app.cli")
_ENDING = """
SELECT 'POST', '/sweeps/' || id || '/cancel' FROM sweeps WHERE ended_at IS NULL
UNION ALL
SELECT 'POST', '/batch-scorings/' || id || '/cancel' FROM batch_scorings WHERE ended_at IS NULL
UNION ALL
SELECT 'POST', '/runs/' || id || '/cancel' FROM runs WHERE ended_at IS NULL
UNION ALL
SELECT 'DELETE', '/deployments/' || name FROM deployments
"""
_NOT_ASIDE = """
UPDATE runs SET lease_expires_at = clock_timestamp() WHERE lease_token = 'set-aside'
"""


class SmallStack:
    """Two APIs on one socket and two workers; database and broker are others' to keep running.

    Args:
        folder: for its data and what its parts print.
        database_url: of an empty database of the present version.
        broker_url: of a broker.
        listener: the APIs' socket; by default one of this machine's own.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str,
        broker_url: str,
        listener: socket.socket | None = None,
    ) -> None:
        self.data_dir = folder / "data"
        self.data_dir.mkdir(parents=True)
        self.database_url = database_url
        self.crash_file = folder / "crash"
        self.answered: list[tuple[str, str]] = []
        self.deaths = 0
        self._folder = folder
        self._listener = listener or socket.create_server(("127.0.0.1", 0), backlog=1024)
        host, port = self._listener.getsockname()
        self.address = f"http://{host}:{port}"
        self._environment = {
            **os.environ,
            "TRAINWRIGHT_DATA_DIR": str(self.data_dir),
            "TRAINWRIGHT_DATABASE_URL": database_url,
            "TRAINWRIGHT_BROKER_URL": broker_url,
            "TRAINWRIGHT_PUBLIC_URL": self.address,
            "TRAINWRIGHT_CRASH_FILE": str(self.crash_file),
            "TRAINWRIGHT_LEASE_SECONDS": "1.5",
            "TRAINWRIGHT_POLL_SECONDS": "0.1",
            "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.3",
            "TRAINWRIGHT_LEAK_CHECK_SECONDS": "0.5",
            "TRAINWRIGHT_LEAK_GRACE_SECONDS": "1",
            "TRAINWRIGHT_FETCH_ALLOW": '["127.0.0.1"]',
        }
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        self._more_of: dict[str, dict[str, str]] = {}
        self._ending = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._client = httpx2.Client(base_url=self.address, timeout=30, trust_env=False)

    def start(self, **more: str) -> None:
        """Start all parts and wait until the API answers."""
        self._environment |= more
        made = self.run("token", "create", "faults")
        token = next(word for word in made.split() if word.startswith("twt_"))
        self._client.headers["Authorization"] = f"Bearer {token}"
        for name in ("api-1", "api-2", "worker-1", "worker-2"):
            self._parts[name] = self._spawn(name)
        self._keeper.start()
        self.ask("PUT", "", expect=(200, 201))
        self.ask("PUT", "/clusters/cpu", {"vm_size": "SMALL", "max_nodes": 2}, expect=(200, 201))

    def stop(self) -> None:
        """End all parts and what they started."""
        self._ending.set()
        self._keeper.join()
        for part in self._parts.values():
            part.terminate()
        for part in self._parts.values():
            try:
                part.wait(timeout=20)
            except subprocess.TimeoutExpired:
                part.kill()
                part.wait()
        for process in psutil.process_iter():
            try:
                if process.cwd().startswith(str(self.data_dir / "nodes")):
                    process.kill()
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        self._client.close()
        self._listener.close()

    @property
    def authorization(self) -> str:
        """The header that its clients send."""
        return str(self._client.headers["Authorization"])

    def run(self, *words: str) -> str:
        """Run one command of the program to its end; its output."""
        return subprocess.run(
            [*_PROGRAM, *words],
            cwd=REPOSITORY,
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout

    def python(self, source: str) -> int:
        """Run a piece of Python in the environment of the parts; its exit status."""
        return subprocess.run(
            [sys.executable, "-c", source], cwd=REPOSITORY, env=self._environment, timeout=60
        ).returncode

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        expect: tuple[int, ...] = (200,),
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> Any:
        """Ask the workspace; what got no answer is asked again, as a client of sense does."""
        key = f"{method}-{time.monotonic_ns()}"
        sent = {**(headers or {}), **({"Idempotency-Key": key} if method == "POST" else {})}
        deadline = time.monotonic() + _STARTS_SECONDS
        while True:
            try:
                answer = self._client.request(
                    method,
                    f"/v1/workspaces/faults{path}",
                    json=body,
                    headers=sent,
                    content=content,
                )
                if answer.status_code in expect or answer.status_code not in (409, 503):
                    break
            except httpx2.TransportError:
                pass
            assert time.monotonic() < deadline, f"{method} {path} got no answer"
            time.sleep(0.05)
        assert answer.status_code in expect, (method, path, answer.status_code, answer.text)
        is_json = "json" in answer.headers.get("content-type", "")
        found: Any = answer.json() if is_json else answer.content
        if (method, path) == ("POST", "/runs"):
            self.answered.append((key, found["id"]))
        return found

    def arm(self, point: str) -> None:
        """Have whoever comes to this place next die there."""
        for path in (self.crash_file, self.crash_file.with_name("crash.reached")):
            path.unlink(missing_ok=True)
        whole = self.crash_file.with_name("arming")
        whole.write_text(point)
        whole.rename(self.crash_file)

    def has_crashed(self) -> bool:
        """Whether somebody came to the place and died."""
        return self.crash_file.with_name("crash.reached").exists()

    def resume(self) -> None:
        """Let a part that stands still go on."""
        for part in self._parts.values():
            part.send_signal(signal.SIGCONT)

    @contextmanager
    def parts_with(self, more_of: dict[str, dict[str, str]]) -> Iterator[None]:
        """During the block these parts run with more in their environments, and then as before."""
        try:
            self._more_of = more_of
            self._end_and_await(more_of)
            yield
        finally:
            self._more_of = {}
            self._end_and_await(more_of)

    def log_of(self, name: str) -> str:
        """What a part has printed."""
        return (self._folder / f"{name}.log").read_text(errors="replace")

    def assert_whole(self) -> None:
        """All has ended well, and nothing is left."""
        installation = Installation(self.database_url, self.data_dir / "objects", self.answered)
        deadline = time.monotonic() + 90
        while found := breaches(installation):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)

    def end_all(self) -> None:
        """Nobody dies or stands still any more, and whatever goes on is ended."""
        self.crash_file.unlink(missing_ok=True)
        self.resume()
        url = self.database_url.replace("postgresql+psycopg", "postgresql")
        deadline = time.monotonic() + 90
        with psycopg.connect(url, autocommit=True) as connection:
            while found := connection.execute(_ENDING).fetchall():
                assert time.monotonic() < deadline, found
                connection.execute(_NOT_ASIDE)
                for method, path in found:
                    self.ask(method, path, expect=(202, 204, 404, 409))
                time.sleep(0.5)

    def wait(
        self,
        is_so: Callable[[], object],
        *,
        seconds: float = 60.0,
        what: Callable[[], str] = lambda: "",
    ) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, what() or self.said()
            time.sleep(0.05)

    def said(self) -> str:
        """The end of what the parts printed."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-2000:]}"
            for path in sorted(self._folder.glob("*.log"))
        )

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        words = ["api", f"--fd={self._listener.fileno()}"]
        if name.startswith("worker"):
            words = ["worker", "--hostname", f"{name}@%h"]
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [*_PROGRAM, *words],
                cwd=REPOSITORY,
                env=self._environment | self._more_of.get(name, {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[self._listener.fileno()],
                start_new_session=True,
            )

    def _end_and_await(self, names: Iterable[str]) -> None:
        """End parts in order, so that others are started in their place."""
        old = {name: self._parts[name] for name in names}
        for part in old.values():
            part.terminate()
        self.wait(lambda: all(self._parts[name] is not part for name, part in old.items()))

    def _keep(self) -> None:
        while not self._ending.wait(0.03):
            for name, part in self._parts.items():
                if part.poll() is not None:
                    self.deaths += 1
                    self._parts[name] = self._spawn(name)
