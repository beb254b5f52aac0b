"""The model version in the path."""

import re
from typing import Annotated

from fastapi import Depends, Path
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from app.auth.access import UserOrRunAccess
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.etags import resource_etag
from app.kernel.names import NamePath
from app.models import repository
from app.models.schemas import VERSION_PATTERN
from app.tables.model import ModelVersion
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep


def _checked(version: str) -> str:
    # Not as a pattern of the document: clients would break with every name that is added.
    if not re.fullmatch(VERSION_PATTERN, version):
        raise PydanticCustomError("version_invalid", "Give a number, latest or an alias.")
    return version


VersionPath = Annotated[
    str, AfterValidator(_checked), Path(description="A number, latest or an alias")
]


async def _version(
    workspace: WorkspaceDep,
    model: NamePath,
    version: VersionPath,
    session: SessionDep,
    _: UserOrRunAccess,
) -> ModelVersion:
    return (await repository.get_version(session, workspace.id, model, version))[1]


VersionDep = Annotated[ModelVersion, Depends(_version, scope="function")]


async def _detached_version(
    workspace: DetachedWorkspaceDep,
    model: NamePath,
    version: VersionPath,
    database: DatabaseDep,
    _: UserOrRunAccess,
) -> ModelVersion:
    async with database.session() as session:
        return (await repository.get_version(session, workspace.id, model, version))[1]


DetachedVersionDep = Annotated[ModelVersion, Depends(_detached_version)]
"""The same for slow routes: no database session is held meanwhile."""


def version_etag(row: ModelVersion) -> str:
    """The ETag of a version: what users write of it."""
    return resource_etag(row.id, row.updated_at)
