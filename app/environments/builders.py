"""What builds environments: virtual environments here, or container images in an engine."""

from typing import Protocol

from app.environments.buildkit import find_buildkit
from app.environments.built import BuiltImage
from app.environments.commands import Output
from app.environments.docker_builder import DockerImageBuilder
from app.environments.image_engine import ImageEngine
from app.environments.image_push import ImageRegistry
from app.environments.interpreters import Interpreter
from app.environments.resolved import Machine, ResolvedSpec
from app.environments.venv_builder import VenvBuilder
from app.environments.wheels import WheelCache
from app.kernel.config import Settings


class ImageBuilder(Protocol):
    """Makes, finds and removes environments by the hash of their specification."""

    def find(self, spec_hash: str) -> BuiltImage | None:
        """A finished one, if it is there; blocks."""
        ...

    async def build(
        self,
        spec: ResolvedSpec,
        interpreter: Interpreter | None,
        *,
        on_output: Output,
        lock: str | None = None,
    ) -> BuiltImage:
        """Build one; cancelling ends it; raises BuildFailed with what the tool said."""
        ...

    def remove(self, spec_hash: str) -> None:
        """Remove all of a hash; blocks."""
        ...


def make_builder(settings: Settings, machine: Machine) -> ImageBuilder:
    """The builder of the provider that the operator chose."""
    wheels = WheelCache(settings.compiled_wheels_dir)
    if settings.provider == "docker":
        engine = ImageEngine(
            settings.docker_url, credentials_file=settings.registry_credentials_file
        )
        registry = None
        if settings.image_registry:
            registry = ImageRegistry(
                engine, settings.image_registry, api_url=settings.image_registry_url
            )
        return DockerImageBuilder(
            engine,
            registry=registry,
            ca_file=settings.build_ca_file,
            buildkit=find_buildkit(settings.docker_url),
            channel_alias=settings.conda_channel_alias,
            cache_bytes=settings.build_cache_bytes,
            wheels=wheels,
        )
    return VenvBuilder(settings.data_dir / "images", wheels=wheels, conda_tool=machine.conda_tool)
