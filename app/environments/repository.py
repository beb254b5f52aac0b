"""Queries about environments and images."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, not_, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.environments.errors import EnvironmentNotFound, ImageNotFound
from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.base_image import BaseImage
from app.tables.deployment import Deployment
from app.tables.environment import Environment
from app.tables.image import Image, WorkspaceImage
from app.tables.model import ModelCapture
from app.tables.run import Run

_COMPARED_IMAGES = 200


async def find_environment(
    session: AsyncSession, workspace_id: str, name: str
) -> Environment | None:
    """The environment of this name, if there is one."""
    statement = select(Environment).where(
        Environment.workspace_id == workspace_id, Environment.name == name
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get_environment(session: AsyncSession, workspace_id: str, name: str) -> Environment:
    """The environment of this name.

    Raises:
        EnvironmentNotFound: there is none.
    """
    row = await find_environment(session, workspace_id, name)
    if row is None:
        raise EnvironmentNotFound(f"There is no environment {name!r} in this workspace.")
    return row


async def get_or_create_environment(
    session: AsyncSession, workspace_id: str, name: str, spec: dict[str, Any]
) -> tuple[Environment, bool]:
    """The environment of this name, made if there is none; safe when called at once by many.

    Returns:
        The row, and whether it was made now.
    """
    statement = (
        insert(Environment)
        .values(id=new_id("env"), workspace_id=workspace_id, name=name, spec=spec)
        .on_conflict_do_nothing(index_elements=["workspace_id", "name"])
        .returning(Environment.id)
    )
    created = (await session.execute(statement)).scalar_one_or_none() is not None
    return await get_environment(session, workspace_id, name), created


async def list_environments(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Environment], str]:
    """Environments of a workspace by name."""
    return await fetch_page(
        session,
        select(Environment).where(Environment.workspace_id == workspace_id),
        keys=[Environment.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def add_image(
    session: AsyncSession, workspace_id: str, image_id: str, spec: dict[str, Any]
) -> tuple[Image, bool]:
    """The image of this hash, made if there is none, known to the workspace, used now, locked.

    Returns:
        The row, and whether it was made now.
    """
    created = False
    image = await touch(session, image_id)
    if image is None:
        statement = (
            insert(Image)
            .values(id=image_id, spec=spec)
            .on_conflict_do_nothing(index_elements=["id"])
            .returning(Image.id)
        )
        created = (await session.execute(statement)).scalar_one_or_none() is not None
        image = await lock_image(session, image_id)
    await session.execute(
        insert(WorkspaceImage)
        .values(workspace_id=workspace_id, image_id=image_id)
        .on_conflict_do_nothing()
    )
    return image, created


async def get_image(
    session: AsyncSession, workspace_id: str, image_id: str, *, lock: bool = False
) -> Image:
    """An image that the workspace uses.

    Raises:
        ImageNotFound: there is none of this hash.
    """
    statement = _locked(image_id) if lock else select(Image).where(Image.id == image_id)
    statement = statement.join(WorkspaceImage, WorkspaceImage.image_id == Image.id).where(
        WorkspaceImage.workspace_id == workspace_id
    )
    image = (await session.execute(statement)).scalar_one_or_none()
    if image is None:
        raise ImageNotFound(f"There is no image {image_id} in this workspace.")
    return image


async def list_images(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Image], str]:
    """Images that a workspace uses, by hash."""
    return await fetch_page(
        session,
        select(Image)
        .join(WorkspaceImage, WorkspaceImage.image_id == Image.id)
        .where(WorkspaceImage.workspace_id == workspace_id),
        keys=[Image.id],
        page=page,
        key_of=lambda row: [row.id],
    )


async def earlier_images(
    session: AsyncSession, workspace_id: str, image: Image
) -> Sequence[tuple[str, dict[str, Any]]]:
    """Hash and specification of the workspace's images from before this one, the newest first.

    Not those of which nothing was ever built, as another took their place.
    """
    statement = (
        select(Image.id, Image.spec)
        .join(WorkspaceImage, WorkspaceImage.image_id == Image.id)
        .where(
            WorkspaceImage.workspace_id == workspace_id,
            Image.id != image.id,
            Image.created_at <= image.created_at,
            or_(
                Image.build_number > 0,
                Image.spec.has_key("base_digest"),
                not_(Image.spec.has_key("base")),
            ),
        )
        .order_by(Image.created_at.desc())
        .limit(_COMPARED_IMAGES)
    )
    return [(image_id, spec) for image_id, spec in await session.execute(statement)]


async def workspaces_of(session: AsyncSession, image_id: str) -> Sequence[str]:
    """Ids of the workspaces that know an image."""
    statement = select(WorkspaceImage.workspace_id).where(WorkspaceImage.image_id == image_id)
    return (await session.execute(statement)).scalars().all()


async def base_digest(session: AsyncSession, name: str, *, max_age_seconds: float) -> str | None:
    """What a base image's name named when it was last looked up, unless that was too long ago."""
    age = func.extract("epoch", func.clock_timestamp() - BaseImage.resolved_at)
    statement = select(BaseImage.digest).where(BaseImage.name == name, age <= max_age_seconds)
    return (await session.execute(statement)).scalar_one_or_none()


async def put_base_digest(session: AsyncSession, name: str, digest: str) -> None:
    """Write down what a base image's name names now."""
    values = {"digest": digest, "resolved_at": func.clock_timestamp()}
    statement = insert(BaseImage).values(name=name, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


async def touch(session: AsyncSession, image_id: str) -> Image | None:
    """Note that the image is used now; returns it, locked until the transaction ends."""
    statement = (
        update(Image)
        .where(Image.id == image_id)
        .values(last_used_at=func.clock_timestamp())
        .returning(Image)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def unused_seconds(session: AsyncSession, image_id: str) -> float:
    """How long ago the image was last used, by database time."""
    age = func.extract("epoch", func.clock_timestamp() - Image.last_used_at)
    return float((await session.execute(select(age).where(Image.id == image_id))).scalar_one())


async def waiting_runs(session: AsyncSession, image_id: str) -> Sequence[str]:
    """Runs with this image that have not ended."""
    statement = select(Run.id).where(Run.image_id == image_id, Run.ended_at.is_(None))
    return (await session.execute(statement)).scalars().all()


async def deployments(session: AsyncSession, image_id: str) -> Sequence[str]:
    """Deployments that serve with this image."""
    statement = select(Deployment.id).where(Deployment.image_id == image_id)
    return (await session.execute(statement)).scalars().all()


async def is_in_use(session: AsyncSession, image_id: str) -> bool:
    """Whether a run or a loading of a model that has not ended, or a deployment, needs it."""
    if await waiting_runs(session, image_id) or await deployments(session, image_id):
        return True
    captures = select(ModelCapture.id).where(
        ModelCapture.image_id == image_id, ModelCapture.ended_at.is_(None)
    )
    return (await session.execute(captures.limit(1))).first() is not None


async def lock_image(session: AsyncSession, image_id: str) -> Image:
    """An image, locked until the transaction ends."""
    return (await session.execute(_locked(image_id))).scalar_one()


def _locked(image_id: str) -> Select[Image]:
    return (
        select(Image)
        .where(Image.id == image_id)
        .with_for_update(of=Image, key_share=True)
        .execution_options(populate_existing=True)
    )
