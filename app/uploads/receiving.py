"""Taking pieces of an upload: the row says how many bytes are safe, the file holds them."""

import base64
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import anyio
import anyio.to_thread
from sqlalchemy import func
from starlette.requests import ClientDisconnect

from app.blobs import repository as blobs
from app.blobs.errors import BlobDigestMismatch
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.kernel.errors import DomainError, FieldError, invalid_field
from app.storage.objects import ObjectStore
from app.storage.partial import PartialBusy, PartialFile, locked
from app.storage.writer import CHUNK_BYTES, StoredObject, sha256_of
from app.tables.upload import Upload
from app.uploads import repository
from app.uploads.errors import (
    PieceDigestMismatch,
    UploadBusy,
    UploadComplete,
    UploadOffsetMismatch,
    UploadTooLong,
)

SAVE_EVERY_BYTES = 64 * 1024 * 1024
"""A crash costs at most so many bytes of a piece."""
_SHA256_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of an upload, as a request brings them."""

    offset_bytes: int
    stream: AsyncIterator[bytes]
    digest: bytes | None
    """SHA-256 that the bytes must have; None: unchecked, and kept as far as they come."""


def piece_digest(header: str | None) -> bytes | None:
    """The SHA-256 of a Content-Digest header (RFC 9530); other algorithms are ignored.

    Raises:
        Invalid: it names sha-256 but holds no such hash.
    """
    if header is None or "sha-256=" not in header:
        return None
    match = _SHA256_DIGEST.search(header)
    if match is None:
        raise invalid_field(
            "header/Content-Digest",
            "digest_malformed",
            "Write it as Content-Digest: sha-256=:BASE64:, the 32 bytes of the hash in base64.",
        )
    return base64.b64decode(match[1])


class Receiver:
    """Takes pieces of one upload."""

    def __init__(self, database: Database, objects: ObjectStore, upload: Upload) -> None:
        self._database = database
        self._objects = objects
        self._upload = upload
        self._path = objects.partial_path(upload.id)

    async def receive(self, piece: Piece) -> Upload:
        """Append a piece; with the last byte the file is checked and becomes a blob.

        A connection that breaks off leaves what came, unless the piece has a digest.

        Returns:
            The upload as it is then.

        Raises:
            UploadOffsetMismatch: the piece begins elsewhere than the bytes received end.
            UploadBusy: somebody else is writing.
            UploadComplete: everything is there.
            UploadTooLong: more came than was announced; nothing of the piece was kept.
            PieceDigestMismatch: the piece has another digest; nothing of it was kept.
            BlobDigestMismatch: the whole file has another digest; it has to be sent again.
        """
        if self._upload.completed_at is not None:
            raise UploadComplete("The upload is complete; its blob has all bytes.")
        found = self._upload.found_sha256
        if found is None:
            await self._append(piece)
        elif piece.offset_bytes != self._upload.size_bytes:
            raise self._mismatch(self._upload.size_bytes)
        else:
            await self._take_up(found)
        return await self._finished()

    async def _append(self, piece: Piece) -> None:
        partial = PartialFile(self._path, offset_bytes=self._upload.offset_bytes)
        try:
            await anyio.to_thread.run_sync(partial.__enter__)
        except PartialBusy:
            raise _busy() from None
        except FileNotFoundError:
            raise await self._lost() from None
        try:
            await self._check_offset(partial, piece)
            await anyio.to_thread.run_sync(partial.cut)
            await self._write(partial, piece)
            if partial.offset_bytes == self._upload.size_bytes:
                await self._publish()
        finally:
            partial.__exit__(None, None, None)

    async def _check_offset(self, partial: PartialFile, piece: Piece) -> None:
        # Under the file's lock: another request may have moved it since the row was read.
        async with self._database.session() as session:
            row = await repository.get(session, self._upload.workspace_id, self._upload.id)
        if row.found_sha256 is not None:
            # The file is what a crash left, or was made anew by opening it.
            with suppress(FileNotFoundError):
                await anyio.to_thread.run_sync(self._adopt_if, row.found_sha256)
        if row.found_sha256 is not None or row.offset_bytes != self._upload.offset_bytes:
            raise _busy()
        if piece.offset_bytes != partial.offset_bytes:
            await self._save(partial.offset_bytes)
            raise self._mismatch(partial.offset_bytes)

    async def _lost(self) -> DomainError:
        """What is said when the file is not there: another request moved it, or a disk was lost."""
        async with self._database.session() as session:
            await repository.get(session, self._upload.workspace_id, self._upload.id)
            is_lost = await repository.begin_again(
                session, self._upload.id, self._upload.offset_bytes
            )
        return self._mismatch(0) if is_lost else _busy()

    def _mismatch(self, offset_bytes: int) -> UploadOffsetMismatch:
        return UploadOffsetMismatch(
            f"The next piece begins at byte {offset_bytes}.",
            headers={"Upload-Offset": str(offset_bytes)},
            extensions={"offset_bytes": offset_bytes},
        )

    async def _write(self, partial: PartialFile, piece: Piece) -> None:
        pending = bytearray()
        saved_bytes = partial.offset_bytes
        try:
            async for chunk in piece.stream:
                pending += chunk
                if partial.offset_bytes + len(pending) > self._upload.size_bytes:
                    raise UploadTooLong(
                        f"The file was announced with {self._upload.size_bytes} bytes."
                    )
                if len(pending) >= CHUNK_BYTES:
                    await anyio.to_thread.run_sync(partial.write, bytes(pending))
                    pending.clear()
                if piece.digest is None and partial.offset_bytes - saved_bytes >= SAVE_EVERY_BYTES:
                    saved_bytes = await anyio.to_thread.run_sync(partial.sync)
                    await self._save(saved_bytes)
        except (ClientDisconnect, OSError):
            await self._keep(partial, pending if piece.digest is None else None)
            raise
        except UploadTooLong:
            await self._keep(partial, None)
            raise
        await anyio.to_thread.run_sync(partial.write, bytes(pending))
        if piece.digest is not None and piece.digest != partial.written_sha256:
            await self._keep(partial, None)
            raise PieceDigestMismatch(
                "The bytes of the piece are not those of its Content-Digest; send it again.",
                errors=[FieldError("header/Content-Digest", "digest_mismatch", "Other bytes.")],
            )
        await self._save(await anyio.to_thread.run_sync(partial.sync))

    async def _keep(self, partial: PartialFile, pending: bytearray | None) -> None:
        """At a piece's early end keep what came of it, or (None) nothing."""
        with anyio.CancelScope(shield=True):
            if pending is None:
                await anyio.to_thread.run_sync(partial.forget)
            else:
                await anyio.to_thread.run_sync(partial.write, bytes(pending))
            await self._save(await anyio.to_thread.run_sync(partial.sync))

    async def _save(self, offset_bytes: int) -> None:
        async with self._database.session() as session:
            await repository.advance(session, self._upload.id, offset_bytes)

    async def _publish(self) -> None:
        """Check the whole; the hash is written down before the file moves."""
        try:
            found = await anyio.to_thread.run_sync(sha256_of, self._path)
        except FileNotFoundError:
            raise repository.given_up() from None
        if self._upload.sha256 not in (None, found):
            await anyio.to_thread.run_sync(self._path.unlink)
            await self._save(0)
            raise BlobDigestMismatch(
                f"SHA-256 {self._upload.sha256} was announced, the bytes have {found}: send all"
                " of them again.",
                errors=[FieldError("/sha256", "digest_mismatch", f"The bytes have {found}.")],
                headers={"Upload-Offset": "0"},
            )
        async with self._database.session() as session:
            await repository.record_hash(session, self._upload.id, found)
        reached(CrashPoint.UPLOAD_HASHED)
        try:
            await anyio.to_thread.run_sync(self._objects.adopt, self._path, found)
        except FileNotFoundError:
            raise repository.given_up() from None
        reached(CrashPoint.UPLOAD_PLACED)

    async def _take_up(self, found: str) -> None:
        """Go on after a crash between the record of the hash and the move, if there was one."""

        def adopt() -> None:
            with locked(self._path):
                self._adopt_if(found)

        try:
            await anyio.to_thread.run_sync(adopt)
        except PartialBusy:
            raise _busy() from None
        except FileNotFoundError:
            return

    def _adopt_if(self, found: str) -> None:
        """Make the file the object `found` if it has these bytes, else remove it.

        Blocking, under the file's lock. The row says what the file was once: this one may be empty,
        made by a request that came too late.
        """
        if sha256_of(self._path) == found:
            self._objects.adopt(self._path, found)
        else:
            self._path.unlink()

    async def _finished(self) -> Upload:
        async with self._database.session() as session:
            row = await repository.get(session, self._upload.workspace_id, self._upload.id)
        found = row.found_sha256
        if found is None or row.completed_at is not None:
            return row
        # Asked without a session: until the upload is complete, no collection takes its bytes.
        is_there = await self._objects.exists(found)
        async with self._database.session() as session:
            row = await repository.lock(session, Upload, self._upload.id)
            if row.found_sha256 != found or row.completed_at is not None:
                return row
            if is_there:
                stored = StoredObject(sha256=found, size_bytes=row.size_bytes)
                await blobs.add(session, row.workspace_id, [stored])
                row.completed_at = func.clock_timestamp()
            else:
                # The row is of a backup, or the bytes were collected: they begin again.
                row.found_sha256, row.offset_bytes = None, 0
            await session.flush()
            await session.refresh(row)
        if not is_there:
            raise self._mismatch(0)
        return row


def _busy() -> UploadBusy:
    return UploadBusy("Another request is writing to this upload, or just has; ask HEAD again.")
