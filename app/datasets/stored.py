"""Files of datasets that lie in datastores: ``datastore://NAME/PATH``."""

import dataclasses
import errno
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import quote, unquote

from sqlalchemy.ext.asyncio import AsyncSession

from app.datasets.errors import (
    ContentChanged,
    SourceError,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreachable,
)
from app.datasets.fetched import FetchedFile, Unchanged, Validators
from app.datasets.source import FetchPolicy
from app.datastores import repository, service
from app.datastores.errors import DatastoreRefused
from app.datastores.stores import SCHEME, Store
from app.kernel.errors import Unavailable
from app.kernel.keyring import Keyring
from app.storage.errors import DigestMismatch, ObjectTooLarge
from app.storage.objects import ObjectStore

_NO_PATH = frozenset({errno.ENOTDIR, errno.ENAMETOOLONG})
"""A file where a folder should be, a name that no file system takes."""


def url_of(datastore: str, path: str) -> str:
    """How a version names a file in a datastore."""
    return f"{SCHEME}{datastore}/{quote(path)}"


def is_stored(url: str) -> bool:
    """Whether it is such a name."""
    return url.startswith(SCHEME)


async def with_datastores(
    session: AsyncSession, workspace_id: str, urls: Iterable[str], policy: FetchPolicy
) -> FetchPolicy:
    """The policy with the datastores opened in which some of these files lie.

    One that is gone, or that the operator does not allow any more, is left out: what lies there
    is answered as refused.
    """
    names = {_split(url)[0] for url in urls if is_stored(url)}
    if not names or policy.settings is None:
        return policy
    keyring = Keyring.load(policy.settings)
    found = {}
    for name in names:
        row = await repository.find(session, workspace_id, name)
        if row is None:
            continue
        try:
            found[name] = await service.opened(session, policy.settings, keyring, row)
        except DatastoreRefused:
            continue
    return dataclasses.replace(policy, datastores=found)


def fetch_into(
    objects: ObjectStore,
    url: str,
    *,
    policy: FetchPolicy,
    expected_sha256: str | None,
    from_web: Callable[[str], FetchedFile],
) -> FetchedFile:
    """Copy a file out of its datastore into the object store; blocks.

    Args:
        objects: where to.
        url: of the file in its datastore.
        policy: with the datastore opened.
        expected_sha256: of its bytes; None: any.
        from_web: does it for a file that is at a web address.

    Raises:
        SourceError: of the kind that says what went wrong.
        ContentChanged: the bytes are not the expected ones; they were not kept.
    """
    with _translated(url) as path:
        store = _opened(policy, url)
        if address := store.address(path):
            return dataclasses.replace(from_web(address), url=url)
        opened = store.open(path)
        writer = objects.writer(max_bytes=policy.max_bytes)
        try:
            for chunk in _timely(opened.chunks(), policy, url):
                writer.write(chunk)
            done = writer.commit(expected_sha256=expected_sha256)
        except ObjectTooLarge:
            detail = f"larger than the {policy.max_bytes} bytes allowed"
            raise SourceTooLarge(detail, url=url) from None
        except DigestMismatch as error:
            found = FetchedFile(url, writer.size_bytes, error.found_sha256, opened.etag, "")
            raise ContentChanged(found) from None
        finally:
            writer.discard()
            opened.close()
    return FetchedFile(url, done.size_bytes, done.sha256, opened.etag, "")


def revalidate(
    url: str,
    *,
    known: Validators,
    policy: FetchPolicy,
    from_web: Callable[[str], FetchedFile | Unchanged],
) -> FetchedFile | Unchanged:
    """Ask whether a file in a datastore is still the known one; where unsure, hash it; blocks.

    Raises:
        SourceError: of the kind that says what went wrong.
    """
    with _translated(url) as path:
        store = _opened(policy, url)
        if address := store.address(path):
            return dataclasses.replace(from_web(address), url=url)
        if known.etag and store.etag(path) == known.etag:
            return Unchanged(url=url)
        opened = store.open(path)
        digest, size_bytes = hashlib.sha256(), 0
        with closing(opened):
            for chunk in _timely(opened.chunks(), policy, url):
                digest.update(chunk)
                size_bytes += len(chunk)
    return FetchedFile(url, size_bytes, digest.hexdigest(), opened.etag, "")


def _opened(policy: FetchPolicy, url: str) -> Store:
    name, _ = _split(url)
    store = policy.datastores.get(name)
    if store is None:
        detail = f"the datastore {name!r} is not there, or may not be used any more"
        raise SourceRefused(detail, url=url)
    return store


def _timely(chunks: Iterator[bytes], policy: FetchPolicy, url: str) -> Iterator[bytes]:
    ends_at = time.monotonic() + policy.total_seconds
    for chunk in chunks:
        if time.monotonic() > ends_at:
            raise SourceTimeout(f"it took more than {policy.total_seconds:.0f} s", url=url)
        yield chunk


@contextmanager
def _translated(url: str) -> Iterator[str]:
    """The path of a file in its datastore; what goes wrong there becomes our errors."""
    try:
        yield _split(url)[1]
    except FileNotFoundError as error:
        raise SourceRefused("there is no such file", url=url) from error
    except PermissionError as error:
        raise SourceRefused("it may not be read with these credentials", url=url) from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_PATH:
            raise
        raise SourceRefused("no file can have this path", url=url) from error
    except Unavailable as error:
        raise SourceUnreachable(error.detail, url=url) from error
    except ContentChanged as change:
        raise ContentChanged(dataclasses.replace(change.found, url=url)) from None
    except SourceError as error:
        raise type(error)(error.detail, url=url) from None


def _split(url: str) -> tuple[str, str]:
    name, _, path = url.removeprefix(SCHEME).partition("/")
    return name, unquote(path)
