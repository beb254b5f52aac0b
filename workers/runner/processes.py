"""Start a node's processes, drain what they print, and notice how they end."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from workers.runner.control import Control
from workers.runner.memory import has_own_group, oom_kills
from workers.runner.streams import TAIL_LINES

PIPE_BYTES = 1 << 20
# Unbuffered Python writes a line and its end apart; they travel better together.
LINE_END_MILLISECONDS = 2
DRAIN_SECONDS = 5.0
_F_SETPIPE_SZ = 1031
_HAS_ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_OOM_HINT = "[trainwright] killed by the kernel: the machine or its limit was out of memory"
_CHILD_OOM_HINT = "[trainwright] the kernel killed a process of this node: its memory was used up"
_KILL_HINT = "[trainwright] killed by SIGKILL, not by Trainwright; often that is lack of memory"


class Sink(Protocol):
    """Takes what a process prints; a stream of the run does."""

    name: str
    grown_at: float
    """When something came last, by the monotonic clock."""

    def append(self, data: bytes) -> None:
        """Take bytes."""

    def last_lines(self) -> list[str]:
        """Return the last lines as text."""


class NodeProcess:
    """One process of the node, in a session of its own, its output drained into a stream.

    Must be started by the main thread: the kernel kills the child when the *thread* that made it
    ends.

    Args:
        argv: program and arguments.
        stream: takes standard output and standard error, as one.
        control: its inbox is told when the process has ended.
        winds_down: whether it ends by itself soon after those that it serves.
    """

    def __init__(
        self, *, argv: list[str], stream: Sink, control: Control, winds_down: bool = False
    ) -> None:
        self.winds_down = winds_down
        self._argv = argv
        self._stream = stream
        self._control = control
        self._on_end: Callable[[], object] | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._has_ended = threading.Event()
        self._waker: socket.socket | None = None
        self._was_killed = False
        self._was_told_to_end = False
        self._oom_kills_before = oom_kills()
        self._started_at = 0.0
        self._began = 0.0
        self._ended_at: float | None = None
        self._exit_code: int | None = None
        self._signal: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return not self._has_ended.is_set()

    @property
    def has_failed(self) -> bool:
        """Whether it ended other than with exit code 0."""
        return self._has_ended.is_set() and self._exit_code != 0

    @property
    def has_started(self) -> bool:
        """Whether it was started, or its start was tried."""
        return self._started_at > 0

    @property
    def exit_status(self) -> tuple[int | None, int | None]:
        """Exit code and number of the signal that ended it."""
        return self._exit_code, self._signal

    @property
    def ended_badly(self) -> bool:
        """Whether it ended other than with exit code 0 without having been told to end."""
        return self.has_failed and not self._was_told_to_end

    @property
    def session(self) -> int | None:
        """Id of its session, which is its own process id; None when it could not be started."""
        return None if self._popen is None else self._popen.pid

    @property
    def quiet_seconds(self) -> float | None:
        """How long it has printed nothing; None when it does not run."""
        if self._popen is None or not self.is_running:
            return None
        return time.monotonic() - max(self._began, self._stream.grown_at)

    def start(
        self,
        *,
        environment: dict[str, str],
        cwd: str,
        on_end: Callable[[], object] | None = None,
    ) -> None:
        """Start it; one that cannot be started has ended with 127 or 126, as in a shell.

        One that was told to end before stays ended.

        Args:
            environment: all of its variables.
            cwd: its working folder.
            on_end: called once it has ended, in a thread of the runner's.
        """
        self._on_end = on_end
        if self._has_ended.is_set():
            self._tell_of_end()
            return
        self._started_at = time.time()
        self._began = time.monotonic()
        reading, writing = os.pipe()
        # The limit for this user's pipes may be used up; a smaller pipe does as well.
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, _F_SETPIPE_SZ, PIPE_BYTES)
        runner_pid = os.getpid()
        try:
            self._popen = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd=cwd,
                env=environment,
                start_new_session=True,
                # No lock is taken there; a wrapper program would cost a second start.
                preexec_fn=lambda: _die_with(runner_pid),  # noqa: PLW1509
            )
        except (OSError, ValueError) as error:
            os.close(reading)
            self._could_not_start(error)
            return
        finally:
            os.close(writing)
        self._waker, woken = socket.socketpair()
        self._reader = threading.Thread(target=self._drain, args=(reading, woken), daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, args=(self._popen,), daemon=True).start()

    def terminate(self) -> None:
        """Send SIGTERM to the process and its group; one that has not started has ended then."""
        if not self._is_over():
            self._was_told_to_end = True
            if not self.has_started:
                self._end(exit_code=None)
        self._signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process and its group."""
        if not self._is_over():
            self._was_killed = True
        self._signal_group(signal.SIGKILL)

    def finish_reading(self) -> None:
        """Read what is left of the output; call when nobody should be writing any more."""
        if self._waker is not None and self._reader is not None:
            with contextlib.suppress(OSError):
                self._waker.send(b"x")
            self._reader.join(DRAIN_SECONDS)
            self._waker.close()

    def ending(self) -> dict[str, Any]:
        """Return how it ended, for the event `process_ended`; times are epoch seconds."""
        return {
            "exit_code": self._exit_code,
            "signal": self._signal,
            "stopped": self._was_told_to_end,
            "ended_at": self._ended_at,
        }

    def report(self) -> dict[str, Any]:
        """Describe the ended process for the event `exited`."""
        lines = self._stream.last_lines()
        hint = self._out_of_memory_hint()
        if hint:
            lines = [*lines[-(TAIL_LINES - 1) :], hint]
        return {
            "stream": self._stream.name,
            **self.ending(),
            "started_at": self._started_at,
            "oom": hint in (_OOM_HINT, _CHILD_OOM_HINT),
            "last_lines": lines,
        }

    def _could_not_start(self, error: OSError | ValueError) -> None:
        program = self._argv[0]
        self._stream.append(f"trainwright: cannot start {program!r}: {error}\n".encode())
        self._end(exit_code=127 if isinstance(error, FileNotFoundError) else 126)

    def _await_end(self, popen: subprocess.Popen[bytes]) -> None:
        status = popen.wait()
        self._end(exit_code=status if status >= 0 else None, number=-status if status < 0 else None)

    def _is_over(self) -> bool:
        """Ask the kernel: the thread that waits for the end may not have had its turn."""
        if self._popen is None or not self.is_running:
            return not self.is_running
        try:
            return os.waitid(os.P_PID, self._popen.pid, _HAS_ENDED) is not None
        except ChildProcessError:
            return True  # that thread has just taken its exit status

    def _end(self, *, exit_code: int | None, number: int | None = None) -> None:
        self._ended_at = time.time()
        self._exit_code = exit_code
        self._signal = number
        self._has_ended.set()
        self._control.inbox.put("exited")
        self._tell_of_end()

    def _tell_of_end(self) -> None:
        if self._on_end is not None:
            self._on_end()

    def _drain(self, descriptor: int, woken: socket.socket) -> None:
        output, anything = select.poll(), select.poll()
        output.register(descriptor, select.POLLIN)
        anything.register(descriptor, select.POLLIN)
        anything.register(woken, select.POLLIN)
        try:
            while descriptor in dict(anything.poll()):
                chunk = os.read(descriptor, PIPE_BYTES)
                if not chunk:
                    return
                if not chunk.endswith(b"\n") and output.poll(LINE_END_MILLISECONDS):
                    chunk += os.read(descriptor, PIPE_BYTES)
                self._stream.append(chunk)
        finally:
            os.close(descriptor)
            woken.close()

    def _signal_group(self, number: signal.Signals) -> None:
        # Once the leader is reaped its id may be another's; leftovers are found otherwise.
        if self._popen is None or self._popen.poll() is not None:
            return
        try:
            os.killpg(self._popen.pid, number)
        except (ProcessLookupError, PermissionError):
            return

    def _out_of_memory_hint(self) -> str | None:
        """What is to be said of memory; None: nothing points to it."""
        if self._was_killed or not self.has_failed:
            return None
        has_killed = oom_kills() > self._oom_kills_before
        if self._signal == signal.SIGKILL or self._exit_code == 137:
            return _OOM_HINT if has_killed else _KILL_HINT
        # A worker process that the script had started: only a counter of the node's own tells.
        is_own = has_killed and has_own_group() and not self._was_told_to_end
        return _CHILD_OOM_HINT if is_own else None


class Prepared(NamedTuple):
    """A process that is ready to start, and its environment, which the start completes."""

    process: NodeProcess
    environment: dict[str, str]


def _die_with(runner_pid: int) -> None:
    """In the child: be killed when the runner dies, and do not outlive one already dead."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != runner_pid:
        os.kill(os.getpid(), signal.SIGKILL)
