"""Routes about the use of storage."""

from fastapi import APIRouter

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.garbage import repository
from app.garbage.schemas import StorageRead
from app.kernel.config import SettingsDep
from app.kernel.db import SessionDep
from app.workspaces.access import WorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}/storage", tags=["blobs"])


@router.get("")
@needs("workspace.read")
async def get_storage(
    workspace: WorkspaceDep, session: SessionDep, settings: SettingsDep, _: UserAccess
) -> StorageRead:
    """How much the workspace keeps, and how much of it nothing refers to any more."""
    count, size_bytes, loose_count, loose_bytes = await repository.usage(session, workspace.id)
    return StorageRead(
        objects_count=count,
        size_bytes=size_bytes,
        unreferenced_objects_count=loose_count,
        unreferenced_bytes=loose_bytes,
        unreferenced_keep_hours=settings.unreferenced_keep_hours,
    )
