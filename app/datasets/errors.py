"""What can go wrong with a dataset, and how it is told."""

from typing import Any

from app.datasets.fetched import FetchedFile
from app.kernel.errors import Conflict, DomainError, Invalid, NotFound


class DatasetNotFound(NotFound):
    """No such dataset, version or file."""

    code = "dataset_not_found"


class DatasetInUse(Conflict):
    """A run or a model needs it."""

    code = "dataset_in_use"
    title = "Dataset in use"


class SourceError(DomainError):
    """A file of a dataset could not be fetched.

    `is_transient` says whether trying again later may help.
    """

    status = 422
    code = "source_failed"
    title = "A source could not be fetched"
    is_transient = False

    def __init__(self, detail: str, *, url: str) -> None:
        super().__init__(detail, extensions={"url": url})
        self.url = url


class SourceUrlInvalid(SourceError):
    """Not an address that datasets may be made from."""

    code = "source_url_invalid"


class SourceForbidden(SourceError):
    """The address leads into a private network that the operator has not opened."""

    code = "source_forbidden"


class SourceRefused(SourceError):
    """The server answered, and not with the file."""

    code = "source_refused"


class SourceTooLarge(SourceError):
    """More bytes than the operator's limit."""

    code = "source_too_large"


class SourceRedirects(SourceError):
    """Redirected too often or to nowhere."""

    code = "source_redirects"


class SourceUnreachable(SourceError):
    """The server could not be reached, failed, or broke off."""

    code = "source_unreachable"
    is_transient = True
    retryable = True


class SourceIncomplete(SourceUnreachable):
    """Fewer bytes came than the server announced."""

    code = "source_incomplete"


class SourceTimeout(SourceUnreachable):
    """The server was too slow."""

    code = "source_timeout"


class DatasetPathInvalid(Invalid):
    """The files of a dataset cannot be laid out as asked."""

    code = "dataset_path_invalid"


class DatasetDrift(DomainError):
    """A source does not hold what the version pinned."""

    status = 409
    code = "dataset_drift"
    title = "A dataset's source has changed"

    def __init__(self, detail: str, *, drift: dict[str, Any]) -> None:
        super().__init__(detail, extensions={"drift": drift})
        self.drift = drift


class ContentChanged(Exception):
    """A source holds other bytes than those that were expected."""

    def __init__(self, found: FetchedFile) -> None:
        super().__init__(found.url)
        self.found = found


class DatasetUnreachable(DomainError):
    """A file is neither in the cache nor to be had from its source now; later it may be."""

    status = 503
    code = "dataset_unreachable"
    title = "A dataset's source cannot be reached"
    retryable = True


class DatasetSourceLost(DatasetUnreachable):
    """A file is not in the cache and its source refuses it: trying again does not help."""

    status = 409
    code = "dataset_source_lost"
    title = "A dataset's source is gone"
    retryable = False


SOURCE_ERRORS: dict[str, type[SourceError]] = {
    kind.code: kind
    for kind in (
        SourceError,
        SourceUrlInvalid,
        SourceForbidden,
        SourceRefused,
        SourceTooLarge,
        SourceRedirects,
        SourceUnreachable,
        SourceIncomplete,
        SourceTimeout,
    )
}
