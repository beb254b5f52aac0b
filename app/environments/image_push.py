"""The registry that images are pushed to."""

from collections.abc import Iterator
from typing import Any

from app.environments.built import BuildFailed
from app.environments.commands import Output
from app.environments.image_build import Progress
from app.environments.image_engine import (
    EngineRefused,
    EngineUnavailable,
    ImageEngine,
    Record,
    tag_image,
    untag_image,
)
from app.environments.registry_api import RegistryApi, is_insecure


class ImageRegistry:
    """One repository of a registry; every image is a tag in it, the hash of its specification.

    Attributes:
        repository: ``host:port/name``, as the engine reaches it.
    """

    def __init__(self, engine: ImageEngine, repository: str, *, api_url: str = "") -> None:
        """Use a repository.

        Args:
            engine: pushes and pulls.
            repository: ``host:port/name``, as the engine reaches it.
            api_url: the registry as this process reaches it; empty: as the engine does.
        """
        self._engine = engine
        self.repository = repository
        self._api_url = api_url

    def pushed_reference(self, found: Record) -> str | None:
        """``repository@digest`` of an image of the engine that is in the registry; blocks."""
        digests = found.get("RepoDigests") or []
        pushed = next((one for one in digests if one.startswith(f"{self.repository}@")), None)
        if pushed is None:
            return None
        try:
            self._engine.registry_digest(pushed)
        except EngineRefused:
            return None  # the engine remembers a push of which the registry has nothing any more
        return str(pushed)

    async def push(self, image_id: str, spec_hash: str, on_output: Output) -> str:
        """Push an image; returns ``repository@digest``.

        Raises:
            BuildFailed: with the registry's words.
            EngineUnavailable: the engine went away.
        """
        name = f"{self.repository}:{spec_hash}"
        await self._engine.call(tag_image(image_id, name))
        await on_output(f"Pushing to {self.repository}\n".encode())
        progress = Progress(on_output)

        def push(client: Any) -> Iterator[Record]:
            credentials = self._engine.credentials(name)
            records: Iterator[Record] = client.push(
                self.repository, tag=spec_hash, stream=True, decode=True, auth_config=credentials
            )
            return records

        try:
            await self._engine.follow(push, progress)
        except EngineRefused as error:
            text = f"The image cannot be pushed to {self.repository}: {error.words}"
            raise BuildFailed("push_failed", text) from error
        finally:
            if not progress.digest:
                await self._engine.call(untag_image(name))
        if not progress.digest:
            raise EngineUnavailable("The Docker engine broke the push off.")
        return f"{self.repository}@{progress.digest}"

    def remove(self, spec_hash: str) -> None:
        """Remove an image's name from the engine, and its manifest from the registry; blocks.

        Raises:
            RegistryUnavailable: the registry cannot be reached, or refuses.
        """
        name = f"{self.repository}:{spec_hash}"
        try:
            self._engine.call_now(untag_image(name))
        finally:
            # Also when a container here still uses it.
            self._remove_manifest(name, spec_hash)

    def _remove_manifest(self, name: str, spec_hash: str) -> None:
        host, _, path = self.repository.partition("/")
        urls = [self._api_url.rstrip("/")] if self._api_url else [f"https://{host}"]
        if not self._api_url and self._engine.call_now(lambda client: is_insecure(client, host)):
            urls.append(f"http://{host}")
        credentials = self._engine.credentials(name)
        RegistryApi(urls, credentials).delete_tag(path, spec_hash)
