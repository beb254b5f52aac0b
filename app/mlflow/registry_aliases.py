"""Names that point to one version of a registered model, in MLflow's protocol."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.mlflow import registry
from app.mlflow.access import Caller
from app.mlflow.errors import InvalidParameter, NoSuchResource
from app.models import aliases
from app.models.errors import AliasReserved
from app.tables.model import Model, ModelVersion

_LATEST = "latest"
"""An alias that no client can set: the version with the highest number."""


async def set_alias(
    session: AsyncSession, caller: Caller, name: str, alias: str, version: str
) -> None:
    """Let a name point to a version; it points to no other any more.

    Raises:
        InvalidParameter: the name means something else already.
    """
    model, row = await registry.get_version(session, caller, name, version)
    try:
        await aliases.lock(session, model.id)
        await aliases.point(session, model.id, alias, row.id)
    except AliasReserved as error:
        reserved = (
            f"Version alias name '{alias}' is reserved."
            if alias.lower() != _LATEST
            else "'latest' alias name (case insensitive) is reserved."
        )
        raise InvalidParameter(reserved) from error


async def delete_alias(session: AsyncSession, caller: Caller, name: str, alias: str) -> None:
    """Remove an alias; one that is not there is fine."""
    model = await registry.get(session, caller, name)
    await aliases.lock(session, model.id)
    await aliases.remove(session, model.id, alias)


async def by_alias(
    session: AsyncSession, caller: Caller, name: str, alias: str
) -> tuple[Model, ModelVersion]:
    """The version that an alias points to.

    Raises:
        InvalidParameter: there is no such alias, as MLflow's own servers say it.
        NoSuchResource: there is no such model, or it has no version at all.
    """
    model = await registry.get(session, caller, name)
    if alias.lower() == _LATEST:
        return model, await _highest(session, model)
    row = await aliases.find(session, model.id, alias)
    if row is None:
        raise InvalidParameter(f"Registered model alias {alias} not found.")
    return model, row


async def _highest(session: AsyncSession, model: Model) -> ModelVersion:
    statement = (
        select(ModelVersion)
        .where(ModelVersion.model_id == model.id)
        .order_by(ModelVersion.version.desc())
        .limit(1)
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NoSuchResource(f"Latest version not found for model {model.name}.")
    return row
