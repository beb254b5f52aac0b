"""Builds environments as container images.

A build works under a tag of its own; the tag by which anybody looks for the image, the hash of the
specification, is set when everything has succeeded. So what a killed build leaves has no name that
counts, and a finished image whose builder died before it could say so is found and adopted.
"""

import asyncio
import json
import os
import secrets
import tarfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from app.environments.buildkit import BuildKit
from app.environments.commands import Output
from app.environments.dockerfile import (
    FACTS_PATH,
    PYTHON_PATH,
    STAGE_LABEL,
)
from app.environments.image_build import (
    Progress,
    build_context,
    build_variables,
    proxy_arguments,
)
from app.environments.image_engine import EngineRefused, EngineUnavailable, ImageEngine, Record
from app.environments.interpreters import Interpreter
from app.environments.resolved import ResolvedSpec
from app.environments.venv_builder import DEFAULT_TIMEOUT_SECONDS, BuildFailed, BuiltImage

REPOSITORY = "trainwright/environment"
# The words of uv, and those of apt.
_NO_SOLUTION = ("No solution found", "Unable to locate package", "has no installation candidate")


class DockerImageBuilder:
    """Makes, finds and removes images in one engine, and pushes them where there is a registry."""

    def __init__(
        self,
        engine: ImageEngine,
        *,
        registry: str = "",
        ca_file: Path | None = None,
        buildkit: BuildKit | None = None,
        environ: Mapping[str, str] = os.environ,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._ca_file = ca_file
        self._buildkit = buildkit
        self._environ = build_variables(environ)
        self._timeout_seconds = timeout_seconds

    def find(self, spec_hash: str) -> BuiltImage | None:
        """A finished image of this hash; blocks."""
        found = self._engine.inspect(f"{REPOSITORY}:{spec_hash}")
        if found is None:
            return None
        if not self._registry:
            return self._describe(found, found["Id"])
        digests = found.get("RepoDigests") or []
        pushed = [one for one in digests if one.startswith(f"{self._registry}@")]
        # Built and not pushed: the build is repeated, which takes its steps from the cache.
        return self._describe(found, pushed[0]) if pushed else None

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
        working = f"{REPOSITORY}:building-{spec.spec_hash[:12]}-{secrets.token_hex(4)}"
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._pull_base(spec, on_output)
                await self._run_build(spec, working, lock, on_output)
                final = f"{REPOSITORY}:{spec.spec_hash}"
                built = await self._engine.call(lambda client: client.inspect_image(working))
                reference = await self._push(built["Id"], spec.spec_hash, on_output)
                await self._engine.call(_tag(built["Id"], final))
                described = await asyncio.to_thread(self._describe, built, reference)
        except TimeoutError:
            text = f"The build took longer than {self._timeout_seconds:.0f} seconds."
            raise BuildFailed("build_timeout", text) from None
        finally:
            await self._engine.call(_untag(working))
        return replace(described, build_seconds=round(time.monotonic() - started, 3))

    def remove(self, spec_hash: str) -> None:
        """Remove the tags of a hash, and the layers that nothing else needs; blocks."""
        self._engine.call_now(_untag(f"{REPOSITORY}:{spec_hash}"))
        self._engine.call_now(lambda client: _remove_stage(client, spec_hash))
        if self._registry:
            self._engine.call_now(_untag(f"{self._registry}:{spec_hash}"))

    async def _pull_base(self, spec: ResolvedSpec, on_output: Output) -> None:
        base = spec.base
        assert base is not None
        if await asyncio.to_thread(self._engine.inspect, base) is not None:
            return
        await on_output(f"Pulling {base}\n".encode())
        name, tag = _split(base)

        def pull(client: Any) -> Iterator[Record]:
            credentials = self._engine.credentials(base)
            records: Iterator[Record] = client.pull(
                name, tag=tag, stream=True, decode=True, auth_config=credentials
            )
            return records

        try:
            await self._engine.follow(pull, Progress(on_output))
        except EngineRefused as error:
            text = f"The base image {base} cannot be pulled: {error.words}"
            raise BuildFailed("base_image_unavailable", text) from error

    async def _run_build(
        self, spec: ResolvedSpec, tag: str, lock: str | None, on_output: Output
    ) -> None:
        context = await asyncio.to_thread(
            build_context,
            spec,
            lock=lock,
            environ=self._environ,
            ca_file=self._ca_file,
            with_mounts=self._buildkit is not None,
        )
        try:
            with context:
                if self._buildkit is not None:
                    await self._buildkit.build(context, tag, on_output)
                else:
                    await self._old_build(context, tag, on_output)
        except EngineRefused as error:
            is_unknown = any(said in error.words for said in _NO_SOLUTION)
            code = "resolution_failed" if is_unknown else "install_failed"
            text = f"The image cannot be built:\n{error.words}"
            raise BuildFailed(code, text) from error

    async def _old_build(self, context: IO[bytes], tag: str, on_output: Output) -> None:
        progress = Progress(on_output)

        def start(client: Any) -> Iterator[Record]:
            records: Iterator[Record] = client.build(
                fileobj=context,
                custom_context=True,
                tag=tag,
                buildargs=proxy_arguments(self._environ),
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

    async def _push(self, image_id: str, spec_hash: str, on_output: Output) -> str:
        """Push to the registry, if there is one; returns the image's reference."""
        if not self._registry:
            return image_id
        name = f"{self._registry}:{spec_hash}"
        await self._engine.call(_tag(image_id, name))
        await on_output(f"Pushing to {self._registry}\n".encode())
        progress = Progress(on_output)

        def push(client: Any) -> Iterator[Record]:
            credentials = self._engine.credentials(name)
            records: Iterator[Record] = client.push(
                self._registry, tag=spec_hash, stream=True, decode=True, auth_config=credentials
            )
            return records

        try:
            await self._engine.follow(push, progress)
        except EngineRefused as error:
            text = f"The image cannot be pushed to {self._registry}: {error.words}"
            raise BuildFailed("push_failed", text) from error
        finally:
            if not progress.digest:
                await self._engine.call(_untag(name))
        if not progress.digest:
            raise EngineUnavailable("The Docker engine broke the push off.")
        return f"{self._registry}@{progress.digest}"

    def _describe(self, found: Record, reference: str) -> BuiltImage:
        files = self._engine.call_now(lambda client: _read_facts(client, found["Id"]))
        listed = json.loads(files["packages.json"])
        return BuiltImage(
            python=Path(PYTHON_PATH),
            python_version=files["python.txt"].strip(),
            lock=files["lock.txt"],
            packages={entry["name"]: entry["version"] for entry in listed},
            size_bytes=found["Size"],
            build_seconds=0.0,
            reference=reference,
        )


def _split(name: str) -> tuple[str, str | None]:
    """Repository and tag of an image name; a digest stays with the repository."""
    if "@" in name:
        return name, None
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "latest")


def _tag(image_id: str, name: str) -> Any:
    repository, tag = _split(name)
    return lambda client: client.tag(image_id, repository, tag=tag, force=True)


def _untag(name: str) -> Any:
    def untag(client: Any) -> None:
        if client.images(name=name):
            client.remove_image(name)

    return untag


def _remove_stage(client: Any, spec_hash: str) -> None:
    filters = {"dangling": True, "label": f"{STAGE_LABEL}={spec_hash}"}
    for image in client.images(filters=filters):
        client.remove_image(image["Id"])


def _read_facts(client: Any, image_id: str) -> dict[str, str]:
    """The small files that the build's last step wrote; from a container that never starts."""
    container = client.create_container(image_id, command=["true"])["Id"]
    try:
        pieces, _ = client.get_archive(container, FACTS_PATH)
        content = BytesIO(b"".join(pieces))
    finally:
        client.remove_container(container, force=True)
    texts = {}
    with tarfile.open(fileobj=content) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                texts[Path(member.name).name] = file.read().decode()
    return texts
