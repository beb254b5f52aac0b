"""Which files of a datastore patterns mean, and where they lie in the dataset. Blocking."""

from collections.abc import Sequence

from app.datasets import globs
from app.datasets.errors import DatasetPathInvalid, SourceRefused, SourceUnreachable
from app.datasets.layout import PlacedSource, place
from app.datasets.schemas import MAX_FILES
from app.datasets.source import FetchPolicy
from app.datasets.stored import url_of
from app.datastores.errors import DatastoreRefused
from app.datastores.stores import Store
from app.kernel.errors import Unavailable
from app.storage.patterns import PatternsUnusable

_MOST_LISTED = 1_000_000


def find_files(datastore: str, patterns: Sequence[str], policy: FetchPolicy) -> list[PlacedSource]:
    """The files that match, below the folder that they have in common.

    Raises:
        SourceError: there are none, or too many, or the datastore does not say what it has.
    """
    url = url_of(datastore, "")
    store = policy.datastores.get(datastore)
    if store is None:
        raise SourceRefused(
            f"the datastore {datastore!r} is not there, or may not be used any more", url=url
        )
    paths = _matching(store, patterns, url)
    if not paths:
        raise SourceRefused(f"no file there matches {', '.join(patterns)[:300]}", url=url)
    if len(paths) > MAX_FILES:
        raise SourceRefused(f"{len(paths)} files match; at most {MAX_FILES} may", url=url)
    wanted = globs.without_common_folder(paths)
    try:
        return place(
            [(url_of(datastore, path), below) for path, below in zip(paths, wanted, strict=True)],
            layout="url",
        )
    except DatasetPathInvalid as error:
        raise SourceRefused(error.detail, url=url) from error


def _matching(store: Store, patterns: Sequence[str], url: str) -> list[str]:
    plain = [pattern for pattern in patterns if globs.is_plain(pattern)]
    try:
        found = set()
        for prefix in {globs.prefix_of(pattern) for pattern in patterns}:
            for number, (path, _) in enumerate(store.listed(prefix)):
                if number >= _MOST_LISTED:
                    raise SourceRefused(f"there are too many files below {prefix!r}", url=url)
                found.add(path)
    except DatastoreRefused as error:
        if len(plain) == len(patterns):
            return sorted({pattern.strip("/") for pattern in plain})
        raise SourceRefused(error.detail, url=url) from error
    except Unavailable as error:
        raise SourceUnreachable(error.detail, url=url) from error
    except OSError as error:
        detail = "the datastore is not there, or may not be read with these credentials"
        raise SourceRefused(detail, url=url) from error
    try:
        return globs.matching(patterns, found)
    except PatternsUnusable as error:
        raise SourceRefused(f"the patterns cannot be used: {error}", url=url) from None
