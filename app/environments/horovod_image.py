"""Compiles Horovod in a container engine, for environments that are images."""

import asyncio
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.environments.build_runner import BuildRunner
from app.environments.built import BuildFailed
from app.environments.commands import Output
from app.environments.dockerfile import WHEELS
from app.environments.horovod import wheel_key
from app.environments.horovod_compile import progress_only
from app.environments.image_build import wheel_context
from app.environments.image_engine import EngineRefused, ImageEngine, untag_image
from app.environments.image_files import files_of
from app.environments.resolved import ResolvedSpec
from app.environments.wheels import WheelCache

REPOSITORY = "trainwright/wheel"
_RELEASE = "/usr/lib/os-release"


class HorovodInEngine:
    """Sees to the wheels of environments with Horovod.

    Args:
        engine: where it is compiled.
        runner: how.
        wheels: where it is kept.
        environ: of the tools.
        ca_file: certificates that the build trusts.
    """

    def __init__(
        self,
        engine: ImageEngine,
        runner: BuildRunner,
        wheels: WheelCache,
        *,
        environ: Mapping[str, str],
        ca_file: Path | None,
    ) -> None:
        self._engine = engine
        self._runner = runner
        self._wheels = wheels
        self._environ = environ
        self._ca_file = ca_file

    async def wheel_of(self, spec: ResolvedSpec, image: str, on_output: Output) -> Path | None:
        """The wheel that an environment needs, if any; compiled unless it is kept.

        Args:
            spec: the environment.
            image: a name of its base in the engine.
            on_output: is told how far it is.

        Raises:
            BuildFailed: it cannot be compiled.
            EngineUnavailable: the engine went away.
        """
        if spec.horovod is None:
            return None
        system = await self._engine.call(lambda client: _system_of(client, image))

        async def compile_into(folder: Path) -> None:
            said = f"Compiling Horovod {spec.horovod} in {spec.base}: some minutes, once\n"
            await on_output(said.encode())
            await self._compile(spec, image, folder, on_output)

        return await self._wheels.ensure(wheel_key(spec, system=system), compile_into, on_output)

    async def _compile(
        self, spec: ResolvedSpec, image: str, folder: Path, on_output: Output
    ) -> None:
        tag = f"{REPOSITORY}:building-{secrets.token_hex(8)}"
        context = await asyncio.to_thread(
            wheel_context,
            spec,
            image=image,
            environ=self._environ,
            ca_file=self._ca_file,
            with_mounts=self._runner.with_mounts,
        )
        try:
            with context:
                await self._runner.run(context, tag, progress_only(on_output))
            await self._engine.call(lambda client: _take(client, tag, folder))
        except EngineRefused as error:
            text = f"Horovod cannot be compiled:\n{error.words}"
            raise BuildFailed("horovod_failed", text) from error
        finally:
            await self._engine.call(untag_image(tag))


def _take(client: Any, image: str, folder: Path) -> None:
    for name, content in files_of(client, image, WHEELS).items():
        (folder / name).write_bytes(content)


def _system_of(client: Any, image: str) -> str:
    """The distribution of an image, e.g. ``debian-12``."""
    content = next(iter(files_of(client, image, _RELEASE).values()), b"")
    pairs = (line.partition("=") for line in content.decode().splitlines())
    facts = {name: "".join(shlex.split(value)) for name, _, value in pairs if name}
    return f"{facts.get('ID', 'linux')}-{facts.get('VERSION_ID', 'rolling')}"
