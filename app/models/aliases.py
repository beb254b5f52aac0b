"""Names that point to one version of a model and can be moved to another."""

import re
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.pagination import PageQuery, fetch_page
from app.models.errors import AliasNotFound, AliasReserved, ModelNotFound
from app.tables.model import Model, ModelAlias, ModelVersion

ALIAS_PATTERN = r"^[A-Za-z_-][A-Za-z0-9_-]{0,254}$"
_RESERVED = re.compile(r"(?i)^(latest|v[0-9]+)$")


async def lock(session: AsyncSession, model_id: str) -> Model:
    """The model as it is now, locked: its aliases are moved one after the other.

    Raises:
        ModelNotFound: it was deleted meanwhile.
    """
    statement = select(Model).where(Model.id == model_id).with_for_update(key_share=True)
    found = await session.execute(statement.execution_options(populate_existing=True))
    row = found.scalar_one_or_none()
    if row is None:
        raise ModelNotFound("The model was deleted.")
    return row


async def find(session: AsyncSession, model_id: str, alias: str) -> ModelVersion | None:
    """The version that an alias points to, if there is such an alias."""
    statement = (
        select(ModelVersion)
        .join(ModelAlias, ModelAlias.version_id == ModelVersion.id)
        .where(ModelAlias.model_id == model_id, ModelAlias.alias == alias)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, model: Model, alias: str) -> ModelVersion:
    """The version that an alias points to.

    Raises:
        AliasNotFound: the model has no such alias.
    """
    row = await find(session, model.id, alias)
    if row is None:
        raise AliasNotFound(f"Model {model.name!r} has no alias {alias!r}.")
    return row


async def list_page(
    session: AsyncSession, model_id: str, page: PageQuery
) -> tuple[list[tuple[str, int]], str]:
    """Aliases in their order with the numbers of their versions."""
    statement = (
        select(ModelAlias.alias, ModelVersion.version)
        .join(ModelVersion, ModelVersion.id == ModelAlias.version_id)
        .where(ModelAlias.model_id == model_id)
    )
    return await fetch_page(
        session,
        cast("Select[Any]", statement),
        keys=[ModelAlias.alias],
        page=page,
        key_of=lambda row: [row[0]],
        scalars=False,
    )


async def of_versions(session: AsyncSession, version_ids: Sequence[str]) -> dict[str, list[str]]:
    """Aliases in their order by the id of the version; versions without any are left out."""
    statement = (
        select(ModelAlias.version_id, ModelAlias.alias)
        .where(ModelAlias.version_id.in_(version_ids))
        .order_by(ModelAlias.alias)
    )
    found: dict[str, list[str]] = {}
    for version_id, alias in await session.execute(statement):
        found.setdefault(version_id, []).append(alias)
    return found


async def of_models(session: AsyncSession, model_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Numbers of versions by alias, by the id of the model."""
    statement = (
        select(ModelAlias.model_id, ModelAlias.alias, ModelVersion.version)
        .join(ModelVersion, ModelVersion.id == ModelAlias.version_id)
        .where(ModelAlias.model_id.in_(model_ids))
        .order_by(ModelAlias.alias)
    )
    found: dict[str, dict[str, int]] = {}
    for model_id, alias, version in await session.execute(statement):
        found.setdefault(model_id, {})[alias] = version
    return found


async def point(session: AsyncSession, model_id: str, alias: str, version_id: str) -> None:
    """Let an alias point to a version; from the commit on it points to no other.

    Raises:
        AliasReserved: the name means something else already.
    """
    if _RESERVED.match(alias):
        raise AliasReserved(
            f"The alias {alias!r} is reserved: latest and v1, v2, … name versions already."
        )
    statement = insert(ModelAlias).values(model_id=model_id, alias=alias, version_id=version_id)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["model_id", "alias"], set_={"version_id": version_id}
        )
    )


async def remove(session: AsyncSession, model_id: str, alias: str) -> None:
    """Remove an alias; one that is not there is fine."""
    await session.execute(
        delete(ModelAlias).where(ModelAlias.model_id == model_id, ModelAlias.alias == alias)
    )
