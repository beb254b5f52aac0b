"""Calls of the Docker engine: one client a call, and every failure a domain error."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException
from docker.tls import TLSConfig
from requests.exceptions import ReadTimeout, RequestException

from app.providers.base import ProviderError

_ANSWER_SECONDS = 60.0
_CONNECT_SECONDS = 4.0
NOT_FOUND = 404
CONFLICT = 409


class EngineAway(ProviderError):
    """The engine does not answer, or not in time; what it does now is not known."""


class _Client(docker.APIClient):  # type: ignore[misc]  # it has no types
    def merge_environment_settings(
        self, url: str, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        # Else certificates that the environment names for other servers replace the engine's.
        verify = self.verify if verify is None else verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)


@dataclass(frozen=True)
class EngineAddress:
    """Where an engine answers.

    Attributes:
        url: ``unix://…`` or ``tcp://…``.
        tls_folder: with ``ca.pem``, ``cert.pem`` and ``key.pem``; None: the engine is not guarded.
        answer_seconds: how long an answer may take.
    """

    url: str
    tls_folder: Path | None = None
    answer_seconds: float = _ANSWER_SECONDS

    def client(self) -> Any:
        """A client of it; close it.

        Raises:
            EngineAway: nothing can be at this address.
        """
        tls = self._tls()
        try:
            return _Client(base_url=self.url, version="auto", timeout=self._timeout(), tls=tls)
        except ValueError as error:
            raise EngineAway(f"No Docker engine can be at {self.url}: {error}.") from error

    def _timeout(self) -> float | tuple[float, float]:
        # Somebody cut off does not even refuse to talk: that must not take as long as an answer.
        if self.url.startswith("unix://"):
            return self.answer_seconds
        return (_CONNECT_SECONDS, self.answer_seconds)

    def _tls(self) -> TLSConfig | bool:
        if self.tls_folder is None or self.url.startswith("unix://"):
            return False
        authority, certificate, key = (
            self.tls_folder / name for name in ("ca.pem", "cert.pem", "key.pem")
        )
        for path in (authority, certificate, key):
            if not path.is_file():
                raise ProviderError(f"{path} is missing; it is needed to reach {self.url}.")
        return TLSConfig(
            client_cert=(str(certificate), str(key)), ca_cert=str(authority), verify=True
        )


@contextmanager
def engine(address: EngineAddress) -> Iterator[Any]:
    """A client of the engine for the calls of one thread.

    Raises:
        ProviderError: the engine refused.
        EngineAway: it was not there, or did not answer in time. Then nobody knows whether it did
            what it was asked to: look before asking again.
    """
    knock(address.url)
    try:
        with closing(address.client()) as client:
            yield client
    except APIError as error:
        raise ProviderError(f"The Docker engine refused: {words(error)}") from error
    except ReadTimeout as error:
        raise EngineAway("The Docker engine did not answer in time.") from error
    except (DockerException, RequestException) as error:
        raise EngineAway(f"The Docker engine cannot be reached at {address.url}.") from error


def knock(url: str) -> None:
    """See whether an engine on this machine is there, before a client looks for it.

    The client does not close a local socket on which nobody answers.

    Raises:
        EngineAway: nobody answers there.
    """
    kind, _, path = url.partition("://")
    if kind == "unix":
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(path)
        except OSError as error:
            raise EngineAway(f"The Docker engine cannot be reached at {url}.") from error


def is_status(error: APIError, *statuses: int) -> bool:
    """Whether the engine answered with one of these."""
    return error.response is not None and error.response.status_code in statuses


def words(error: APIError) -> str:
    """What the engine said."""
    return str(error.explanation or error).strip()
