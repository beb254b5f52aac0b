"""Wait until files change: the kernel tells of it, so that nobody looks again and again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket

# From <sys/inotify.h>.
_MODIFY, _MOVED_TO, _CREATE = 0x2, 0x80, 0x100
# Some changes are told by nobody: those of a file that is mapped, or of another machine.
SELDOM_SECONDS = 5.0
READ_BYTES = 1 << 16
_LIBC = ctypes.CDLL(None, use_errno=True)


class Changes:
    """Waits for one thread; `wake` may be called by any.

    Args:
        often_seconds: how often to look where the kernel tells nothing, because all that it has to
            spare for this user is taken.
    """

    def __init__(self, *, often_seconds: float) -> None:
        self._often_seconds = often_seconds
        self._is_blind = False
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._poller = select.poll()
        self._poller.register(self._woken, select.POLLIN)
        self._kernel: int = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._kernel < 0:
            self._is_blind = True
        else:
            self._poller.register(self._kernel, select.POLLIN)

    def watch(self, path: str) -> None:
        """Be told of a file that is written to, or of what is written or made in a folder."""
        if self._kernel < 0:
            return
        wanted = _MODIFY | _MOVED_TO | _CREATE
        # A path that is watched already keeps its number, so that this costs one call.
        number = _LIBC.inotify_add_watch(self._kernel, os.fsencode(path), wanted)
        if number < 0 and os.path.exists(path):
            self._is_blind = True

    def wait(self) -> None:
        """Return at a change since the last call, when woken, or when it is time to look."""
        seconds = self._often_seconds if self._is_blind else SELDOM_SECONDS
        for descriptor, _ in self._poller.poll(seconds * 1000):
            with contextlib.suppress(OSError):
                os.read(descriptor, READ_BYTES)

    def wake(self) -> None:
        """Have `wait` return."""
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def close(self) -> None:
        """Watch no more; the waiting thread calls it when it ends."""
        self._waker.close()
        self._woken.close()
        if self._kernel >= 0:
            os.close(self._kernel)
            self._kernel = -1
