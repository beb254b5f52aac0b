"""Runs one build of a context in an engine: by BuildKit where there is one, else by the old way."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from app.environments.buildkit import BuildKit
from app.environments.commands import Output
from app.environments.image_build import Progress, proxy_arguments
from app.environments.image_engine import EngineRefused, EngineUnavailable, ImageEngine, Record


class BuildRunner:
    """Runs builds.

    Attributes:
        with_mounts: whether steps may mount: it is BuildKit.
    """

    def __init__(
        self, engine: ImageEngine, buildkit: BuildKit | None, environ: Mapping[str, str]
    ) -> None:
        self._engine = engine
        self._buildkit = buildkit
        self._proxies = proxy_arguments(environ)
        self.with_mounts = buildkit is not None

    async def run(
        self, context: IO[bytes], tag: str, on_output: Output, *, pulls: bool = False
    ) -> None:
        """Build a context, and name the result; cancelling it ends the build in the engine.

        Args:
            context: a tar file.
            tag: what the result is called.
            on_output: is given the build's output.
            pulls: whether the Dockerfile may take images from registries, by our credentials.

        Raises:
            EngineRefused: the build failed.
            EngineUnavailable: the engine went away.
        """
        try:
            credentials = self._engine.credentials_file if pulls else None
            if self._buildkit is not None:
                await self._buildkit.build(context, tag, on_output, credentials_file=credentials)
            else:
                await self._old_build(context, tag, on_output, credentials)
        except EngineRefused as error:
            # Steps that an engine breaks off while it stops look like failures of theirs.
            await asyncio.to_thread(self._engine.check)
            raise error

    async def _old_build(
        self, context: IO[bytes], tag: str, on_output: Output, credentials: Path | None
    ) -> None:
        progress = Progress(on_output)

        def start(client: Any) -> Iterator[Record]:
            if credentials is not None:
                client.reload_config(dockercfg_path=str(credentials))
            records: Iterator[Record] = client.build(
                fileobj=context,
                custom_context=True,
                tag=tag,
                buildargs=self._proxies,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=None,
            )
            return records

        try:
            await self._engine.follow(start, progress)
        except EngineRefused as error:
            raise EngineRefused("\n".join([*progress.last_lines, error.words])) from error
        if not progress.image_id:
            # The stream ended without success or error: the engine was stopped.
            raise EngineUnavailable("The Docker engine broke the build off.")
