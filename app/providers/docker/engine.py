"""Calls of the Docker engine: one client a call, and every failure a domain error."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import docker
from docker.errors import APIError, DockerException
from requests.exceptions import ReadTimeout, RequestException

from app.providers.base import ProviderError

_TIMEOUT_SECONDS = 60
NOT_FOUND = 404
CONFLICT = 409


@contextmanager
def engine(url: str) -> Iterator[Any]:
    """A client of the engine for the calls of one thread.

    Raises:
        ProviderError: the engine refused, was not there, or did not answer in time. Then nobody
            knows whether it did what it was asked to: look before asking again.
    """
    try:
        with closing(
            docker.APIClient(base_url=url, version="auto", timeout=_TIMEOUT_SECONDS)
        ) as client:
            yield client
    except APIError as error:
        raise ProviderError(f"The Docker engine refused: {words(error)}") from error
    except ReadTimeout as error:
        raise ProviderError("The Docker engine did not answer in time.") from error
    except (DockerException, RequestException) as error:
        raise ProviderError(f"The Docker engine cannot be reached at {url}.") from error


def is_status(error: APIError, *statuses: int) -> bool:
    """Whether the engine answered with one of these."""
    return error.response is not None and error.response.status_code in statuses


def words(error: APIError) -> str:
    """What the engine said."""
    return str(error.explanation or error).strip()
