"""Who may predict: an API token, or a key of that very deployment."""

from typing import Annotated

from fastapi import Depends, Path, Request

from app.auth.access import AnyAccess
from app.auth.signing import Signer
from app.deployments import repository
from app.deployments.errors import DeploymentNotFound, KeyRefused
from app.deployments.keys import is_key_of
from app.deployments.repository import Target
from app.deployments.schemas import DeploymentPath
from app.kernel.db import DatabaseDep
from app.kernel.errors import Forbidden
from app.kernel.names import WORKSPACE_PATTERN


async def _target(
    workspace: Annotated[str, Path(pattern=WORKSPACE_PATTERN)],
    deployment: DeploymentPath,
    request: Request,
    database: DatabaseDep,
    principal: AnyAccess,
) -> Target:
    signer: Signer = request.app.state.signer
    if principal.kind not in ("user", "deployment"):
        raise Forbidden("Use an API token or a key of the deployment.")
    async with database.session() as session:
        target = await repository.find_target(session, workspace, deployment)
    is_key = principal.kind == "deployment"
    # The same answer whether or not there is such a deployment: a key says nothing of others.
    if is_key and (target is None or not is_key_of(signer, target.deployment, principal.id)):
        raise KeyRefused("This key is not one of this deployment's.")
    if target is None:
        raise DeploymentNotFound(deployment)
    return target


TargetDep = Annotated[Target, Depends(_target)]
"""The deployment in the path with its replicas; no session is held."""
