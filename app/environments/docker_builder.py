"""Builds environments as container images.

A build works under tags of its own; the tag by which anybody looks for the image, the hash of the
specification, is set when everything has succeeded. So what a killed build leaves has no name that
counts, the next build of the same hash clears it away, and a finished image whose builder died
before it could say so is found and adopted.
"""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker.errors import NotFound

from app.environments.build_files import full_lock
from app.environments.build_runner import BuildRunner
from app.environments.buildkit import BuildKit
from app.environments.built import BuildFailed, BuiltImage
from app.environments.commands import Output
from app.environments.dockerfile import (
    BUILD_LABEL,
    CACHE_KEY_LABEL,
    FACTS_PATH,
    STAGE_LABEL,
    Start,
    cache_key,
)
from app.environments.horovod_image import HorovodInEngine
from app.environments.image_bases import ImageBases
from app.environments.image_build import build_context, build_variables
from app.environments.image_engine import (
    EngineRefused,
    EngineUnavailable,
    ImageEngine,
    Record,
    tag_image,
    untag_image,
)
from app.environments.image_files import files_of
from app.environments.image_push import ImageRegistry
from app.environments.interpreters import Interpreter
from app.environments.resolved import ResolvedSpec
from app.environments.venv_builder import DEFAULT_TIMEOUT_SECONDS
from app.environments.wheels import WheelCache

REPOSITORY = "trainwright/environment"
BASE_REPOSITORY = "trainwright/base"
# The words of uv, those of apt and those of our conda step.
_NO_SOLUTION = (
    "No solution found",
    "Unable to locate package",
    "has no installation candidate",
    "Cannot solve the request",
)


class DockerImageBuilder:
    """Makes, finds and removes images in one engine, and pushes them where there is a registry."""

    def __init__(
        self,
        engine: ImageEngine,
        *,
        registry: ImageRegistry | None = None,
        ca_file: Path | None = None,
        buildkit: BuildKit | None = None,
        environ: Mapping[str, str] = os.environ,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        channel_alias: str = "",
        cache_bytes: int | None = None,
        wheels: WheelCache | None = None,
    ) -> None:
        """Make a builder.

        Args:
            engine: where it builds.
            registry: where it pushes; None: nowhere.
            ca_file: certificates that builds trust.
            buildkit: how it builds; None: by the engine's old builder.
            environ: of this process; what of it builds may see is chosen.
            timeout_seconds: of one build.
            channel_alias: where conda channels are that are given by name.
            cache_bytes: how large BuildKit's cache may stay after a build; None: any.
            wheels: what was compiled before; None: environments have nothing to be compiled.
        """
        self._engine = engine
        self._registry = registry
        self._ca_file = ca_file
        self._environ = build_variables(environ)
        self._runner = BuildRunner(engine, buildkit, self._environ)
        self._bases = ImageBases(engine, self._runner)
        self._horovod = wheels and HorovodInEngine(
            engine, self._runner, wheels, environ=self._environ, ca_file=ca_file
        )
        self._timeout_seconds = timeout_seconds
        self._channel_alias = channel_alias
        self._cache_bytes = cache_bytes if buildkit is not None else None

    def find(self, spec_hash: str) -> BuiltImage | None:
        """A finished image of this hash; blocks.

        Raises:
            EngineUnavailable: the engine is not there.
        """
        found = self._engine.inspect(f"{REPOSITORY}:{spec_hash}")
        if found is None:
            return None
        if self._registry is None:
            return self._describe(found, found["Id"])
        pushed = self._registry.pushed_reference(found)
        # Built and not pushed: the build is repeated, which takes its steps from the cache.
        return self._describe(found, pushed) if pushed else None

    async def digest_of_base(self, name: str, on_output: Output) -> str:
        """What a base image's name names now; raises as `ImageBases.digest_of`."""
        return await self._bases.digest_of(name, on_output)

    async def build(
        self,
        spec: ResolvedSpec,
        interpreter: Interpreter | None,
        *,
        on_output: Output,
        lock: str | None = None,
    ) -> BuiltImage:
        """Build an image; call it only while holding the lease on its hash.

        Raises:
            BuildFailed: with what the tool, the engine or the registry said.
            EngineUnavailable: the engine went away; try again later.
        """
        started = time.monotonic()
        tail = f"building-{spec.spec_hash[:12]}-{secrets.token_hex(4)}"
        working, base = f"{REPOSITORY}:{tail}", f"{BASE_REPOSITORY}:{tail}"
        await self._engine.call(lambda client: _clear_away(client, spec.spec_hash))
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._bases.obtain(spec, base, on_output)
                await self._run_build(spec, base, working, lock, on_output)
                built = await self._engine.call(lambda client: client.inspect_image(working))
                reference = await self._push(built, spec.spec_hash, on_output)
                final = f"{REPOSITORY}:{spec.spec_hash}"
                await self._engine.call(tag_image(built["Id"], final))
                described = await asyncio.to_thread(self._describe, built, reference)
        except TimeoutError:
            text = f"The build took longer than {self._timeout_seconds:.0f} seconds."
            raise BuildFailed("build_timeout", text) from None
        finally:
            with suppress(EngineUnavailable, EngineRefused):  # then the next build clears away
                await self._engine.call(untag_image(working))
                await self._engine.call(untag_image(base))
                await self._engine.call(lambda client: _remove_stage_steps(client, spec.spec_hash))
        seconds = round(time.monotonic() - started, 3)
        if self._cache_bytes is not None:
            # An engine that prunes for somebody else refuses; the image is there all the same.
            with suppress(EngineUnavailable, EngineRefused):
                await self._engine.call(
                    lambda client: client.prune_builds(keep_storage=self._cache_bytes, all=True)
                )
        return replace(described, build_seconds=seconds)

    def remove(self, spec_hash: str) -> None:
        """Remove an image, here and from the registry, with layers nothing else needs; blocks.

        Raises:
            EngineUnavailable: the engine is not there.
            EngineRefused: a container still uses it.
            RegistryUnavailable: the registry still has it.
        """
        try:
            self._engine.call_now(untag_image(f"{REPOSITORY}:{spec_hash}"))
            self._engine.call_now(lambda client: _clear_away(client, spec_hash))
            self._engine.call_now(lambda client: _remove_stage(client, spec_hash))
        finally:
            # Also when a container here still uses one of its layers.
            if self._registry is not None:
                self._registry.remove(spec_hash)

    async def _run_build(
        self, spec: ResolvedSpec, base: str, tag: str, lock: str | None, on_output: Output
    ) -> None:
        seed = None
        if not self._runner.with_mounts:
            seed = await self._engine.call(lambda client: _stage_with_downloads(client, spec))
        wheel = await self._horovod.wheel_of(spec, base, on_output) if self._horovod else None
        context = await asyncio.to_thread(
            build_context,
            spec,
            lock=lock,
            environ=self._environ,
            ca_file=self._ca_file,
            with_mounts=self._runner.with_mounts,
            start=Start(base, seed, wheel.name if wheel else None),
            channel_alias=self._channel_alias,
            wheel=wheel,
        )
        try:
            with context:
                await self._runner.run(context, tag, on_output)
        except EngineRefused as error:
            is_unknown = any(said in error.words for said in _NO_SOLUTION)
            code = "resolution_failed" if is_unknown else "install_failed"
            text = f"The image cannot be built:\n{error.words}"
            raise BuildFailed(code, text) from error

    async def _push(self, built: Record, spec_hash: str, on_output: Output) -> str:
        if self._registry is None:
            return str(built["Id"])
        return await self._registry.push(built["Id"], spec_hash, on_output)

    def _describe(self, found: Record, reference: str) -> BuiltImage:
        held = self._engine.call_now(lambda client: files_of(client, found["Id"], FACTS_PATH))
        files = {name: content.decode() for name, content in held.items()}
        facts = json.loads(files["facts.json"])
        listed = json.loads(files["packages.json"])
        packages = {entry["name"]: entry["version"] for entry in listed}
        return BuiltImage(
            python=Path(facts["python"]),
            python_version=facts["python_version"],
            lock=full_lock(files["lock.txt"], facts["conda"]),
            packages=packages | {one["name"]: one["version"] for one in facts["conda"]},
            size_bytes=found["Size"],
            build_seconds=0.0,
            reference=reference,
            system_packages=facts["system_packages"],
        )


def _clear_away(client: Any, spec_hash: str) -> None:
    """Remove what a killed build of this hash left: working tags, and containers of steps."""
    for repository in (REPOSITORY, BASE_REPOSITORY):
        for image in client.images(name=f"{repository}:building-{spec_hash[:12]}-*"):
            for name in image["RepoTags"] or []:
                if name.startswith(f"{repository}:building-{spec_hash[:12]}-"):
                    client.remove_image(name)
    # A step's container is removed as soon as it ends, so an ended one belongs to no build.
    _remove_containers(client, {"label": f"{BUILD_LABEL}=1", "status": ["exited", "dead"]})
    _remove_stage_steps(client, spec_hash)


def _remove_stage_steps(client: Any, spec_hash: str) -> None:
    """Remove containers of this hash's last steps: the old builder leaves one that it finds busy.

    Those steps only set labels, so their containers are never started and never end.
    """
    _remove_containers(client, {"label": f"{STAGE_LABEL}={spec_hash}"})


def _remove_containers(client: Any, filters: dict[str, Any]) -> None:
    for container in client.containers(all=True, filters=filters):
        with suppress(NotFound):  # the engine has just removed it itself
            client.remove_container(container["Id"], v=True, force=True)


def _stage_with_downloads(client: Any, spec: ResolvedSpec) -> str | None:
    """The newest stage whose downloads may serve this build."""
    filters = {"dangling": True, "label": f"{CACHE_KEY_LABEL}={cache_key(spec)}"}
    stages = client.images(filters=filters)
    newest = max(stages, key=lambda image: int(image["Created"]), default=None)
    return str(newest["Id"]) if newest is not None else None


def _remove_stage(client: Any, spec_hash: str) -> None:
    filters = {"dangling": True, "label": f"{STAGE_LABEL}={spec_hash}"}
    for image in client.images(filters=filters):
        client.remove_image(image["Id"])
