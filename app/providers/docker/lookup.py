"""Looking at a container, and at why one did not start."""

import time
from typing import Any

from docker.errors import APIError

from app.providers.base import ProviderError
from app.providers.docker.engine import CONFLICT, NOT_FOUND, is_status, words

_MADE_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_NO_SUCH_DEVICE = "could not select device driver"
"""An engine without the GPUs that it is asked for says so, with the status of a defect."""


def is_final(error: APIError) -> bool:
    """Whether a start failed for what the container asks for or is made of."""
    is_callers_fault = error.is_client_error() and not is_status(error, NOT_FOUND, CONFLICT)
    return is_callers_fault or _NO_SUCH_DEVICE in words(error)


def await_made(client: Any, name: str) -> dict[str, Any]:
    """What the engine shows of a container that was just asked for, by whomever.

    Raises:
        ProviderError: it does not appear.
    """
    # While somebody else's creation goes on, the name is taken and nothing is to be seen yet.
    ends_at = time.monotonic() + _MADE_SECONDS
    while (found := inspect(client, name)) is None:
        if time.monotonic() > ends_at:
            raise ProviderError(f"Container {name} was not made in time, or went away at once.")
        time.sleep(_LOOK_SECONDS)
    return found


def inspect(client: Any, name: str) -> dict[str, Any] | None:
    """What the engine shows of a container; None: there is none."""
    try:
        found: dict[str, Any] = client.inspect_container(name)
    except APIError as error:
        if is_status(error, NOT_FOUND):
            return None
        raise
    return found
