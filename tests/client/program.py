"""The installed command `trainwright`, as a user starts it: in a pipe, or in a terminal."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = Path(sys.executable).with_name("trainwright")
# Makes the terminal at hand its own, so that Ctrl-C there reaches it.
_LAUNCHER = (
    "import fcntl, os, sys, termios; "
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
_SECONDS = 60.0


class Program:
    """Starts the command with settings of its own.

    Args:
        home: where its settings are kept.
        folder: it is started in.
        variables: further ones of its environment.
    """

    def __init__(self, home: Path, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            **variables,
        }

    def without(self, *names: str) -> "Program":
        """The same without some variables."""
        left = {key: value for key, value in self._environment.items() if key not in names}
        return Program(Path(left["HOME"]), self._folder, left)

    def run(
        self, *arguments: str | Path, code: int = 0, given: str = "", **variables: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command in pipes to its end, which must have this exit code."""
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=self._folder,
            env=self._environment | variables,
            input=given,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
        return done

    def run_unread(
        self, *arguments: str, unread: str = "stdout", given: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end, whose standard output or error nobody reads any more."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return subprocess.run(
                [PROGRAM, *arguments],
                cwd=self._folder,
                env=self._environment,
                input=given,
                stdout=writing if unread == "stdout" else subprocess.PIPE,
                stderr=writing if unread == "stderr" else subprocess.PIPE,
                text=True,
                timeout=_SECONDS,
            )
        finally:
            os.close(writing)

    def terminal(self, *arguments: str | Path, columns: int = 100) -> "Terminal":
        """Start a command in a terminal."""
        command = [str(PROGRAM), *map(str, arguments)]
        environment = self._environment | {"TERM": "xterm-256color"}
        return Terminal(command, folder=self._folder, environment=environment, columns=columns)


class Terminal:
    """A command in a pseudo-terminal."""

    def __init__(
        self, command: list[str], *, folder: Path, environment: Mapping[str, str], columns: int
    ) -> None:
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, *command],
            cwd=folder,
            env=environment,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        self.shown = ""
        self._seen = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        os.close(self._end)

    def await_text(self, text: str, *, seconds: float = _SECONDS) -> None:
        """Wait until this was shown, after what was awaited before."""
        ends_at = time.monotonic() + seconds
        while text not in self.shown[self._seen :]:
            left = ends_at - time.monotonic()
            assert left > 0, f"{text!r} was not shown:\n{self.shown}"
            assert self._read(left) or text in self.shown[self._seen :], self.shown
        self._seen = self.shown.index(text, self._seen) + len(text)

    def type(self, text: str) -> None:
        """Type something; `\\x03` is Ctrl-C."""
        os.write(self._end, text.encode())

    def await_end(self, *, seconds: float = _SECONDS) -> int:
        """Wait for the end and return the exit code; what is shown is read meanwhile."""
        ends_at = time.monotonic() + seconds
        while self._read(ends_at - time.monotonic()):
            assert time.monotonic() < ends_at, f"it did not end:\n{self.shown}"
        return self._process.wait(timeout=max(1.0, ends_at - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """Read some; False once nothing more can come."""
        if not select.select([self._end], [], [], max(0.0, seconds))[0]:
            return True
        # Linux answers with EIO when the other end is closed.
        with suppress(OSError):
            data = os.read(self._end, 65536)
            self.shown += data.decode(errors="replace")
            return bool(data)
        return False
