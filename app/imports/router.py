"""The route that takes jobs written for Azure ML."""

from fastapi import APIRouter, Request, Response

from app.auth.access import UserAccess
from app.auth.idempotency import IdempotencyDep
from app.imports.schemas import RunImport
from app.imports.service import translate
from app.kernel.config import SettingsDep
from app.kernel.db import SessionDep
from app.kernel.errors import DomainError
from app.kernel.urls import absolute_url
from app.runs import service as runs
from app.runs import submission
from app.runs.schemas import RunRead
from app.workspaces.access import WorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}/runs/import", tags=["runs"])


@router.post("", status_code=201, response_model=RunRead)
async def import_run(
    workspace: WorkspaceDep,
    body: RunImport,
    session: SessionDep,
    settings: SettingsDep,
    idempotency: IdempotencyDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> Response | RunRead:
    """Submit a run from a job written for Azure ML; what was left aside is in its warnings."""
    if (replayed := await idempotency.replay()) is not None:
        return replayed
    wanted, translation = translate(body, has_container_images=settings.provider != "process")
    try:
        run = await submission.submit(
            session,
            settings,
            workspace=workspace,
            body=wanted,
            actor=principal.name,
            warnings=translation.warnings,
        )
    except DomainError as error:
        translation.retarget(error)
        raise
    answer = await runs.read(session, run)
    location = absolute_url(request, f"/v1/workspaces/{workspace.name}/runs/{run.id}")
    await idempotency.store(answer, status=201, location=location)
    response.headers["Location"] = location
    return answer
