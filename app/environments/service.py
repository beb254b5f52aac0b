"""Images on demand: the door for runs and deployments."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.environments import ranks, repository
from app.environments.errors import ImageInUse
from app.environments.horovod_compile import check_toolchain
from app.environments.machine import machine_here
from app.environments.resolve import resolve
from app.environments.resolved import ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.environments.states import ImageState
from app.environments.wheels import WheelCache
from app.kernel.config import Settings
from app.kernel.wake import wake
from app.tables.image import Image
from app.tables.workspace import Workspace

BUILD_LOG = "system_logs/image_build.txt"


async def resolve_here(
    settings: Settings, spec: EnvironmentSpec, *, pointer: str = "/environment"
) -> ResolvedSpec:
    """What ``spec`` means on this machine.

    Args:
        settings: the operator's settings.
        spec: what is asked for.
        pointer: JSON pointer of the specification in the request, for errors.

    Raises:
        FrameworkUnavailable: no Python here can have the framework version.
        PythonUnavailable: the Python version is not here.
        CondaUnavailable: conda packages and no conda.
        HorovodUnsupported: Horovod does not work with what is asked for.
        MpiMissing, ToolchainMissing: Horovod, and this machine lacks what it takes.
    """
    machine = await machine_here(settings)
    resolved = resolve(spec, machine, pointer=pointer)
    if resolved.horovod is not None and machine.bases is None:
        wheels = WheelCache(settings.compiled_wheels_dir)
        await asyncio.to_thread(check_toolchain, resolved, machine, wheels, pointer=pointer)
    return resolved


async def for_ranks(
    settings: Settings, spec: EnvironmentSpec, *, controller: str, pointer: str
) -> EnvironmentSpec:
    """The environment of a run whose processes are ranks: see :func:`ranks.for_ranks`."""
    machine = await machine_here(settings)
    return ranks.for_ranks(spec, machine, controller=controller, pointer=pointer)


async def ensure_image(
    session: AsyncSession,
    settings: Settings,
    workspace: Workspace,
    spec: EnvironmentSpec,
    *,
    pointer: str = "/environment",
) -> tuple[Image, list[dict[str, Any]]]:
    """The image for a specification, with a build under way where there is none yet.

    Identical specifications get the same row, so one build. A failed image is tried once more
    for each new request; a removed one is built again from its lock.

    Returns:
        The image, locked until the transaction ends, and warnings ``{"code", "message"}``.

    Raises:
        DomainError: as :func:`resolve_here`.
    """
    resolved = await resolve_here(settings, spec, pointer=pointer)
    if resolved.needs_base_digest:
        # Where nobody knows it, a worker looks it up; another image then takes this one's place.
        digest = await repository.base_digest(
            session, str(resolved.base), max_age_seconds=settings.base_image_check_seconds
        )
        resolved = replace(resolved, base_digest=digest)
    image, is_new = await repository.add_image(
        session, workspace.id, resolved.spec_hash, resolved.canonical()
    )
    if await want_built(session, image, is_new=is_new):
        await session.refresh(image)
    return image, list(resolved.warnings)


async def want_built(session: AsyncSession, image: Image, *, is_new: bool) -> bool:
    """See to it that an image which is used now is there or built.

    Args:
        session: the transaction; the row is locked in it.
        image: the image.
        is_new: whether its row was made in this transaction.

    Returns:
        Whether it will be built.
    """
    if not is_new and must_be_built_again(image.state, image.python, image.reference):
        await _queue(session, image)
        is_new = True
    # Whether the engine still has an image only a worker can see; it has it built again if not.
    if is_new or (image.state == ImageState.READY and is_local(image.reference)):
        await wake(session, Image, image.id)
    return is_new


async def replace_lost(session: AsyncSession, image_id: str, reference: str | None) -> None:
    """Have an image built again that can neither be found in an engine nor pulled.

    Args:
        session: the transaction.
        image_id: the image.
        reference: the one that cannot be had; where it has another by now, nothing is done.
    """
    image = await repository.lock_image(session, image_id)
    if image.state == ImageState.READY and image.reference == reference:
        await _queue(session, image)
        await wake(session, Image, image.id)


async def _queue(session: AsyncSession, image: Image) -> None:
    image.state = ImageState.QUEUED
    image.error = None
    image.python = None
    image.reference = None
    await session.flush()


async def spec_of(session: AsyncSession, workspace: Workspace, name: str) -> EnvironmentSpec:
    """The specification of a named environment.

    Raises:
        EnvironmentNotFound: there is none of this name.
    """
    row = await repository.get_environment(session, workspace.id, name)
    return EnvironmentSpec.model_validate(row.spec)


async def remove_image(session: AsyncSession, workspace: Workspace, image_id: str) -> None:
    """Have an image's files removed; its row with lock and packages stays.

    Raises:
        ImageNotFound: the workspace has none of this hash.
        ImageInUse: a run that has not ended, a deployment or the loading of a model needs it.
    """
    image = await repository.get_image(session, workspace.id, image_id, lock=True)
    if await repository.is_in_use(session, image_id):
        raise ImageInUse(
            f"Image {image_id[:12]} is used by a run, a deployment or the loading of a model."
        )
    image.state = ImageState.DELETED
    image.error = None
    image.python = None
    image.reference = None
    await session.flush()
    await wake(session, Image, image_id)


def is_local(reference: str | None) -> bool:
    """Whether an image is in the engine alone, so that nothing can be pulled if it is gone."""
    return reference is not None and "@" not in reference


def current_build(image: Image) -> int:
    """Number of the build that makes, or made, the image what a new request waits for."""
    return image.build_number + 1 if image.state == ImageState.QUEUED else image.build_number


def build_log_owner(image_id: str, build_number: int) -> str:
    """Owner of the log of one build; every build has one of its own, sealed at its end."""
    return f"{image_id}/{build_number}"


def must_be_built_again(state: str, python: str | None, reference: str | None) -> bool:
    """Whether a new request for an image in this state has it built anew."""
    if state in (ImageState.FAILED, ImageState.DELETED, ImageState.RESOLVED):
        return True
    if reference is not None:
        return False  # only workers have the engine at hand
    # Somebody emptied the images folder by hand: the row must not promise what is not there.
    is_gone = python is None or not Path(python).exists()
    return state == ImageState.READY and is_gone
