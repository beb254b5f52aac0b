"""Registered models and their versions as MLflow's clients read them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from app.kernel.odd_rows import one, shown_rows
from app.mlflow import names
from app.mlflow.moments import milliseconds
from app.models import aliases
from app.tables.model import Model, ModelVersion

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


async def document(session: AsyncSession, model: Model) -> dict[str, Any]:
    """A registered model as clients read it.

    Raises:
        RowUnreadable: its row is odd.
    """
    read_one = await _reader(session, [model])
    with one(model):
        return read_one(model)


async def documents(session: AsyncSession, models: Sequence[Model]) -> list[dict[str, Any]]:
    """Registered models as clients read them, without those whose rows are odd."""
    return shown_rows(models, await _reader(session, models))


async def version_document(
    session: AsyncSession, model: Model, row: ModelVersion
) -> dict[str, Any]:
    """A version as clients read it.

    Raises:
        RowUnreadable: its row is odd.
    """
    read_one = await _version_reader(session, {model.id: model.name}, [row])
    with one(row):
        return read_one(row)


async def version_documents(
    session: AsyncSession, names_by_id: Mapping[str, str], rows: Sequence[ModelVersion]
) -> list[dict[str, Any]]:
    """Versions as clients read them, without those whose rows are odd.

    Args:
        session: the transaction.
        names_by_id: of their models.
        rows: of the versions.
    """
    return shown_rows(rows, await _version_reader(session, names_by_id, rows))


async def _reader(
    session: AsyncSession, models: Sequence[Model]
) -> Callable[[Model], dict[str, Any]]:
    """Makes what clients read of each of these models, with its newest version in each stage."""
    named = {model.id: model.name for model in models}
    pointing = await aliases.of_models(session, list(named))
    newest = (
        select(ModelVersion)
        .options(SHOWN)
        .ext(distinct_on(ModelVersion.model_id, ModelVersion.stage))
        .where(ModelVersion.model_id.in_(named))
        .order_by(ModelVersion.model_id, ModelVersion.stage, ModelVersion.version.desc())
    )
    rows = (await session.execute(newest)).scalars().all()
    versions: dict[str, list[dict[str, Any]]] = {}
    for version in await version_documents(session, named, rows):
        versions.setdefault(version["name"], []).append(version)

    def read(model: Model) -> dict[str, Any]:
        return {
            "name": model.name,
            "creation_timestamp": milliseconds(model.created_at),
            "last_updated_timestamp": milliseconds(model.updated_at),
            "description": model.description,
            "latest_versions": versions.get(model.name, []),
            "tags": names.pairs(model.tags),
            "aliases": [
                {"alias": alias, "version": str(version)}
                for alias, version in pointing.get(model.id, {}).items()
            ],
        }

    return read


async def _version_reader(
    session: AsyncSession, names_by_id: Mapping[str, str], rows: Sequence[ModelVersion]
) -> Callable[[ModelVersion], dict[str, Any]]:
    by_version = await aliases.of_versions(session, [row.id for row in rows])

    def read(row: ModelVersion) -> dict[str, Any]:
        return {
            "name": names_by_id[row.model_id],
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

    return read
