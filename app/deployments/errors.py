"""What can be wrong with deployments."""

from app.kernel.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    NotFound,
    TooLarge,
    TooManyRequests,
    Unavailable,
)


class DeploymentNotFound(NotFound):
    """The workspace has no such deployment."""

    code = "deployment_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no deployment {name!r} in this workspace.")


class DeploymentDeleting(Conflict):
    """The deployment is being deleted."""

    code = "deployment_deleting"


class ModelNotServable(Invalid):
    """This kind of model cannot be deployed without code; the detail says why."""

    code = "model_not_servable"
    title = "The model cannot be deployed without code"


class SignatureUnknown(Conflict):
    """The model has not been read yet, so there is no document of its interface."""

    code = "signature_unknown"
    title = "The signature is not known yet"


class NotReady(Unavailable):
    """No replica can answer now."""

    code = "deployment_not_ready"
    title = "The deployment cannot answer now"


class DeadlineExceeded(DomainError):
    """The replica that was asked gave no answer in time."""

    status = 504
    code = "deadline_exceeded"
    title = "No answer in time"
    retryable = True

    def __init__(self, seconds: float, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"No answer within {seconds:g} seconds (limits.timeout_seconds).",
            headers={"Retry-After": str(retry_after_seconds)},
        )


class KeyRefused(Forbidden):
    """The key is not one of this deployment's."""

    code = "key_refused"


class BodyTooLarge(TooLarge):
    """The body is over the deployment's own limit."""

    code = "body_too_large"

    def __init__(self, size_bytes: int, max_bytes: int) -> None:
        super().__init__(
            f"The body has {size_bytes} bytes; this deployment takes at most {max_bytes}"
            " (limits.max_body_bytes)."
        )


class QueueFull(TooManyRequests):
    """Too many requests wait for a replica."""

    code = "queue_full"

    def __init__(self, max_waiting: int, *, retry_after_seconds: int) -> None:
        super().__init__(
            f"{max_waiting} requests wait for a replica of this deployment already"
            " (limits.max_waiting).",
            retry_after_seconds=retry_after_seconds,
        )


class NothingBefore(Conflict):
    """There is nothing to go back to."""

    code = "nothing_before"
    title = "There is nothing to go back to"


class CaptureNotFound(NotFound):
    """The deployment has no such file."""

    code = "capture_not_found"

    def __init__(self, capture_id: str) -> None:
        super().__init__(f"This deployment has no captured file {capture_id!r}, or no longer.")


class NothingCaptured(Conflict):
    """There are no captured predictions of that time."""

    code = "nothing_captured"
    title = "Nothing was captured"


class TakesTraffic(Conflict):
    """Another deployment sends requests to it."""

    code = "takes_traffic"
    title = "Another deployment sends requests to it"
