"""What tests of image builds share: a base image, builders, and a look into what was built."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.environments import service
from app.environments.buildkit import find_buildkit
from app.environments.built import BuiltImage
from app.environments.docker_builder import REPOSITORY, DockerImageBuilder
from app.environments.dockerfile import STAGE_LABEL
from app.environments.image_engine import ImageEngine
from app.environments.resolved import ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.workspaces import repository as workspaces
from tests import docker_engine
from tests.environments.test_images import wait_for
from tests.live_api import LiveApi


@contextmanager
def named_base(name: str) -> Iterator[str]:
    """A base image with a Python, made without any registry, under a name for the block."""
    if not docker_engine.answers():
        pytest.skip("no Docker engine answers: images were NOT tested")
    try:
        image_id = docker_engine.base_image()
    except docker_engine.NoBaseImage as reason:
        pytest.skip(f"no base image, so images were NOT tested: {reason}")
    with closing(docker_engine.client()) as engine:
        engine.tag(image_id, *name.split(":"))
        yield name
        engine.remove_image(name)


def ca_file() -> Path | None:
    """The certificates by which builds here reach the package index."""
    found = os.environ.get("SSL_CERT_FILE")
    return Path(found) if found else None


def builder_of(
    *, with_buildkit: bool, url: str = docker_engine.DOCKER_URL, **options: Any
) -> DockerImageBuilder:
    """A builder of one kind; skips the test where the kind is not here."""
    found = find_buildkit(url) if with_buildkit else None
    if with_buildkit and found is None:
        pytest.skip("no docker program here can do BuildKit: it was NOT tested")
    return DockerImageBuilder(
        ImageEngine(url), **({"ca_file": ca_file(), "buildkit": found} | options)
    )


def spec_on(base: str | None, *requirements: str, **fields: Any) -> ResolvedSpec:
    """A specification with the Python of our base image."""
    made = ResolvedSpec(python_version="3.11", requirements=requirements, kind="docker", base=base)
    return ResolvedSpec.from_canonical(made.canonical() | fields)


async def build(builder: DockerImageBuilder, spec: ResolvedSpec) -> tuple[BuiltImage, str]:
    """Build; returns the image and the output."""
    output: list[bytes] = []

    async def keep(lines: bytes) -> None:
        output.append(lines)

    built = await builder.build(spec, None, on_output=keep)
    return built, b"".join(output).decode()


def run_in(image: str | None, code: str, *, python: str = "/opt/environment/bin/python") -> str:
    """What Python code prints in a container as nodes are: read-only, and nobody's root."""
    argv = ["docker", "run", "--rm", "--network=none", "--user=1000", "--read-only"]
    argv += ["--cap-drop=ALL", str(image), python, "-c", code]
    return subprocess.run(argv, capture_output=True, check=True, text=True, timeout=60).stdout


async def ask_for(api: LiveApi, *lines: str, **fields: Any) -> str:
    """Hash of the image for these packages, once the base's tag has been looked up."""
    async with api.database.session() as session:
        workspace = await workspaces.get(session, api.workspace)
        spec = EnvironmentSpec(pip_packages=list(lines), **({"python_version": "3.11"} | fields))
        asked, _ = await service.ensure_image(session, api.settings, workspace, spec)
    image = await wait_for(
        api,
        asked.id,
        lambda one: (
            one["state"] in ("Resolved", "Failed")
            or one["inputs"].keys() & {"base_digest", "dockerfile"} != set()
        ),
    )
    is_resolved = image["state"] == "Resolved"
    return str(image["resolved_to"] if is_resolved else image["hash"])


def tags_and_stages(spec_hash: str) -> list[Any]:
    """What the engine holds of an image."""
    with closing(docker_engine.client()) as engine:
        tagged = engine.images(name=f"{REPOSITORY}:{spec_hash}")
        stages = engine.images(filters={"label": f"{STAGE_LABEL}={spec_hash}"})
    return [*tagged, *stages]


def assert_nothing_of_the_build_is_in(reference: str) -> None:
    """Neither its secrets are in an image nor its tools."""
    with closing(docker_engine.client()) as engine:
        history = str(engine.history(reference)) + str(engine.inspect_image(reference))
    assert "CERT" not in history
    found = "import os; print(os.path.exists('/trainwright/tools/uv'))"
    assert run_in(reference, found) == "False\n"
