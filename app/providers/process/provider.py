"""Nodes as process groups of this machine.

A node is a folder and a runner. Whether the runner lives is told by a lock on a file of that
folder: the provider takes it and the runner inherits it, so that it is free exactly when the
runner is gone, however it went. No process id is ever trusted for that.
"""

import asyncio
import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from app.kernel.crash_points import FILE_VARIABLE
from app.providers.base import LOCAL, Capacity, Host, NodeSpec, NotYetRemoved, ProviderError
from app.providers.process.trees import remove_tree

LOOPBACK = "127.0.0.1"
NODE_VARIABLE = "TRAINWRIGHT_NODE"
"""Every process of a node carries its name in this variable."""
_KILL_ROUNDS = 5
_LOCK_TRIES = 100
_LOCK_PAUSE_SECONDS = 0.01
_MEMORY = Path("/dev/shm")  # noqa: S108 - each node makes a folder of its own there
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR",
              "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", FILE_VARIABLE)  # fmt: skip


class ProcessProvider:
    """Runs nodes on this machine without any container engine."""

    name = "process"

    def __init__(self, nodes_dir: Path, *, runner: Path) -> None:
        """Make the provider.

        Args:
            nodes_dir: where the folders of the nodes lie.
            runner: the runner's program.
        """
        self._nodes_dir = nodes_dir
        self._runner = runner

    async def capacity(self) -> Capacity:
        """This machine's cores and memory."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        return Capacity(
            cores=float(cores or os.cpu_count() or 1),
            memory_bytes=psutil.virtual_memory().total,
            gpus=0,
        )

    async def hosts(self) -> list[Host]:
        """This machine."""
        return [Host(name=LOCAL, capacity=await self.capacity())]

    async def ensure(self, spec: NodeSpec) -> None:
        """Start the node's runner unless it runs."""
        await asyncio.to_thread(self._ensure, spec)

    async def stop(self, name: str, *, host: str = LOCAL) -> None:
        """Send SIGTERM to the runner: it stops the script, collects, reports and ends."""
        await asyncio.to_thread(self._signal_runner, name, signal.SIGTERM)

    async def remove(self, name: str, *, host: str | None = None) -> None:
        """Kill whatever carries the node's name and remove its folder."""
        await asyncio.to_thread(self._remove, name)

    async def is_alive(self, name: str, *, host: str = LOCAL) -> bool:
        """Whether the runner holds its lock."""
        return await asyncio.to_thread(self._is_alive, name)

    async def address(self, name: str) -> str | None:
        """The loopback address: nodes are processes of this machine."""
        return LOOPBACK if await self.is_alive(name) else None

    async def list_names(self) -> list[str]:
        """The nodes whose folders exist."""
        return await asyncio.to_thread(self._list_names)

    async def list_networks(self) -> list[str]:
        """None: processes share this machine's."""
        return []

    async def remove_network(self, name: str) -> None:
        """There is nothing to remove."""

    def _ensure(self, spec: NodeSpec) -> None:
        folder = self._nodes_dir / spec.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _take_lock(lock):
                return
            _write_private(folder / "token", spec.token)
            self._spawn(spec, folder, lock)
        except OSError as error:
            raise ProviderError(f"The runner cannot be started: {error.strerror}.") from error
        finally:
            os.close(lock)

    def _spawn(self, spec: NodeSpec, folder: Path, lock: int) -> None:
        environment = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        environment |= {
            NODE_VARIABLE: spec.name,
            "TRAINWRIGHT_ENDPOINT": spec.endpoint,
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
        }
        if os.access(_MEMORY, os.W_OK):
            environment["TRAINWRIGHT_SECRETS_DIR"] = str(_secrets_folder(spec.name))
        (folder / "tmp").mkdir(exist_ok=True)
        with (folder / "runner.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", str(self._runner)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
            )
        (folder / "pid").write_text(str(process.pid))
        # Popen objects of runners are never waited for: reap() does that for all of them.
        _children.append(process)
        _reap()

    def _is_alive(self, name: str) -> bool:
        try:
            lock = os.open(self._nodes_dir / name / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared, so that several may ask at once, and a start can tell them from a runner.
            return not _try_lock(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)

    def _signal_runner(self, name: str, number: signal.Signals) -> None:
        _reap()
        if not self._is_alive(name):
            return
        for process in self._processes_of(name):
            if str(self._runner) in _command_line(process):
                try:
                    process.send_signal(number)
                except psutil.NoSuchProcess:
                    continue

    def _remove(self, name: str) -> None:
        _reap()
        folder = self._nodes_dir / name
        if not folder.exists():
            return
        self._kill(name)
        try:
            remove_tree(_secrets_folder(name))
            remove_tree(folder)
        except OSError as error:
            message = f"What the node {name} left cannot be removed: {error}."
            raise ProviderError(message) from error

    def _kill(self, name: str) -> None:
        """Kill whatever carries the node's name, and what that forked before it was killed."""
        for _ in range(_KILL_ROUNDS):
            processes = self._processes_of(name)
            if not processes:
                return
            for process in processes:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            _, left = psutil.wait_procs(processes, timeout=2)
            _reap()
            if any(_is_running(process) for process in left):
                break
        raise NotYetRemoved(name)

    def _list_names(self) -> list[str]:
        if not self._nodes_dir.exists():
            return []
        return sorted(path.name for path in self._nodes_dir.iterdir() if path.is_dir())

    def _processes_of(self, name: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(NODE_VARIABLE) == name:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
        return found


def _secrets_folder(name: str) -> Path:
    return _MEMORY / f"{name}-secrets"


_children: list[subprocess.Popen[bytes]] = []


def _reap() -> None:
    """Collect the exit statuses of runners that ended, so that none stays a zombie."""
    _children[:] = [child for child in _children if child.poll() is None]


def _take_lock(descriptor: int) -> bool:
    """Take a runner's lock; False: a runner has it.

    Raises:
        BlockingIOError: somebody who only asks whether one has it does not let go of it.
    """
    for _ in range(_LOCK_TRIES):
        if _try_lock(descriptor, fcntl.LOCK_EX):
            return True
        if not _try_lock(descriptor, fcntl.LOCK_SH):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_LOCK_PAUSE_SECONDS)
    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def _is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
