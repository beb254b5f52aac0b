"""Rows as the API shows them."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.datasets.checks import FileCheck, state_of
from app.datasets.schemas import (
    DatasetLineage,
    DatasetRead,
    DatasetVersionRead,
    FileCheckRead,
    FileState,
    RegistrationRead,
)
from app.tables.dataset import Dataset, DatasetRegistration, DatasetVersion


def read_dataset(row: Dataset, latest_version: int) -> DatasetRead:
    """A dataset with the number of its latest version."""
    return DatasetRead(
        id=row.id,
        name=row.name,
        description=row.description,
        tags=row.tags,
        latest_version=latest_version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def read_version(dataset: Dataset, row: DatasetVersion) -> DatasetVersionRead:
    """A version with the name of its dataset."""
    return DatasetVersionRead(
        id=row.id,
        name=dataset.name,
        version=row.version,
        description=row.description,
        tags=row.tags,
        files_count=row.file_count,
        size_bytes=row.size_bytes,
        lineage=DatasetLineage.model_validate(row.lineage),
        created_at=row.created_at,
    )


async def read_registration(session: AsyncSession, row: DatasetRegistration) -> RegistrationRead:
    """A registration with the number of its version."""
    version = None
    if row.version_id is not None:
        version = await session.get(DatasetVersion, row.version_id)
    return RegistrationRead.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "state": row.state,
            "version": None if version is None else version.version,
            "created_version": row.created_version,
            "error": row.error,
            "created_at": row.created_at,
        }
    )


def read_check(check: FileCheck) -> FileCheckRead:
    """How a file compares with its source."""
    return FileCheckRead(
        path=check.file.path,
        url=check.file.url,
        state=check.state,
        cached=check.is_cached,
        message=check.message,
        expected=FileState(**state_of(check.file)),
        found=None if check.found is None else FileState(**state_of(check.found)),
    )
