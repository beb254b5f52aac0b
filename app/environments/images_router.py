"""Routes of images."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.needs import needs
from app.environments import repository, service
from app.environments.explain import nearest
from app.environments.schemas import BuildReason, ImageRead, ImageSummary, InputDifference
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.odd_rows import one
from app.kernel.orm import MAX_INTEGER
from app.kernel.pagination import Page, PageDep
from app.logs.answer import LOG_RESPONSES, log_answer
from app.logs.query import LineQueryDep
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}/images", tags=["images"])
HashPath = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@router.get("")
@needs("environments.read")
async def list_images(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[ImageSummary]:
    """Images that this workspace's runs and deployments use, by hash."""
    rows, following = await repository.list_images(session, workspace.id, page)
    return Page.of(rows, ImageSummary.model_validate, following)


@router.get("/{image_hash}")
@needs("environments.read", run=True)
async def get_image(
    workspace: WorkspaceDep,
    image_hash: HashPath,
    session: SessionDep,
    response: Response,
    _: UserOrRunAccess,
) -> ImageRead:
    """One image: inputs, contents, and what differs from the nearest earlier one."""
    row = await repository.get_image(session, workspace.id, image_hash)
    response.headers["ETag"] = resource_etag(image_hash, row.created_at)
    with one(row):
        answer = ImageRead.model_validate(row)
    found = nearest(row.spec, await repository.earlier_images(session, workspace.id, row))
    if found is not None:
        answer.built_because = BuildReason(
            nearest_hash=found[0],
            differences=[InputDifference.model_validate(one) for one in found[1]],
        )
    return answer


@router.get("/{image_hash}/logs", response_class=Response, responses=LOG_RESPONSES)
@router.head("/{image_hash}/logs", include_in_schema=False)
@needs("environments.read", run=True)
async def get_image_logs(
    workspace: DetachedWorkspaceDep,
    image_hash: HashPath,
    database: DatabaseDep,
    request: Request,
    _: UserOrRunAccess,
    lines: LineQueryDep,
    build: Annotated[
        int | None,
        Query(ge=1, le=MAX_INTEGER, description="Number of the build; absent: the current one"),
    ] = None,
    offset: Annotated[int, Query(ge=0, description="First byte")] = 0,
    follow: Annotated[bool, Query(description="Go on until the build has ended")] = False,
) -> Response:
    """Output of a build as it is now, or followed; lines as of a run's log."""
    async with database.session() as session:
        image = await repository.get_image(session, workspace.id, image_hash)
    number = build or max(1, service.current_build(image))
    return await log_answer(
        request,
        database,
        request.app.state.objects,
        owner=service.build_log_owner(image_hash, number),
        lines=lines,
        offset=offset,
        follow=follow,
    )


@router.delete("/{image_hash}", status_code=204)
@needs("environments.write")
async def delete_image(
    workspace: WorkspaceDep,
    image_hash: HashPath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Remove an image's files; 409 while a run or deployment needs it."""
    row = await repository.get_image(session, workspace.id, image_hash)
    check_preconditions(request, resource_etag(image_hash, row.created_at))
    await service.remove_image(session, workspace, image_hash)
