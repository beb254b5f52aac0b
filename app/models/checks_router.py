"""Routes that look at versions of models as a whole: comparing two, and reading one again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from app.auth.access import UserAccess
from app.auth.needs import Need, check, needs
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.names import NamePath
from app.metrics import repository as metrics
from app.models import repository, service
from app.models.access import DetachedVersionDep
from app.models.compare import compare
from app.models.schemas import VERSION_PATTERN, Verification, VersionComparison
from app.models.verify import verify
from app.storage.access import ObjectsDep
from app.tables.model import ModelVersion
from app.workspaces.access import WorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}/models", tags=["models"])
VersionQuery = Annotated[
    str, Query(pattern=VERSION_PATTERN, description="A number, latest or an alias")
]


@router.get("/{model}/compare")
@needs("models.read")
async def compare_model_versions(
    workspace: WorkspaceDep,
    model: NamePath,
    left: VersionQuery,
    right: VersionQuery,
    session: SessionDep,
    request: Request,
    principal: UserAccess,
) -> VersionComparison:
    """Two versions side by side: signature, metrics of their runs, sizes, files, tags, lineage."""
    check(Need("runs.read"), principal, request.path_params)
    rows = [
        (await repository.get_version(session, workspace.id, model, version))[1]
        for version in (left, right)
    ]
    before, after = [await service.read(session, model, row) for row in rows]
    files = [{file["path"]: file["sha256"] for file in row.files} for row in rows]
    values = await metrics.last_values(
        session, workspace.id, [row.run_id for row in rows if row.run_id]
    )
    logged = [values.get(row.run_id or "", {}) for row in rows]
    return compare(before, after, files=(files[0], files[1]), metrics=(logged[0], logged[1]))


@router.post("/{model}/versions/{version}/verify")
@needs("models.write")
async def verify_model_version(
    row: DetachedVersionDep, database: DatabaseDep, objects: ObjectsDep, _: UserAccess
) -> Verification:
    """Read all files of a version again and compare checksums; the version keeps the result."""
    found = await verify(objects, row)
    async with database.session() as session:
        kept = await session.get(ModelVersion, row.id, with_for_update=True)
        if kept is not None:
            kept.verification = found.model_dump(mode="json")
    return found
