"""Calls of the Docker engine that image builds are made of; blocking SDK calls run in threads."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import docker
import requests
from docker import auth
from docker.errors import APIError, DockerException, ImageNotFound
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from app.environments.image_names import split_image
from app.providers.docker.engine import EngineAway, knock

_TIMEOUT_SECONDS = 60
_STREAM_TIMEOUT_SECONDS = 3600
_STOP_SECONDS = 10.0

Record = dict[str, Any]
T = TypeVar("T")


class EngineUnavailable(Exception):
    """The engine went away or did not answer; what it did is unknown, so look and try again."""


class EngineRefused(Exception):
    """The engine, or a registry through it, said no.

    Attributes:
        words: what it said.
        status: its HTTP status, if it was an answer of its own.
    """

    def __init__(self, words: str, status: int | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.status = status


class ImageEngine:
    """One Docker engine.

    Attributes:
        credentials_file: the operator's, of registries.
    """

    def __init__(self, url: str, *, credentials_file: Path | None = None) -> None:
        self._url = url
        self.credentials_file = credentials_file

    async def call(self, work: Callable[[Any], T]) -> T:
        """Run SDK calls in a thread.

        Raises:
            EngineRefused: the engine said no.
            EngineUnavailable: it is not there.
        """
        return await asyncio.to_thread(self.call_now, work)

    def call_now(self, work: Callable[[Any], T]) -> T:
        """Run SDK calls here, blocking; raises as `call`."""
        with _client(self._url, _TIMEOUT_SECONDS) as client:
            return work(client)

    def inspect(self, name: str) -> Record | None:
        """An image by name, reference or id; None where the engine has none; blocks."""

        def look(client: Any) -> Record | None:
            try:
                found: Record = client.inspect_image(name)
            except ImageNotFound:
                return None
            return found

        return self.call_now(look)

    def check(self) -> None:
        """Return if the engine answers; blocks; raises `EngineUnavailable`."""
        self.call_now(lambda client: client.ping())

    def registry_digest(self, name: str) -> str:
        """The digest that a registry has for an image's name; blocks.

        Raises:
            EngineRefused: with the registry's words.
            EngineUnavailable: the engine is not there.
        """
        credentials = self.credentials(name)
        found = self.call_now(
            lambda client: client.inspect_distribution(name, auth_config=credentials)
        )
        return str(found["Descriptor"]["digest"])

    def credentials(self, name: str) -> dict[str, str] | None:
        """The operator's credentials for the registry of an image name, read anew each time."""
        if self.credentials_file is None:
            return None
        registry, _ = auth.resolve_repository_name(name)
        config = auth.load_config(str(self.credentials_file))
        found: dict[str, str] | None = auth.resolve_authconfig(config, registry)
        return found

    async def follow(
        self,
        start: Callable[[Any], Iterator[Record]],
        on_record: Callable[[Record], Awaitable[None]],
    ) -> None:
        """Pass on the records of a long call as they come; cancelling ends it in the engine.

        Args:
            start: makes the call and returns the records.
            on_record: is given each.

        Raises:
            EngineRefused: a record says that it failed.
            EngineUnavailable: the engine went away.
        """
        queue: asyncio.Queue[Record | None] = asyncio.Queue()
        reader = _Reader(self._url, start, asyncio.get_running_loop(), queue)
        reading = asyncio.create_task(asyncio.to_thread(reader.read))
        try:
            while (record := await queue.get()) is not None:
                if "error" in record:
                    raise EngineRefused(str(record["error"]).strip())
                await on_record(record)
            await reading
        finally:
            if not reading.done():
                reader.stop()
                await asyncio.wait([reading], timeout=_STOP_SECONDS)
            if reading.done() and not reading.cancelled():
                reading.exception()  # the first error is the one that counts


class _Reader:
    """Reads one response in a thread; another may end it, though it waits for the engine."""

    def __init__(
        self,
        url: str,
        start: Callable[[Any], Iterator[Record]],
        loop: asyncio.AbstractEventLoop,
        queue: "asyncio.Queue[Record | None]",
    ) -> None:
        self._url = url
        self._start = start
        self._loop = loop
        self._queue = queue
        self._stopped = threading.Event()
        self._response: requests.Response | None = None

    def read(self) -> None:
        """Read until the end."""
        try:
            with _client(self._url, _STREAM_TIMEOUT_SECONDS) as client:
                client.hooks["response"].append(self._keep)
                for record in self._start(client):
                    if self._stopped.is_set():
                        break
                    self._loop.call_soon_threadsafe(self._queue.put_nowait, record)
        except EngineUnavailable:
            if not self._stopped.is_set():
                raise
        finally:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, None)
            # The engine ends a build whose client hung up.
            if self._response is not None:
                self._response.close()

    def stop(self) -> None:
        """Hang up."""
        self._stopped.set()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._response is not None:
            with suppress(ValueError, RuntimeError):  # it has just ended by itself
                self._response.raw.shutdown()

    def _keep(self, response: requests.Response, **_: object) -> None:
        self._response = response
        if self._stopped.is_set():
            self._hang_up()


@contextmanager
def _client(url: str, timeout_seconds: int) -> Iterator[Any]:
    try:
        knock(url)
        with closing(
            docker.APIClient(base_url=url, version="auto", timeout=timeout_seconds)
        ) as client:
            yield client
    except APIError as error:
        status = error.response.status_code if error.response is not None else None
        raise EngineRefused(str(error.explanation or error).strip(), status) from error
    except (EngineAway, DockerException, RequestException, HTTPError, OSError) as error:
        raise EngineUnavailable(f"The Docker engine cannot be reached at {url}: {error}") from error


def tag_image(image_id: str, name: str) -> Callable[[Any], None]:
    """A call that gives an image a name."""
    repository, tag = split_image(name)
    return lambda client: client.tag(image_id, repository, tag=tag, force=True)


def untag_image(name: str) -> Callable[[Any], None]:
    """A call that takes a name away, and with the last one the image; no error if it has none."""

    def untag(client: Any) -> None:
        if client.images(name=name):
            with suppress(ImageNotFound):
                client.remove_image(name)

    return untag
