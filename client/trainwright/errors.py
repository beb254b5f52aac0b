"""What can go wrong between this machine and a server; each says what to do."""

from collections.abc import Mapping
from typing import Any


class TrainwrightError(Exception):
    """Base of all errors of this package.

    Args:
        message: one line: what happened.
        hint: what to do about it; '' where nothing can be said.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class NotConfigured(TrainwrightError):
    """No server, token or workspace is known."""


class Unreachable(TrainwrightError):
    """The server cannot be reached, or broke off and did not come back in time."""


class TransferFailed(TrainwrightError):
    """Bytes did not arrive as they were announced."""


class ApiProblem(TrainwrightError):
    """The server's answer is an error (RFC 9457).

    Attributes:
        status: of HTTP.
        code: stable code for programs.
        problem: the whole document.
        retry_after_seconds: when trying again may help, where the server says so.
    """

    def __init__(
        self,
        *,
        status: int,
        problem: Mapping[str, Any],
        retry_after_seconds: float | None = None,
    ) -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(problem.get("code") or f"http_{status}")
        self.retry_after_seconds = retry_after_seconds
        detail = str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")
        super().__init__(detail, hint=_hint(status))

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.status in _TRANSIENT or self.problem.get("retryable") is True

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The fields that are wrong: `pointer`, `code`, `message`."""
        found = self.problem.get("errors")
        return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


_TRANSIENT = frozenset({408, 429, 502, 503, 504})
"""What `curl --retry` takes for transient, except 500."""


def _hint(status: int) -> str:
    if status == 401:
        return "Log in with `trainwright login`, or set TRAINWRIGHT_TOKEN."
    if status == 403:
        return "Ask an owner of the workspace for the role that this needs."
    if status >= 500:
        return "The server's log has more under this request's id."
    return ""
