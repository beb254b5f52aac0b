"""Wheels that were compiled here, kept for every environment that can use them."""

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from app.environments.commands import Output

_LOOK_SECONDS = 0.5
_LOCK_SUFFIX = ".lock"
Compile = Callable[[Path], Awaitable[None]]
"""Leaves one wheel in the folder that it is given."""


class WheelCache:
    """One folder for each key, with one wheel in it; it is there whole or not at all.

    The folder's time is when its wheel was last asked for. Whoever makes, takes or removes the
    wheel of a key holds the key's lock.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> Path | None:
        """The wheel of a key, if there is one."""
        return next((self._folder / key).glob("*.whl"), None)

    async def ensure(self, key: str, compile_into: Compile, on_output: Output) -> Path:
        """The wheel of a key, compiled unless it is there; once, however many ask for it.

        Args:
            key: what it may be used for.
            compile_into: makes it.
            on_output: is told what is waited for.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        async with _held(self._lock_path(key), on_output):
            if (found := self.find(key)) is not None:
                os.utime(found.parent)
                await on_output(f"{found.name} was compiled before: {key}\n".encode())
                return found
            await asyncio.to_thread(self._clear, key)
            work = self._work_path(key)
            work.mkdir()
            try:
                await compile_into(work)
                os.rename(work, self._folder / key)
            finally:
                await asyncio.to_thread(self._clear, key)
        found = self.find(key)
        assert found is not None
        return found

    def collect(self, *, unused_for_seconds: float) -> list[str]:
        """Remove wheels that nobody asked for so long, and what killed compilations left; blocks.

        Returns:
            The keys of the wheels that went.
        """
        gone = []
        for path in self._folder.glob(f".*{_LOCK_SUFFIX}"):
            key = path.name.removeprefix(".").removesuffix(_LOCK_SUFFIX)
            with path.open("a") as lock:
                if not _try_lock(lock):
                    continue  # it is being compiled, or taken
                self._clear(key)
                kept = self._folder / key
                if kept.is_dir() and time.time() - kept.stat().st_mtime > unused_for_seconds:
                    os.rename(kept, self._work_path(key))
                    gone.append(key)
                    self._clear(key)
        return gone

    def _clear(self, key: str) -> None:
        shutil.rmtree(self._work_path(key), ignore_errors=True)

    def _lock_path(self, key: str) -> Path:
        return self._folder / f".{key}{_LOCK_SUFFIX}"

    def _work_path(self, key: str) -> Path:
        return self._folder / f".making-{key}"


@asynccontextmanager
async def _held(path: Path, on_output: Output) -> AsyncIterator[None]:
    """Hold a lock that is free when its holder is gone, however it went."""
    with path.open("a") as lock:
        is_told = False
        while True:
            if _try_lock(lock):
                break
            if not is_told:
                await on_output(b"Another build compiles this wheel; waiting for it.\n")
                is_told = True
            await asyncio.sleep(_LOOK_SECONDS)
        yield


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
