"""Uploads by digest: ask what is missing, send that.

For routes of users and of nodes alike. A workspace has only what was sent to it in full: to know
a digest gives no access to the bytes of another workspace.
"""

from collections.abc import AsyncIterator, Sequence

from app.blobs import repository
from app.blobs.errors import BlobDigestMismatch, BlobNotFound, BlobTooLarge
from app.kernel.db import Database
from app.kernel.errors import FieldError
from app.storage.errors import DigestMismatch, ObjectTooLarge
from app.storage.objects import ObjectStore
from app.storage.writer import StoredObject


async def find_missing(
    database: Database, objects: ObjectStore, *, workspace_id: str, digests: Sequence[str]
) -> list[str]:
    """Which of `digests` must be sent to the workspace, in their order, each once."""
    wanted = list(dict.fromkeys(digests))
    async with database.session() as session:
        had = await repository.touch(session, workspace_id, wanted)
    damaged = set(await objects.missing(had))
    return [digest for digest in wanted if digest not in had or digest in damaged]


async def put_blob(
    database: Database,
    objects: ObjectStore,
    *,
    workspace_id: str,
    sha256: str,
    stream: AsyncIterator[bytes],
    max_bytes: int,
) -> StoredObject:
    """Store bytes under their digest and give the workspace access.

    No database session is open while the bytes arrive.

    Raises:
        BlobDigestMismatch: the bytes have another digest; nothing was kept.
        BlobTooLarge: more than `max_bytes` came; nothing was kept.
    """
    try:
        stored = await objects.put(stream, expected_sha256=sha256, max_bytes=max_bytes)
    except DigestMismatch as error:
        raise BlobDigestMismatch(
            f"The address says SHA-256 {sha256}, the bytes have {error.found_sha256}.",
            errors=[FieldError("path/sha256", error.code, f"The bytes have {error.found_sha256}.")],
        ) from None
    except ObjectTooLarge:
        raise BlobTooLarge(f"A blob may have at most {max_bytes} bytes.") from None
    async with database.session() as session:
        await repository.add(session, workspace_id, [stored])
    return stored


async def blob_size(database: Database, *, workspace_id: str, sha256: str) -> int:
    """Size in bytes of one of the workspace's blobs.

    Raises:
        BlobNotFound: the workspace has no such blob.
    """
    async with database.session() as session:
        found = await repository.sizes(session, workspace_id, [sha256])
    if sha256 not in found:
        raise BlobNotFound(f"This workspace has no blob {sha256}.")
    return found[sha256]
