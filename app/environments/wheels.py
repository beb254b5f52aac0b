"""Wheels that were compiled here, kept for every environment that can use them."""

import asyncio
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from app.environments.commands import Output

_LOOK_SECONDS = 0.5
Compile = Callable[[Path], Awaitable[None]]
"""Leaves one wheel in the folder that it is given."""


class WheelCache:
    """One folder for each key, with one wheel in it; it is there whole or not at all."""

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
        if (found := self.find(key)) is not None:
            await on_output(f"{found.name} was compiled before: {key}\n".encode())
            return found
        self._folder.mkdir(parents=True, exist_ok=True)
        async with _held(self._folder / f".{key}.lock", on_output):
            if (found := self.find(key)) is not None:
                return found
            work = self._folder / f".making-{secrets.token_hex(4)}"
            work.mkdir()
            try:
                await compile_into(work)
                os.rename(work, self._folder / key)
            finally:
                await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
        found = self.find(key)
        assert found is not None
        return found


@asynccontextmanager
async def _held(path: Path, on_output: Output) -> AsyncIterator[None]:
    """Hold a lock that is free when its holder is gone, however it went."""
    with path.open("a") as lock:
        is_told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_told:
                    await on_output(b"Another build compiles this wheel; waiting for it.\n")
                    is_told = True
                await asyncio.sleep(_LOOK_SECONDS)
        yield
