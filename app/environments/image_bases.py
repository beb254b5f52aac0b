"""What images start from: tags looked up, bases pulled by digest, users' Dockerfiles built."""

import asyncio
from collections.abc import Iterator
from typing import Any

from app.environments.build_runner import BuildRunner
from app.environments.built import BuildFailed
from app.environments.commands import Output
from app.environments.image_build import Progress, plain_context
from app.environments.image_engine import EngineRefused, ImageEngine, Record
from app.environments.image_names import repository_of, split_image
from app.environments.resolved import ResolvedSpec

_UNAVAILABLE = "base_image_unavailable"


class ImageBases:
    """The bases in one engine."""

    def __init__(self, engine: ImageEngine, runner: BuildRunner) -> None:
        self._engine = engine
        self._runner = runner

    async def digest_of(self, name: str, on_output: Output) -> str:
        """What a base image's name names now.

        The registry is asked, unless the engine has an image of this name that came from none.
        Where the registry does not answer, the engine's copy counts; the output says so.

        Returns:
            The digest of the registry's manifest, or the id of an image of the engine alone.

        Raises:
            BuildFailed: it is nowhere to be had; with the registry's words.
            EngineUnavailable: the engine is not there.
        """
        local = await asyncio.to_thread(self._engine.inspect, name)
        copy = _digest_of_copy(local, name) if local is not None else None
        if local is not None and copy is None:
            return str(local["Id"])
        try:
            return await asyncio.to_thread(self._engine.registry_digest, name)
        except EngineRefused as error:
            if copy is None:
                raise _cannot_be_pulled(name, error) from error
            text = f"Using the engine's copy of {name}; its registry says: {error.words}\n"
            await on_output(text.encode())
            return copy

    async def obtain(self, spec: ResolvedSpec, tag: str, on_output: Output) -> None:
        """Have the base of an image in the engine, under a name of this build's own.

        Raises:
            BuildFailed: it cannot be pulled or built, or would have our build do its own steps.
            EngineUnavailable: the engine went away.
        """
        if spec.dockerfile is not None:
            await self._build(spec.dockerfile, tag, on_output)
        else:
            await self._pull(spec, tag, on_output)
        found = await asyncio.to_thread(self._engine.inspect, tag)
        if found is not None and found["Config"].get("OnBuild"):
            # They would run in the midst of what only our steps may see.
            text = "The base image has ONBUILD instructions; such a base cannot be used."
            raise BuildFailed("base_image_onbuild", text)

    async def _build(self, dockerfile: str, tag: str, on_output: Output) -> None:
        await on_output(b"Building the base by the environment's Dockerfile\n")
        try:
            with plain_context(dockerfile) as context:
                await self._runner.run(context, tag, on_output, pulls=True)
        except EngineRefused as error:
            text = f"The environment's Dockerfile cannot be built:\n{error.words}"
            raise BuildFailed("dockerfile_failed", text) from error

    async def _pull(self, spec: ResolvedSpec, tag: str, on_output: Output) -> None:
        name = str(spec.base)
        digest = spec.base_digest or await self.digest_of(name, on_output)
        exact = f"{repository_of(name)}@{digest}"
        found = await asyncio.to_thread(self._engine.inspect, exact)
        if found is None:
            found = await asyncio.to_thread(self._engine.inspect, digest)
        if found is None:
            await on_output(f"Pulling {exact}\n".encode())
            await self._pull_exactly(name, digest, on_output)
            found = {"Id": exact}
        repository, tail = split_image(tag)
        await self._engine.call(
            lambda client: client.tag(found["Id"], repository, tag=tail, force=True)
        )

    async def _pull_exactly(self, name: str, digest: str, on_output: Output) -> None:
        def pull(client: Any) -> Iterator[Record]:
            credentials = self._engine.credentials(name)
            records: Iterator[Record] = client.pull(
                repository_of(name), tag=digest, stream=True, decode=True, auth_config=credentials
            )
            return records

        try:
            await self._engine.follow(pull, Progress(on_output))
        except EngineRefused as error:
            raise _cannot_be_pulled(name, error) from error


def _digest_of_copy(local: Record, name: str) -> str | None:
    wanted = _familiar(repository_of(name))
    for known in local.get("RepoDigests") or []:
        repository, _, digest = known.partition("@")
        if _familiar(repository) == wanted:
            return str(digest)
    return None


def _familiar(repository: str) -> str:
    return repository.removeprefix("docker.io/").removeprefix("library/")


def _cannot_be_pulled(name: str, error: EngineRefused) -> BuildFailed:
    return BuildFailed(_UNAVAILABLE, f"The base image {name} cannot be pulled: {error.words}")
