"""Fetching a file from a web address that a user chose: guarded, bounded, resumed.

Blocking, for a thread.
"""

import hashlib

import tenacity

from app.datasets import made, stored
from app.datasets.deadline import Deadline
from app.datasets.errors import ContentChanged, SourceError
from app.datasets.fetched import FetchedFile, Unchanged, Validators
from app.datasets.guard import check_url, parse_openings
from app.datasets.source import FetchPolicy
from app.datasets.transfer import S, Transfer
from app.kernel.config import Settings
from app.storage.errors import DigestMismatch, ObjectTooLarge
from app.storage.objects import ObjectStore


def policy_from(settings: Settings) -> FetchPolicy:
    """Make the policy that the operator's settings ask for.

    Raises:
        ValueError: an entry of `fetch_allow` cannot be read.
    """
    return FetchPolicy(
        openings=parse_openings(settings.fetch_allow),
        max_bytes=settings.fetch_max_bytes,
        total_seconds=settings.fetch_timeout_seconds,
        idle_seconds=settings.fetch_idle_timeout_seconds,
        settings=settings,
    )


def fetch_into(
    store: ObjectStore, url: str, *, policy: FetchPolicy, expected_sha256: str | None = None
) -> FetchedFile:
    """Fetch `url`, or a file in a datastore, into the object store.

    Raises:
        SourceError: of the kind that says what went wrong.
        ContentChanged: the bytes are not those of `expected_sha256`; they were not kept.
    """
    if made.is_made(url):
        raise made.lost(url)
    if stored.is_stored(url):
        return stored.fetch_into(
            store,
            url,
            policy=policy,
            expected_sha256=expected_sha256,
            from_web=lambda address: _fetch_web(store, address, policy, expected_sha256),
        )
    return _fetch_web(store, url, policy, expected_sha256)


def _fetch_web(
    store: ObjectStore, url: str, policy: FetchPolicy, expected_sha256: str | None
) -> FetchedFile:
    url = check_url(url)
    with Deadline(policy.total_seconds) as deadline:
        transfer = Transfer(
            url,
            policy=policy,
            deadline=deadline,
            new_sink=lambda: store.writer(max_bytes=policy.max_bytes),
        )
        try:
            _run(transfer, deadline=deadline, policy=policy)
            done = transfer.sink.commit(expected_sha256=expected_sha256)
        except DigestMismatch as error:
            raise ContentChanged(_fetched(url, transfer, sha256=error.found_sha256)) from None
        finally:
            transfer.sink.discard()
    return _fetched(url, transfer, sha256=done.sha256)


def revalidate(url: str, *, known: Validators, policy: FetchPolicy) -> FetchedFile | Unchanged:
    """Ask whether a file is still the known one; if the server cannot say so, hash it.

    The same strong ETag with the same size counts as unchanged; without one, the same
    Last-Modified with the same size does.

    Raises:
        SourceError: of the kind that says what went wrong.
    """
    if made.is_made(url):
        return Unchanged(url=url)
    if stored.is_stored(url):
        return stored.revalidate(
            url,
            known=known,
            policy=policy,
            from_web=lambda address: _revalidate_web(address, known, policy),
        )
    return _revalidate_web(url, known, policy)


def _revalidate_web(url: str, known: Validators, policy: FetchPolicy) -> FetchedFile | Unchanged:
    url = check_url(url)
    with Deadline(policy.total_seconds) as deadline:
        transfer = Transfer(
            url,
            policy=policy,
            deadline=deadline,
            new_sink=lambda: _HashOnly(max_bytes=policy.max_bytes),
            known=known,
        )
        if not _run(transfer, deadline=deadline, policy=policy):
            return Unchanged(url=url)
    return _fetched(url, transfer, sha256=transfer.sink.hexdigest())


class _HashOnly:
    """A sink that keeps nothing but the digest."""

    def __init__(self, *, max_bytes: int) -> None:
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self.size_bytes > self._max_bytes:
            raise ObjectTooLarge(max_bytes=self._max_bytes)
        self._digest.update(chunk)

    def discard(self) -> None:
        """Nothing was kept."""

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _fetched(url: str, transfer: Transfer[S], *, sha256: str) -> FetchedFile:
    return FetchedFile(
        url=url,
        size_bytes=transfer.sink.size_bytes,
        sha256=sha256,
        etag=transfer.validators.etag,
        last_modified=transfer.validators.last_modified,
    )


def _run(transfer: Transfer[S], *, deadline: Deadline, policy: FetchPolicy) -> bool:
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(policy.attempts),
        wait=tenacity.wait_exponential_jitter(
            multiplier=policy.backoff_seconds, max=10, jitter=0.2
        ),
        retry=tenacity.retry_if_exception(
            lambda error: (
                isinstance(error, SourceError) and error.is_transient and not deadline.is_over
            )
        ),
        reraise=True,
    )
    return retrying(transfer.run)
