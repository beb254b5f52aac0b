"""Registered models and their stages and tags, in MLflow's protocol."""

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.clock import utc_now
from app.kernel.ids import new_id
from app.mlflow import names, places
from app.mlflow.access import Caller
from app.mlflow.errors import InvalidParameter, NoSuchResource, ResourceExists
from app.mlflow.registry_documents import SHOWN
from app.mlflow.registry_schemas import ModelCreate
from app.models import repository
from app.tables.model import Model, ModelVersion

OF_REGISTERED = re.compile(r"models:/(?P<name>[^/]+)/(?P<version>[0-9]{1,9})")
"""The address of a registered version by its number."""
_MOST_COPIES = 10
_HIGHEST_VERSION = 2**31 - 1
"""No column could hold more."""
STAGES = ("None", "Staging", "Production", "Archived")
_ARCHIVING = ("Staging", "Production")


async def create(session: AsyncSession, caller: Caller, body: ModelCreate) -> Model:
    """Write a registered model without versions.

    Raises:
        ResourceExists: the name is taken, by a model or by a prompt.
    """
    tags = {tag.key: tag.value for tag in body.tags}
    statement = (
        insert(Model)
        .values(
            id=new_id("model"),
            workspace_id=caller.workspace.id,
            name=body.name,
            description=body.description,
            tags=tags,
        )
        .on_conflict_do_nothing()
        .returning(Model.id)
    )
    is_new = (await session.execute(statement)).scalar_one_or_none() is not None
    model = await get(session, caller, body.name)
    if not is_new:
        raise _taken(body.name, held=_what(model.tags), wanted=_what(tags))
    return model


async def get(session: AsyncSession, caller: Caller, name: str, *, lock: bool = False) -> Model:
    """A registered model by name.

    Raises:
        NoSuchResource: there is none such.
    """
    statement = select(Model).where(Model.workspace_id == caller.workspace.id, Model.name == name)
    if lock:
        statement = statement.with_for_update(key_share=True)
    row = (
        await session.execute(statement.execution_options(populate_existing=True))
    ).scalar_one_or_none()
    if row is None:
        raise NoSuchResource(f"Registered Model with name={name} not found")
    return row


async def get_version(
    session: AsyncSession, caller: Caller, name: str, version: str, *, lock: bool = False
) -> tuple[Model, ModelVersion]:
    """A version of a registered model.

    Raises:
        NoSuchResource: there is none such.
    """
    number = int(version)
    statement = (
        select(Model, ModelVersion)
        .join(ModelVersion, ModelVersion.model_id == Model.id)
        .where(Model.workspace_id == caller.workspace.id, Model.name == name)
        .where(ModelVersion.version == (number if 0 < number <= _HIGHEST_VERSION else 0))
    )
    if lock:
        statement = statement.with_for_update(key_share=True, of=ModelVersion)
    found = (
        await session.execute(statement.execution_options(populate_existing=True))
    ).one_or_none()
    if found is None:
        raise NoSuchResource(f"Model Version (name={name}, version={version}) not found")
    return found[0], found[1]


def _what(tags: Mapping[str, str | None]) -> str:
    return "Prompt" if tags.get(names.PROMPT_TAG) == "true" else "Registered Model"


def _taken(name: str, *, held: str, wanted: str) -> ResourceExists:
    if held == wanted:
        return ResourceExists(f"{wanted} (name={name}) already exists.")
    return ResourceExists(
        f"Tried to create a {wanted.lower()} with name {name!r}, but the name is already taken by "
        f"a {held.lower()}. A model and a prompt cannot have the same name."
    )


async def rename(session: AsyncSession, caller: Caller, name: str, new_name: str) -> Model:
    """Give a model another name.

    Raises:
        ResourceExists: the name is taken.
    """
    model = await get(session, caller, name, lock=True)
    if new_name == name:
        return model
    if await repository.find(session, caller.workspace.id, new_name) is not None:
        raise ResourceExists(f"Registered Model (name={new_name}) already exists.")
    model.name = new_name
    await session.flush()
    await session.refresh(model)
    return model


async def address_of(session: AsyncSession, caller: Caller, row: ModelVersion) -> str:
    """Where the files of a version can be downloaded.

    A copy of a version without files says where that one's are, or what it is a copy of.
    """
    found = row
    for _ in range(_MOST_COPIES):
        if found.files:
            return places.version_root(found.id)
        copied = OF_REGISTERED.fullmatch(found.source)
        if copied is None:
            return found.source
        try:
            _, found = await get_version(session, caller, copied["name"], copied["version"])
        except NoSuchResource:
            return found.source
    return row.source


def stage_of(text: str) -> str:
    """A stage as it is written.

    Raises:
        InvalidParameter: there is no such stage.
    """
    for stage in STAGES:
        if text.lower() == stage.lower():
            return stage
    raise InvalidParameter(
        f"Invalid Model Version stage: {text}. Value must be one of {', '.join(STAGES)}."
    )


async def change_stage(
    session: AsyncSession, model: Model, row: ModelVersion, stage: str, *, archive_existing: bool
) -> None:
    """Move a version of a model to a stage; the others that are there can be archived by that.

    Raises:
        InvalidParameter: there is no such stage, or nothing is archived by moving there.
    """
    wanted = stage_of(stage)
    now = utc_now()
    if archive_existing:
        if wanted not in _ARCHIVING:
            raise InvalidParameter(
                f"Model version transition cannot archive existing model versions because '{stage}'"
                f" is not an Active stage. Valid stages are {', '.join(_ARCHIVING)}"
            )
        others = select(ModelVersion).where(
            ModelVersion.model_id == row.model_id,
            ModelVersion.stage == wanted,
            ModelVersion.id != row.id,
        )
        for other in (await session.execute(others)).scalars():
            other.stage, other.updated_at = "Archived", now
    row.stage, row.updated_at, model.updated_at = wanted, now, now


async def latest(
    session: AsyncSession, model: Model, stages: Sequence[str]
) -> Sequence[ModelVersion]:
    """The newest version in each of these stages, or in each that there is."""
    statement = (
        select(ModelVersion)
        .options(SHOWN)
        .ext(distinct_on(ModelVersion.stage))
        .where(ModelVersion.model_id == model.id)
        .order_by(ModelVersion.stage, ModelVersion.version.desc())
    )
    if stages:
        statement = statement.where(ModelVersion.stage.in_([stage_of(one) for one in stages]))
    return (await session.execute(statement)).scalars().all()
