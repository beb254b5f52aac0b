"""The embedded stack as a child process of the walk, of a test or of a benchmark."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import psutil

_START_SECONDS = 120.0
_STOP_SECONDS = 60.0
_LOOK_SECONDS = 0.05
_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_TOKEN = re.compile(r"twt_[A-Za-z0-9_\-]+")
_LAST_WORDS = "Ctrl-C"
_KEPT_FILE = "first-token"
_ROOT = Path(__file__).resolve().parents[2]


class StackError(Exception):
    """The stack did not start or did not stop; the message carries the end of its output."""


class Stack:
    """``trainwright up`` on a data folder and a port of the system's choice.

    The first token is shown only once, by the first start on a data folder; it is kept in a file
    of that folder that only its owner may read, so that a later start can be talked to as well.
    """

    def __init__(
        self, data_dir: Path, *, settings: dict[str, str] | None = None, port: int = 0
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.log_path = self.data_dir.with_name(self.data_dir.name + ".log")
        self._settings = settings or {}
        self._port = port
        self._child: subprocess.Popen[str] | None = None
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None
        self.address = ""
        self.token = ""

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            StackError: it ended, or was not ready within two minutes.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up", "--port", str(self._port)],
            cwd=_ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._child,), daemon=True)
        self._reader.start()
        try:
            self._wait_until_ready(self._child)
        except StackError:
            self.stop()
            raise

    def stop(self) -> list[str]:
        """Interrupt it as Ctrl-C does and wait for its end.

        Returns:
            The command lines of processes that it left behind; these are killed.

        Raises:
            StackError: it did not end within a minute (it is killed then).
        """
        child = self._child
        if child is None:
            return []
        self._child = None
        family = _family(child.pid, self.data_dir)
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        try:
            child.wait(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired as late:
            child.kill()
            child.wait()
            raise StackError(
                f"the stack did not stop within {_STOP_SECONDS:.0f} s\n{self.tail()}"
            ) from late
        finally:
            left = _reap(family)
            if self._reader is not None:
                self._reader.join(timeout=5)
        return left

    def family(self) -> list[psutil.Process]:
        """The supervisor, its descendants, and whatever else was started for the data folder."""
        return [] if self._child is None else _family(self._child.pid, self.data_dir)

    def crash(self) -> None:
        """Kill the supervisor as a crash would; what it ran follows, running runs go on."""
        child, self._child = self._child, None
        if child is not None:
            children = psutil.Process(child.pid).children(recursive=True)
            child.kill()
            child.wait()
            psutil.wait_procs(children, timeout=10)
            if self._reader is not None:
                self._reader.join(timeout=5)
        self._lines.clear()

    def tail(self) -> str:
        """The last lines of its output."""
        return "".join(self._lines[-30:])

    def _read(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with child.stdout as output, self.log_path.open("a") as log:
            for line in output:
                self._lines.append(line)
                log.write(_TOKEN.sub("twt_…", line))
                log.flush()

    def _wait_until_ready(self, child: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise StackError(f"the stack ended with code {child.returncode}\n{self.tail()}")
            if self._has_introduced_itself() and _is_ready(self.address):
                self._find_token()
                return
            time.sleep(_LOOK_SECONDS)
        raise StackError(f"the stack was not ready within {_START_SECONDS:.0f} s\n{self.tail()}")

    def _has_introduced_itself(self) -> bool:
        said = "".join(self._lines)
        address = _ADDRESS.search(said)
        if address is None or _LAST_WORDS not in said:
            return False
        self.address = address.group()
        return True

    def _find_token(self) -> None:
        """The token shown, else the one kept by an earlier start, else a new one."""
        kept = self.data_dir / _KEPT_FILE
        shown = _TOKEN.search("".join(self._lines))
        if shown is not None:
            self.token = shown.group()
        elif kept.exists():
            self.token = kept.read_text().strip()
        else:
            self.token = self._new_token()
        kept.touch(mode=0o600)
        kept.write_text(self.token + "\n")

    def _new_token(self) -> str:
        made = subprocess.run(
            [sys.executable, "-m", "app.cli", "token", "create", "walk"],
            check=False,
            cwd=_ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
        )
        found = _TOKEN.search(made.stdout)
        if found is None:
            raise StackError(f"no token can be made: {made.stdout}{made.stderr}")
        return found.group()

    def _environment(self) -> dict[str, str]:
        own = {"TRAINWRIGHT_DATA_DIR": str(self.data_dir), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **self._settings, **own}


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/readyz", timeout=5, trust_env=False).is_success
    except httpx2.TransportError:
        return False


def _family(pid: int, data_dir: Path) -> list[psutil.Process]:
    """The process, its descendants, and whatever else was started for this data folder."""
    family: dict[int, psutil.Process] = {}
    if psutil.pid_exists(pid):
        parent = psutil.Process(pid)
        family = {process.pid: process for process in [parent, *parent.children(recursive=True)]}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid != os.getpid() and any(str(data_dir) in word for word in words):
            family[process.pid] = process
    return list(family.values())


def _reap(family: list[psutil.Process]) -> list[str]:
    _, alive = psutil.wait_procs(family, timeout=30)
    left = []
    for process in alive:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(" ".join(process.cmdline()))
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return left
