"""Which failures pass, and how long they are waited out."""

import ssl
from collections.abc import Callable

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_before_delay
from tenacity.wait import wait_base, wait_exponential_jitter

from trainwright.errors import ApiProblem

MAX_RETRY_AFTER_SECONDS = 60.0
OnRetry = Callable[[BaseException, float], None]
"""Told what failed, and after how many seconds it is tried again."""


def retrying(seconds: float, on_retry: OnRetry | None = None) -> Retrying:
    """Try again what failed for the moment, for at most so long; the last failure is raised.

    Args:
        seconds: from the first try to the beginning of the last.
        on_retry: told before each wait.
    """

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if on_retry is not None and error is not None:
            on_retry(error, state.upcoming_sleep)

    return Retrying(
        retry=retry_if_exception(is_transient),
        wait=_AsTheServerSays(wait_exponential_jitter(multiplier=0.2, max=10, jitter=0.2)),
        stop=stop_before_delay(seconds),
        before_sleep=tell,
        reraise=True,
    )


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, ApiProblem):
        return error.is_transient
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return False
    return isinstance(error, httpx2.TransportError) and not _is_certificate(error)


def _is_certificate(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


class _AsTheServerSays(wait_base):
    """Waits for Retry-After where the answer has one."""

    def __init__(self, otherwise: wait_base) -> None:
        self._otherwise = otherwise

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, ApiProblem) and error.retry_after_seconds is not None:
            return min(error.retry_after_seconds, MAX_RETRY_AFTER_SECONDS)
        return self._otherwise(retry_state)
