"""An engine that refuses a step of a build: it is tried again, and then the image says so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.environments.builders import ImageBuilder, make_builder
from app.environments.built import BuiltImage
from app.environments.image_engine import EngineRefused
from app.environments.resolved import Machine
from app.kernel.config import Settings
from tests.environments.index import PackageIndex
from tests.environments.test_images import ask_for, ended, image_reconcilers, package
from tests.live_api import LiveApi, live_api

__all__ = ["package"]
pytestmark = pytest.mark.anyio


class Refusing:
    """A builder whose engine refuses so many builds, and to say what it has."""

    refusals = 0

    def __init__(self, builder: ImageBuilder) -> None:
        self._builder = builder

    def find(self, spec_hash: str) -> BuiltImage | None:
        if Refusing.refusals:
            raise EngineRefused("layer does not exist", 500)
        return self._builder.find(spec_hash)

    async def build(self, *given: Any, **more: Any) -> BuiltImage:
        if Refusing.refusals:
            Refusing.refusals -= 1
            raise EngineRefused("no space left on device", 500)
        return await self._builder.build(*given, **more)

    def remove(self, spec_hash: str) -> None:
        self._builder.remove(spec_hash)


@pytest.fixture
async def api(
    tmp_path: Path,
    postgres_url: str,
    broker_url: str,
    index: PackageIndex,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[LiveApi]:
    def refusing(settings: Settings, machine: Machine) -> Refusing:
        return Refusing(make_builder(settings, machine))

    monkeypatch.setattr("workers.reconcile_image.make_builder", refusing)
    monkeypatch.setattr("workers.engine_refusals.PAUSES_SECONDS", (0.01,) * 4)
    async with live_api(tmp_path, postgres_url, broker_url, reconcilers=image_reconcilers) as api:
        yield api


async def test_what_is_refused_for_a_while_is_built(api: LiveApi, package: str) -> None:
    Refusing.refusals = 3
    image_hash = await ask_for(api, package)
    image = await ended(api, image_hash)
    assert (image["state"], image["build_number"]) == ("Ready", 1)
    log = (await api.client.get(f"/images/{image_hash}/logs")).text
    assert log.count("no space left on device\nTrying again.\n") == 3


async def test_what_is_refused_again_and_again_is_the_error_of_the_image(
    api: LiveApi, package: str
) -> None:
    Refusing.refusals = 1000
    image_hash = await ask_for(api, package)
    image = await ended(api, image_hash)
    assert image["state"] == "Failed"
    assert image["error"]["code"] == "engine_refused"
    assert "no space left on device" in image["error"]["message"]
    log = await api.client.get(f"/images/{image_hash}/logs")
    assert log.headers["log-sealed"] == "true"
    assert "no space left on device" in log.text

    Refusing.refusals = 0
    await ask_for(api, package)
    assert (await ended(api, image_hash))["state"] == "Ready"
