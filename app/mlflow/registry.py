"""Registered models and their aliases, stages and tags, in MLflow's protocol."""

import re
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from app.kernel.clock import utc_now
from app.kernel.ids import new_id
from app.mlflow import names, places
from app.mlflow.access import Caller
from app.mlflow.errors import InvalidParameter, NoSuchResource, ResourceExists
from app.mlflow.moments import milliseconds
from app.mlflow.registry_schemas import ModelCreate
from app.models import aliases, repository
from app.models.errors import AliasReserved
from app.tables.model import Model, ModelVersion

OF_REGISTERED = re.compile(r"models:/(?P<name>[^/]+)/(?P<version>[0-9]{1,9})")
"""The address of a registered version by its number."""
_MOST_COPIES = 10
STAGES = ("None", "Staging", "Production", "Archived")
_ARCHIVING = ("Staging", "Production")
SHOWN = load_only(
    ModelVersion.model_id,
    ModelVersion.version,
    ModelVersion.created_at,
    ModelVersion.updated_at,
    ModelVersion.created_by,
    ModelVersion.stage,
    ModelVersion.description,
    ModelVersion.source,
    ModelVersion.source_run_id,
    ModelVersion.run_id,
    ModelVersion.run_link,
    ModelVersion.tags,
    ModelVersion.logged_model_id,
    ModelVersion.files,
)
"""What `version_documents` reads."""
_NO_FILES = "No files of this version are kept here, so it cannot be deployed here."


async def create(session: AsyncSession, caller: Caller, body: ModelCreate) -> Model:
    """Write a registered model without versions.

    Raises:
        ResourceExists: the name is taken.
    """
    statement = (
        insert(Model)
        .values(
            id=new_id("model"),
            workspace_id=caller.workspace.id,
            name=body.name,
            description=body.description,
            tags={tag.key: tag.value for tag in body.tags},
        )
        .on_conflict_do_nothing()
        .returning(Model.id)
    )
    if (await session.execute(statement)).scalar_one_or_none() is None:
        raise ResourceExists(f"Registered Model (name={body.name}) already exists.")
    return await get(session, caller, body.name)


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
    statement = (
        select(Model, ModelVersion)
        .join(ModelVersion, ModelVersion.model_id == Model.id)
        .where(Model.workspace_id == caller.workspace.id, Model.name == name)
        .where(ModelVersion.version == int(version))
    )
    if lock:
        statement = statement.with_for_update(key_share=True, of=ModelVersion)
    found = (
        await session.execute(statement.execution_options(populate_existing=True))
    ).one_or_none()
    if found is None:
        raise NoSuchResource(f"Model Version (name={name}, version={version}) not found")
    return found[0], found[1]


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


async def set_alias(
    session: AsyncSession, caller: Caller, name: str, alias: str, version: str
) -> None:
    """Let a name point to a version; it points to no other any more.

    Raises:
        InvalidParameter: the name means something else already.
    """
    model, row = await get_version(session, caller, name, version)
    try:
        await aliases.lock(session, model.id)
        await aliases.point(session, model.id, alias, row.id)
    except AliasReserved as error:
        reserved = (
            f"Version alias name '{alias}' is reserved."
            if alias.lower() != "latest"
            else "'latest' alias name (case insensitive) is reserved."
        )
        raise InvalidParameter(reserved) from error


async def delete_alias(session: AsyncSession, caller: Caller, name: str, alias: str) -> None:
    """Remove an alias; one that is not there is fine."""
    model = await get(session, caller, name)
    await aliases.lock(session, model.id)
    await aliases.remove(session, model.id, alias)


async def by_alias(
    session: AsyncSession, caller: Caller, name: str, alias: str
) -> tuple[Model, ModelVersion]:
    """The version that an alias points to.

    Raises:
        InvalidParameter: there is no such alias, as MLflow's own servers say it.
    """
    model = await get(session, caller, name)
    row = await aliases.find(session, model.id, alias)
    if row is None:
        raise InvalidParameter(f"Registered model alias {alias} not found.")
    return model, row


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


async def document(session: AsyncSession, model: Model) -> dict[str, Any]:
    """A registered model as clients read it."""
    return (await documents(session, [model]))[0]


async def documents(session: AsyncSession, models: Sequence[Model]) -> list[dict[str, Any]]:
    """Registered models as clients read them, each with its newest version in each stage."""
    named = {model.id: model.name for model in models}
    pointing = await aliases.of_models(session, list(named))
    newest = (
        select(ModelVersion)
        .options(SHOWN)
        .ext(distinct_on(ModelVersion.model_id, ModelVersion.stage))
        .where(ModelVersion.model_id.in_(named))
        .order_by(ModelVersion.model_id, ModelVersion.stage, ModelVersion.version.desc())
    )
    versions: dict[str, list[dict[str, Any]]] = {}
    rows = (await session.execute(newest)).scalars().all()
    written = await version_documents(session, [(named[row.model_id], row) for row in rows])
    for row, version in zip(rows, written, strict=True):
        versions.setdefault(row.model_id, []).append(version)
    return [
        {
            "name": model.name,
            "creation_timestamp": milliseconds(model.created_at),
            "last_updated_timestamp": milliseconds(model.updated_at),
            "description": model.description,
            "latest_versions": versions.get(model.id, []),
            "tags": names.pairs(model.tags),
            "aliases": [
                {"alias": alias, "version": str(version)}
                for alias, version in pointing.get(model.id, {}).items()
            ],
        }
        for model in models
    ]


async def version_documents(
    session: AsyncSession, found: Sequence[tuple[str, ModelVersion]]
) -> list[dict[str, Any]]:
    """Versions, each with its model's name, as clients read them."""
    by_version = await aliases.of_versions(session, [row.id for _, row in found])
    return [
        {
            "name": name,
            "version": str(row.version),
            "creation_timestamp": milliseconds(row.created_at),
            "last_updated_timestamp": milliseconds(row.updated_at),
            "user_id": row.created_by,
            "current_stage": row.stage,
            "description": row.description,
            "source": row.source,
            "run_id": row.source_run_id or row.run_id or "",
            "run_link": row.run_link,
            "status": "READY",
            "status_message": "" if row.files else _NO_FILES,
            "tags": names.pairs(row.tags),
            "aliases": by_version.get(row.id, []),
            "model_id": row.logged_model_id,
        }
        for name, row in found
    ]
