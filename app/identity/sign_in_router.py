"""Routes of signing in with a provider of OpenID Connect."""

import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.auth.needs import needs
from app.auth.oidc import Exchange, Provider, SignInRefused
from app.auth.service import create_token
from app.auth.sign_in import use_nonce, user_of
from app.auth.signing import Signer
from app.identity.sign_in_schemas import SignedIn, SignInExchange, SignInRead
from app.kernel.config import Settings
from app.kernel.db import Database, DatabaseDep
from app.kernel.errors import NotFound, Unauthorized
from app.kernel.urls import absolute_url

router = APIRouter(prefix="/v1/auth", tags=["sign-in"])

_COOKIE = "trainwright_sign_in"
_COOKIE_SECONDS = 600
_COOKIE_PURPOSE = "sign-in cookies"
_TOKEN_NAME = "sign-in"  # noqa: S105


class SignInOff(NotFound):
    """The operator has named no provider."""

    code = "sign_in_off"


async def _provider(request: Request) -> Provider:
    provider: Provider | None = request.app.state.provider
    if provider is None:
        raise SignInOff("Nobody signs in here: no provider is set. Use an API token.")
    return provider


ProviderDep = Annotated[Provider, Depends(_provider)]


@router.get("/oidc")
@needs("anybody")
async def get_sign_in(provider: ProviderDep) -> SignInRead:
    """How to sign in: where a program sends its user's browser."""
    metadata = await provider.metadata()
    return SignInRead(
        issuer=provider.issuer,
        client_id=provider.client_id,
        authorization_endpoint=metadata.authorization_endpoint,
        scopes=provider.scopes,
    )


@router.post("/token", status_code=201)
@needs("anybody")
async def exchange_sign_in(
    body: SignInExchange, provider: ProviderDep, request: Request, database: DatabaseDep
) -> SignedIn:
    """Exchange the code of a sign-in for a token of this API: what a command line does."""
    given = Exchange(**body.model_dump())
    return await _signed_in(request, database, provider, given)


@router.get("/login", status_code=303, response_class=RedirectResponse)
@needs("anybody")
async def start_sign_in(provider: ProviderDep, request: Request) -> RedirectResponse:
    """Send a browser to the provider; it comes back to `callback` with a cookie of ten minutes."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    url = await provider.authorization_url(
        redirect_uri=_callback(request), state=state, nonce=nonce, code_verifier=verifier
    )
    signer: Signer = request.app.state.signer
    claims = {"state": state, "nonce": nonce, "verifier": verifier}
    answer = RedirectResponse(url, status_code=303)
    answer.set_cookie(
        _COOKIE,
        signer.sign(claims, seconds=_COOKIE_SECONDS, purpose=_COOKIE_PURPOSE),
        max_age=_COOKIE_SECONDS,
        path="/v1/auth",
        httponly=True,
        secure=request.url.scheme == "https",
        samesite="lax",
    )
    return answer


@router.get("/callback")
@needs("anybody")
async def finish_sign_in(
    provider: ProviderDep,
    request: Request,
    response: Response,
    database: DatabaseDep,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=4096)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> SignedIn:
    """Where the provider sends a browser back: a token of this API."""
    begun = _begun(request)
    if error or not code:
        raise SignInRefused("The provider did not sign you in; begin again at /v1/auth/login.")
    if not secrets.compare_digest(str(begun["state"]).encode(), state.encode()):
        raise SignInRefused("This is not the sign-in that this browser began; begin again.")
    given = Exchange(
        code=code,
        code_verifier=begun["verifier"],
        redirect_uri=_callback(request),
        nonce=begun["nonce"],
    )
    answer = await _signed_in(request, database, provider, given)
    response.delete_cookie(_COOKIE, path="/v1/auth")
    return answer


async def _signed_in(
    request: Request, database: Database, provider: Provider, given: Exchange
) -> SignedIn:
    settings: Settings = request.app.state.settings
    claims = await provider.claims_of_code(given)
    async with database.session() as session:
        await use_nonce(session, given.nonce)
        user = await user_of(session, settings, claims)
        row, secret = await create_token(
            session,
            name=_TOKEN_NAME,
            user_id=user.id,
            expires_in_seconds=int(settings.oidc_token_hours * 3600),
        )
        assert row.expires_at is not None
        return SignedIn(token=secret, token_id=row.id, user=user.name, expires_at=row.expires_at)


def _begun(request: Request) -> dict[str, Any]:
    signer: Signer = request.app.state.signer
    try:
        return signer.read(request.cookies.get(_COOKIE, ""), purpose=_COOKIE_PURPOSE)
    except Unauthorized as error:
        message = "This browser began no sign-in here, or too long ago; begin at /v1/auth/login."
        raise SignInRefused(message) from error


def _callback(request: Request) -> str:
    return absolute_url(request, "/v1/auth/callback")
