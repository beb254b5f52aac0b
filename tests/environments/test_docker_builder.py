"""What the builder does when the engine says no, without any engine."""

from collections.abc import Callable
from typing import Any, cast

import pytest

from app.environments.docker_builder import DockerImageBuilder
from app.environments.image_engine import EngineRefused, ImageEngine
from app.environments.image_push import ImageRegistry


class Refusing:
    """An engine in which a container uses every image."""

    def call_now(self, work: Callable[[Any], Any]) -> Any:
        raise EngineRefused("conflict: the image is being used", 409)


class Registry:
    """Where images are pushed."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def remove(self, spec_hash: str) -> None:
        self.removed.append(spec_hash)


def test_an_image_that_is_used_here_leaves_the_registry_all_the_same() -> None:
    registry = Registry()
    builder = DockerImageBuilder(
        cast("ImageEngine", Refusing()), registry=cast("ImageRegistry", registry)
    )

    with pytest.raises(EngineRefused):
        builder.remove("a" * 64)

    assert registry.removed == ["a" * 64]
