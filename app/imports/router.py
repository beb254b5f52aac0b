"""The route that takes jobs written for Azure ML."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.access import UserAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.imports.report import report_of
from app.imports.schemas import ImportReport, RunImport
from app.imports.service import examine, translate
from app.imports.translation import Translation
from app.kernel.config import Settings, SettingsDep
from app.kernel.db import SessionDep
from app.kernel.errors import DomainError, FieldError
from app.kernel.urls import absolute_url
from app.kernel.validate_only import ValidateOnlyDep
from app.runs import service as runs
from app.runs import submission
from app.runs.schemas import RunCreate, RunRead
from app.tables.run import Run
from app.tables.workspace import Workspace
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/runs/import", tags=["runs"], route_class=WriteRoute
)


@router.post(
    "",
    status_code=201,
    response_model=RunRead,
    responses={200: {"model": ImportReport, "description": "With validate_only: a report"}},
    dependencies=[REPEATABLE],
)
@needs("runs.write")
async def import_run(
    workspace: WorkspaceDep,
    body: RunImport,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
    principal: UserAccess,
    validate_only: ValidateOnlyDep,
) -> Response | RunRead:
    """Submit a run from a job written for Azure ML; what was left aside is in its warnings."""
    if validate_only:
        report = await _report(session, settings, workspace, body, actor=principal.name)
        return JSONResponse(report.model_dump(mode="json"))
    wanted, translation = translate(body, has_container_images=_has_images(settings))
    run = await _submit(session, settings, workspace, wanted, translation, actor=principal.name)
    answer = await runs.read(session, run)
    location = absolute_url(request, f"/v1/workspaces/{workspace.name}/runs/{run.id}")
    response.headers["Location"] = location
    return answer


async def _report(
    session: AsyncSession, settings: Settings, workspace: Workspace, body: RunImport, *, actor: str
) -> ImportReport:
    translation = examine(body, has_container_images=_has_images(settings))
    if translation.refused:
        return report_of(translation, None, ())
    wanted: RunCreate | None = None
    problems: tuple[FieldError, ...] = ()
    try:
        wanted, translation = translate(body, has_container_images=_has_images(settings))
        await _submit(session, settings, workspace, wanted, translation, actor=actor)
    except DomainError as error:
        problems = error.errors or (FieldError("", error.code, error.detail),)
    return report_of(translation, wanted, problems)


async def _submit(
    session: AsyncSession,
    settings: Settings,
    workspace: Workspace,
    wanted: RunCreate,
    translation: Translation,
    *,
    actor: str,
) -> Run:
    try:
        return await submission.submit(
            session,
            settings,
            workspace=workspace,
            body=wanted,
            actor=actor,
            warnings=translation.warnings,
        )
    except DomainError as error:
        translation.retarget(error)
        raise


def _has_images(settings: Settings) -> bool:
    return settings.provider != "process"
