"""Objects in a bucket of S3, Azure Blob or Google Cloud Storage, keyed as in the local folder."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import from_url

from app.storage.errors import ObjectMissing, StoreUnavailable
from app.storage.keys import is_sha256, object_key
from app.storage.writer import CHUNK_BYTES

_REFRESHED_AFTER = timedelta(hours=1)
"""What was stored longer ago is stored again, so that no collection takes it for unused."""
_QUESTIONS_AT_ONCE = 64
_PROBE_KEY = "probe"
_CLIENT_OPTIONS: Any = {"connect_timeout": timedelta(seconds=10)}
_RETRIES: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=60)}


class RemoteObjects:
    """A bucket's objects under a prefix.

    Args:
        url: ``s3://bucket/prefix``, ``az://container/prefix`` or ``gs://bucket/prefix``.
        options: as `obstore` takes them: keys, region, endpoint, …; what is absent comes from the
            environment or the machine's identity, as with the clouds' own tools. Besides,
            ``allow_http: "true"`` for a server without TLS.

    Raises:
        StoreUnavailable: the address or an option is not understood.
    """

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        config: Any = dict(options)
        is_plain = config.pop("allow_http", "false") == "true"
        client_options: Any = {**_CLIENT_OPTIONS, "allow_http": is_plain}
        try:
            self._store = from_url(
                url,
                config=config,
                client_options=client_options,
                retry_config=_RETRIES,
            )
        except (BaseError, ValueError) as error:
            raise _unavailable(error) from error

    def store(self, path: Path, sha256: str) -> None:
        """Have the file at `path` in the bucket as the object `sha256`; blocks.

        Raises:
            StoreUnavailable: the bucket does not answer, or refuses.
        """
        with _problems():
            try:
                found = obstore.head(self._store, object_key(sha256))
            except (FileNotFoundError, NotFoundError):
                found = None
            is_young = found and datetime.now(UTC) - found["last_modified"] < _REFRESHED_AFTER
            if found is None or not is_young or found["size"] != path.stat().st_size:
                obstore.put(self._store, object_key(sha256), path)

    def probe(self) -> None:
        """Store a few bytes, always in the same place; blocks.

        Raises:
            StoreUnavailable: the bucket does not answer, or refuses.
        """
        with _problems():
            obstore.put(self._store, _PROBE_KEY, b"probe")

    def fetch(self, sha256: str) -> Iterator[bytes]:
        """The object's bytes; blocks.

        Raises:
            ObjectMissing: the bucket has no such object.
            StoreUnavailable: the bucket does not answer, or refuses.
        """
        with _problems(sha256):
            result = obstore.get(self._store, object_key(sha256))
            for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)

    async def open(self, sha256: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """An iterator over the bytes from `start` up to, not including, `stop`.

        Raises:
            ObjectMissing: the bucket has no such object.
            StoreUnavailable: the bucket does not answer, or refuses.
        """
        with _problems(sha256):
            result = await obstore.get_async(
                self._store, object_key(sha256), options={"range": (start, stop)}
            )

        async def chunks() -> AsyncIterator[bytes]:
            with _problems(sha256):
                async for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                    yield bytes(chunk)

        return chunks()

    async def sizes(self, digests: Iterable[str]) -> dict[str, int]:
        """Sizes in bytes of those of `digests` that the bucket has.

        Raises:
            StoreUnavailable: the bucket does not answer, or refuses.
        """
        limit = asyncio.Semaphore(_QUESTIONS_AT_ONCE)

        async def ask(sha256: str) -> tuple[str, int | None]:
            async with limit:
                try:
                    found = await obstore.head_async(self._store, object_key(sha256))
                except (FileNotFoundError, NotFoundError):
                    return sha256, None
                return sha256, found["size"]

        with _problems():
            answers = await asyncio.gather(*(ask(digest) for digest in digests))
        return {sha256: size for sha256, size in answers if size is not None}

    def batches(self, *, size: int, unused_for_seconds: float) -> Iterator[list[str]]:
        """Digests of what was not stored again for so long, at most so many at once; blocks.

        Raises:
            StoreUnavailable: the bucket does not answer, or refuses.
        """
        limit = datetime.now(UTC) - timedelta(seconds=unused_for_seconds)
        with _problems():
            for page in obstore.list(self._store, "sha256", chunk_size=size):
                names = [
                    entry["path"].rpartition("/")[2]
                    for entry in page
                    if entry["last_modified"] < limit
                ]
                yield [name for name in names if is_sha256(name)]

    def delete(self, digests: Sequence[str]) -> None:
        """Remove objects; those that are gone are fine; blocks.

        Raises:
            StoreUnavailable: the bucket does not answer, or refuses.
        """
        with _problems():
            for digest in digests:
                with contextlib.suppress(FileNotFoundError, NotFoundError):
                    obstore.delete(self._store, object_key(digest))


@contextlib.contextmanager
def _problems(sha256: str = "") -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotFoundError) as error:
        raise ObjectMissing(f"object {sha256} is not in the store") from error
    except BaseError as error:
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StoreUnavailable:
    # Its first line is for people; what follows is the library's state, with addresses and more.
    return StoreUnavailable(str(error).partition("\n")[0])
