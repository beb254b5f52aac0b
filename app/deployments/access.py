"""Who may predict: an API token, or a key of that very deployment."""

from typing import Annotated

from fastapi import Depends, Path, Request

from app.auth.access import AnyAccess
from app.auth.principal import Principal
from app.auth.signing import Signer
from app.deployments import repository
from app.deployments.errors import DeploymentNotFound, KeyRefused
from app.deployments.keys import is_key_of
from app.deployments.repository import Target
from app.deployments.schemas import DeploymentPath
from app.kernel.db import Database, DatabaseDep
from app.kernel.errors import Forbidden
from app.kernel.names import WORKSPACE_PATTERN


async def find_target_for(
    database: Database, signer: Signer, principal: Principal, *, workspace: str, deployment: str
) -> Target:
    """The deployment with its replicas, if this caller may speak to it.

    Args:
        database: where it is looked up.
        signer: knows the keys of deployments.
        principal: who asks; what a user may do is not looked at here.
        workspace: name of the workspace.
        deployment: name of the deployment.

    Raises:
        Forbidden: runs and nodes may not.
        KeyRefused: the key is not one of this deployment's, or there is no such deployment.
        DeploymentNotFound: there is none.
    """
    if principal.kind not in ("user", "deployment"):
        raise Forbidden("Use an API token or a key of the deployment.")
    target = await repository.find_target(database.direct, workspace, deployment)
    is_key = principal.kind == "deployment"
    # The same answer whether or not there is such a deployment: a key says nothing of others.
    if is_key and (target is None or not is_key_of(signer, target.deployment, principal.id)):
        raise KeyRefused("This key is not one of this deployment's.")
    if target is None:
        raise DeploymentNotFound(deployment)
    return target


async def _target(
    workspace: Annotated[str, Path(pattern=WORKSPACE_PATTERN)],
    deployment: DeploymentPath,
    request: Request,
    database: DatabaseDep,
    principal: AnyAccess,
) -> Target:
    return await find_target_for(
        database, request.app.state.signer, principal, workspace=workspace, deployment=deployment
    )


TargetDep = Annotated[Target, Depends(_target)]
"""The deployment in the path with its replicas; no session is held."""
