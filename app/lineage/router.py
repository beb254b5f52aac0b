"""Routes of lineage: one for each thing that has one."""

from fastapi import APIRouter, Depends, Request

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.needs import Need, check, needs
from app.datasets import repository as datasets
from app.datasets.versions_router import VersionPath as DatasetVersionPath
from app.deployments.router import DeploymentDep
from app.kernel.db import SessionDep
from app.kernel.names import NamePath, TitlePath
from app.lineage import service
from app.lineage.schemas import LineageRead
from app.models.access import VersionDep
from app.runs.access import RunDep
from app.workspaces.access import WorkspaceDep

_SHOWN = (
    Need("datasets.read"),
    Need("runs.read"),
    Need("models.read"),
    Need("deployments.read"),
)


async def _sees_all(request: Request, principal: UserOrRunAccess) -> None:
    # A lineage shows things of each kind, whichever it begins with.
    if principal.kind == "user":
        for need in _SHOWN:
            check(need, principal, request.path_params)


router = APIRouter(
    prefix="/v1/workspaces/{workspace}", tags=["lineage"], dependencies=[Depends(_sees_all)]
)


@router.get("/datasets/{dataset}/versions/{version}/lineage")
@needs("datasets.read")
async def get_dataset_lineage(
    workspace: WorkspaceDep,
    dataset: TitlePath,
    version: DatasetVersionPath,
    session: SessionDep,
    _: UserAccess,
) -> LineageRead:
    """Runs that read a dataset version, the models of these runs, and where they are served."""
    row = await datasets.get(session, workspace.id, dataset)
    found = await datasets.get_version(session, row, version)
    return await service.of_dataset_version(session, row, found)


@router.get("/runs/{run_id}/lineage")
@needs("runs.read", run=True)
async def get_run_lineage(run: RunDep, session: SessionDep) -> LineageRead:
    """What a run was made of: data, source, environment, sweep; and the models made of it."""
    return await service.of_run(session, run)


@router.get("/models/{model}/versions/{version}/lineage")
@needs("models.read", run=True)
async def get_model_lineage(
    workspace: WorkspaceDep,
    model: NamePath,
    row: VersionDep,
    session: SessionDep,
    _: UserOrRunAccess,
) -> LineageRead:
    """Data and runs behind a model version, its parents and children, and its deployments."""
    return await service.of_model_version(session, workspace.id, model, row)


@router.get("/deployments/{deployment}/lineage")
@needs("deployments.read")
async def get_deployment_lineage(row: DeploymentDep, session: SessionDep) -> LineageRead:
    """From a deployment back to the model version that it serves, its runs and their data."""
    return await service.of_deployment(session, row)
