"""Authentication in front of everything: deny by default."""

import base64
import re

from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from app.auth.bearer import Bearers, is_of_provider
from app.auth.principal import Principal
from app.auth.service import authenticate
from app.auth.signing import Signer
from app.kernel.db import Database
from app.kernel.errors import DomainError, Unauthorized
from app.kernel.problems import send_problem

SIGN_IN_PATHS = frozenset(
    {"/v1/auth/oidc", "/v1/auth/login", "/v1/auth/callback", "/v1/auth/token"}
)
OPEN_PATHS = (
    frozenset({"/healthz", "/readyz", "/openapi.json", "/openapi-3.0.json"}) | SIGN_IN_PATHS
)
"""All that answers without a credential."""
CREDENTIAL_PREFIXES = ("/discovery/", "/artifact/signed/")
"""The azureml-core package asks there without a header: the credential stands in the address."""
_WORKSPACE = re.compile(r"/workspaces/([^/]+)")


class Authentication:
    """Puts the principal into the scope, or answers 401; nothing behind it runs without one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            scope["principal"] = await self._identify(scope)
        except DomainError as error:
            await send_problem(error, scope, receive, send)
            return
        with bound_contextvars(**scope["principal"].log_names):
            await self._app(scope, receive, send)

    async def _identify(self, scope: Scope) -> Principal:
        path: str = scope["path"]
        prefix = next((known for known in CREDENTIAL_PREFIXES if path.startswith(known)), None)
        if prefix is not None:
            credential = path.removeprefix(prefix).partition("/")[0]
        else:
            credential = _credential(_header(scope))
        state = scope["app"].state
        database: Database = state.database
        signer: Signer = state.signer
        named = _WORKSPACE.search(path)
        workspace = named.group(1) if named else ""
        bearers: Bearers | None = state.bearers
        if bearers is not None and is_of_provider(credential):
            return await bearers.authenticate(credential, workspace=workspace)
        return await authenticate(database, signer, credential, workspace=workspace)


def _header(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            text: str = value.decode("latin-1")
            return text
    return ""


def _credential(header: str) -> str:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if scheme.lower() == "basic":
        # curl -u :TOKEN
        try:
            decoded = base64.b64decode(value.strip(), validate=True).decode()
        except ValueError as error:  # not base64, or not text
            raise Unauthorized from error
        secret = decoded.partition(":")[2]
        if secret:
            return secret
    raise Unauthorized
