"""Copying objects from one store to another, checked on the way."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from app.storage.errors import DigestMismatch, ObjectMissing
from app.storage.keys import object_key
from app.storage.objects import ObjectStore
from app.storage.writer import CHUNK_BYTES


@dataclass
class Copied:
    """What was done.

    Attributes:
        count: objects that were copied.
        size_bytes: of all objects that are there now, copied or not.
        lost: digests of what the source has lost, or has with other bytes.
    """

    count: int = 0
    size_bytes: int = 0
    lost: list[str] = field(default_factory=list)


def copy_objects(
    digests: Sequence[str], source: ObjectStore, target: ObjectStore, *, step: Callable[[], None]
) -> Copied:
    """Have all `digests` in `target`; what is there intact already is not copied. Blocks.

    Every byte that is copied is hashed. May be broken off and repeated.

    Args:
        digests: of the objects.
        source: where they are.
        target: where they shall be.
        step: called after each.
    """
    copied = Copied()
    for digest in digests:
        there = target.local_path(digest) if target.remote is None else None
        if there is not None:
            copied.size_bytes += there.stat().st_size
        else:
            try:
                copied.size_bytes += _copy(digest, source, target)
                copied.count += 1
            except (ObjectMissing, DigestMismatch):
                copied.lost.append(digest)
        step()
    return copied


def _copy(digest: str, source: ObjectStore, target: ObjectStore) -> int:
    with target.writer() as writer:
        for chunk in _chunks(digest, source):
            writer.write(chunk)
        return writer.commit(expected_sha256=digest).size_bytes


def _chunks(digest: str, source: ObjectStore) -> Iterator[bytes]:
    if source.remote is not None and source.local_path(digest) is None:
        yield from source.remote.fetch(digest)
        return
    # Seals do not matter: a folder of backups may have been copied without times; bytes are hashed.
    try:
        with (source.root / object_key(digest)).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        raise ObjectMissing(f"object {digest} is not in the store") from None
