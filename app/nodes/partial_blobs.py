"""Large files of nodes on their way: what came before a connection broke off is not sent again.

Nothing is written down but the file. Its name says which node it is from and what it will be, its
length how much of it came, and its hash in the end whether that is true. What no node goes on with
is removed after hours.
"""

import functools
from collections.abc import AsyncIterator

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect

from app.kernel.errors import Unavailable
from app.storage.errors import DigestMismatch, ObjectTooLarge
from app.storage.objects import ObjectStore
from app.storage.partial import PartialBusy, PartialFile, locked
from app.storage.writer import CHUNK_BYTES, StoredObject, sha256_of
from app.uploads.errors import UploadBusy, UploadOffsetMismatch, UploadTooLong

MOST_IDLE_SECONDS = 60.0


class PartialBlob:
    """A file of one node, until it is whole.

    Args:
        objects: where it will be.
        node_name: the node.
        sha256: the hash of the whole.
    """

    def __init__(self, objects: ObjectStore, *, node_name: str, sha256: str) -> None:
        self._objects = objects
        self._sha256 = sha256
        self._path = objects.partial_path(f"{node_name}.{sha256}")

    async def length_bytes(self) -> int:
        """How much of it is here.

        Raises:
            UploadBusy: a request is still writing, or the whole is being stored.
        """
        try:
            return await anyio.to_thread.run_sync(self._length_bytes)
        except PartialBusy:
            raise _busy() from None

    async def forget(self) -> None:
        """Remove what is here."""
        await anyio.to_thread.run_sync(functools.partial(self._path.unlink, missing_ok=True))

    async def receive(
        self, stream: AsyncIterator[bytes], *, offset_bytes: int, size_bytes: int, max_bytes: int
    ) -> StoredObject | None:
        """Append what comes; the object, once it is whole, else None.

        What came before the connection broke off, or nothing came any more, stays.

        Args:
            stream: the bytes.
            offset_bytes: where they begin in the file.
            size_bytes: of the whole file.
            max_bytes: that it may have.

        Raises:
            ObjectTooLarge: it may not be so large.
            UploadBusy: another request is still writing.
            UploadOffsetMismatch: it is not so long yet, or longer.
            UploadTooLong: more came than the whole has; what was before stays.
            DigestMismatch: the whole has another hash; nothing is left of it.
            Unavailable: nothing came for long.
        """
        if size_bytes > max_bytes:
            raise ObjectTooLarge(max_bytes=max_bytes)
        partial = PartialFile(self._path, offset_bytes=offset_bytes)
        try:
            await anyio.to_thread.run_sync(partial.__enter__)
        except PartialBusy:
            raise _busy() from None
        except FileNotFoundError:
            raise _mismatch(0) from None
        try:
            length_bytes = (await anyio.to_thread.run_sync(self._path.stat)).st_size
            if length_bytes != offset_bytes:
                raise _mismatch(length_bytes)
            await _write(partial, stream, size_bytes)
            if partial.offset_bytes < size_bytes:
                return None
            await anyio.to_thread.run_sync(self._publish)
        except FileNotFoundError:  # the node has given it up meanwhile, in another request
            raise _mismatch(0) from None
        finally:
            partial.__exit__(None, None, None)
        return StoredObject(sha256=self._sha256, size_bytes=size_bytes)

    def _length_bytes(self) -> int:
        try:
            with locked(self._path):
                return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _publish(self) -> None:
        found = sha256_of(self._path)
        if found != self._sha256:
            self._path.unlink()
            raise DigestMismatch(expected_sha256=self._sha256, found_sha256=found)
        self._objects.adopt(self._path, found)


async def _write(partial: PartialFile, stream: AsyncIterator[bytes], size_bytes: int) -> None:
    pending = bytearray()
    try:
        async for chunk in _lively(stream):
            if partial.offset_bytes + len(pending) + len(chunk) > size_bytes:
                await anyio.to_thread.run_sync(partial.forget)
                raise UploadTooLong(f"The file was announced with {size_bytes} bytes.")
            pending += chunk
            if len(pending) >= CHUNK_BYTES:
                await anyio.to_thread.run_sync(partial.write, bytes(pending))
                pending.clear()
    except (ClientDisconnect, Unavailable):
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(partial.write, bytes(pending))
        raise
    await anyio.to_thread.run_sync(partial.write, bytes(pending))


async def _lively(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, as long as something comes: nobody says that a cable was cut."""
    while True:
        with anyio.move_on_after(MOST_IDLE_SECONDS) as limit:
            chunk = await anext(stream, None)
        if limit.cancelled_caught:
            raise Unavailable(f"Nothing came for {MOST_IDLE_SECONDS:g} s; go on where it ends.")
        if chunk is None:
            return
        yield chunk


# Who is refused has all the rest still to send, and reads no answer before: it is hung up on.
_HANG_UP = {"Connection": "close"}


def _busy() -> UploadBusy:
    return UploadBusy("Another request is still writing to this file.", headers=_HANG_UP)


def _mismatch(length_bytes: int) -> UploadOffsetMismatch:
    return UploadOffsetMismatch(f"The next piece begins at byte {length_bytes}.", headers=_HANG_UP)
