"""What is wrong with a process that cannot serve."""

from collections.abc import Mapping

from app.kernel.errors import DomainError

_RETRY_AFTER_SECONDS = 2


class NotReady(DomainError):
    """The process is alive and cannot serve now.

    Args:
        checks: of each part, ``ok`` or what is wrong.
        wrong: the words of those that are not.
    """

    status = 503
    code = "not_ready"
    title = "Not ready"
    retryable = True

    def __init__(self, checks: Mapping[str, str], wrong: str) -> None:
        super().__init__(
            wrong,
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            extensions={"checks": dict(checks)},
        )
