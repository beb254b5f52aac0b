"""Queries about datasets."""

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.datasets.errors import DatasetNotFound
from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.dataset import Dataset, DatasetFile, DatasetRegistration, DatasetVersion


async def find(session: AsyncSession, workspace_id: str, name: str) -> Dataset | None:
    """The dataset of this name, if there is one."""
    statement = select(Dataset).where(Dataset.workspace_id == workspace_id, Dataset.name == name)
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, name: str) -> Dataset:
    """The dataset of this name.

    Raises:
        DatasetNotFound: there is none.
    """
    row = await find(session, workspace_id, name)
    if row is None:
        raise DatasetNotFound(f"This workspace has no dataset {name!r}.")
    return row


async def lock_or_create(session: AsyncSession, workspace_id: str, name: str) -> Dataset:
    """The dataset of this name, made when there is none, locked until the transaction ends."""
    statement = insert(Dataset).values(id=new_id("ds"), workspace_id=workspace_id, name=name)
    await session.execute(statement.on_conflict_do_nothing())
    query = select(Dataset).where(Dataset.workspace_id == workspace_id, Dataset.name == name)
    return (await session.execute(query.with_for_update())).scalar_one()


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Dataset], str]:
    """Datasets by name."""
    return await fetch_page(
        session,
        select(Dataset).where(Dataset.workspace_id == workspace_id),
        keys=[Dataset.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def latest_versions(session: AsyncSession, dataset_ids: list[str]) -> dict[str, int]:
    """Number of the latest version of each dataset that has one."""
    statement = (
        select(DatasetVersion.dataset_id, func.max(DatasetVersion.version))
        .where(DatasetVersion.dataset_id.in_(dataset_ids))
        .group_by(DatasetVersion.dataset_id)
    )
    rows = await session.execute(statement)
    return {dataset_id: version for dataset_id, version in rows}  # noqa: C416  (rows are no pairs)


async def find_latest(session: AsyncSession, dataset_id: str) -> DatasetVersion | None:
    """The latest version, if there is one."""
    statement = (
        select(DatasetVersion)
        .where(DatasetVersion.dataset_id == dataset_id)
        .order_by(DatasetVersion.version.desc())
        .limit(1)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get_version(session: AsyncSession, dataset: Dataset, version: str) -> DatasetVersion:
    """A version by its number, or `latest`.

    Raises:
        DatasetNotFound: the dataset has no such version.
    """
    if version == "latest":
        row = await find_latest(session, dataset.id)
    else:
        number = int(version) if version.isdecimal() and len(version) < 10 else 0
        statement = select(DatasetVersion).where(
            DatasetVersion.dataset_id == dataset.id, DatasetVersion.version == number
        )
        row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise DatasetNotFound(f"Dataset {dataset.name!r} has no version {version!r}.")
    return row


async def list_versions_page(
    session: AsyncSession, dataset: Dataset, page: PageQuery
) -> tuple[list[DatasetVersion], str]:
    """Versions of a dataset, newest first."""
    return await fetch_page(
        session,
        select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id),
        keys=[DatasetVersion.version],
        page=page,
        key_of=lambda row: [row.version],
        descending=True,
    )


async def list_files(session: AsyncSession, version_id: str) -> list[DatasetFile]:
    """All files of a version by path."""
    statement = (
        select(DatasetFile).where(DatasetFile.version_id == version_id).order_by(DatasetFile.path)
    )
    return list((await session.execute(statement)).scalars())


async def list_files_page(
    session: AsyncSession, version_id: str, page: PageQuery
) -> tuple[list[DatasetFile], str]:
    """Files of a version by path."""
    return await fetch_page(
        session,
        select(DatasetFile).where(DatasetFile.version_id == version_id),
        keys=[DatasetFile.path],
        page=page,
        key_of=lambda row: [row.path],
    )


async def get_file(session: AsyncSession, version: DatasetVersion, path: str) -> DatasetFile:
    """One file of a version by its path, or by its web address.

    The address is what `http%3A/%2Fhost/…` in a request's path reads as once it is decoded.

    Raises:
        DatasetNotFound: the version has no such file.
    """
    statement = (
        select(DatasetFile)
        .where(
            DatasetFile.version_id == version.id,
            or_(DatasetFile.path == path, DatasetFile.url == path),
        )
        .order_by((DatasetFile.path == path).desc(), DatasetFile.path)
        .limit(1)
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise DatasetNotFound(f"Version {version.version} has no file {path!r}.")
    return row


async def get_registration(
    session: AsyncSession, workspace_id: str, name: str, registration_id: str
) -> DatasetRegistration:
    """A registration of a dataset.

    Raises:
        DatasetNotFound: there is none of this id.
    """
    row = await session.get(DatasetRegistration, registration_id, populate_existing=True)
    if row is None or row.workspace_id != workspace_id or row.name != name:
        raise DatasetNotFound(f"Dataset {name!r} has no registration {registration_id!r}.")
    return row


async def has_pending(session: AsyncSession, workspace_id: str, name: str) -> bool:
    """Whether a registration of this name is under way."""
    statement = select(DatasetRegistration.id).where(
        DatasetRegistration.workspace_id == workspace_id,
        DatasetRegistration.name == name,
        DatasetRegistration.state == "Pending",
    )
    return (await session.execute(statement.limit(1))).first() is not None


async def workspace_of(session: AsyncSession, version_id: str) -> str:
    """The id of the workspace that a version is in."""
    statement = (
        select(Dataset.workspace_id)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(DatasetVersion.id == version_id)
    )
    return (await session.execute(statement)).scalar_one()
