"""Everything else of the ``azureml-core`` package's services is not served, and says so."""

from fastapi import APIRouter, Request

from app.auth.access import UserOrRunAccess
from app.auth.needs import needs
from app.azureml.errors import CallNotServed

router = APIRouter(tags=["azureml"], include_in_schema=False)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@router.api_route("/history/{rest:path}", methods=_METHODS)
@router.api_route("/metric/{rest:path}", methods=_METHODS)
@router.api_route("/artifact/{rest:path}", methods=_METHODS)
@router.api_route("/modelmanagement/{rest:path}", methods=_METHODS)
@needs("account.read", run=True)
async def refuse_azureml_call(request: Request, _: UserOrRunAccess) -> None:
    """Say that there is no such call here."""
    raise CallNotServed(
        f"{request.method} {request.url.path} of the azureml-core package is not served here."
    )
