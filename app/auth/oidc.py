"""A provider of OpenID Connect: its metadata, its keys, and what its tokens say.

What is fetched is bounded in size and time, goes through no proxy of the environment and follows
no redirect. Keys are kept; one that is unknown makes them be fetched again, though not often.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import structlog
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import ClaimsOption
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from app.kernel.config import Settings
from app.kernel.errors import Unauthorized, Unavailable
from app.kernel.secret_files import read_secret

_MOST_BYTES = 512 * 1024
_TIMEOUT_SECONDS = 5.0
_METADATA_SECONDS = 3600.0
_KEYS_SECONDS = 900.0
_KEYS_AT_MOST_EVERY_SECONDS = 10.0
_LEEWAY_SECONDS = 30
_log = structlog.get_logger(__name__)


class ProviderUnavailable(Unavailable):
    """The provider does not answer as it should."""

    code = "sign_in_provider_unavailable"


class SignInRefused(Unauthorized):
    """What the provider gave is not believed."""

    code = "sign_in_refused"


class Metadata(BaseModel):
    """What a provider says of itself (OpenID Connect Discovery 1.0)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


@dataclass(frozen=True)
class Exchange:
    """What a program brings back from the provider.

    Attributes:
        code: from the redirect.
        code_verifier: whose challenge went along (RFC 7636).
        redirect_uri: as it was asked with.
        nonce: that the ID token must have.
    """

    code: str
    code_verifier: str
    redirect_uri: str
    nonce: str


class Provider:
    """The provider that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self.issuer = settings.oidc_issuer
        self.client_id = settings.oidc_client_id
        self.scopes = settings.oidc_scopes
        self._algorithms = settings.oidc_algorithms
        self._audiences = [settings.oidc_client_id, *settings.oidc_audiences]
        secret = settings.oidc_client_secret_file
        self._secret = None if secret is None else read_secret(secret)
        self._client = httpx2.AsyncClient(
            timeout=_TIMEOUT_SECONDS,
            limits=httpx2.Limits(max_connections=8),
            follow_redirects=False,
            trust_env=False,
        )
        self._lock = asyncio.Lock()
        self._metadata: Metadata | None = None
        self._metadata_at = 0.0
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._asked_at = 0.0
        self._failed_at = 0.0

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def metadata(self) -> Metadata:
        """What the provider says of itself; asked once an hour.

        Raises:
            ProviderUnavailable: it does not say it, or speaks for another issuer.
        """
        async with self._lock:
            return await self._current_metadata()

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, code_verifier: str
    ) -> str:
        """Where a browser goes to sign in (code flow with PKCE)."""
        metadata = await self.metadata()
        url: str = prepare_grant_uri(
            metadata.authorization_endpoint,
            self.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=self.scopes,
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(code_verifier),
            code_challenge_method="S256",
        )
        return url

    async def claims_of_code(self, given: Exchange) -> Mapping[str, Any]:
        """Exchange a code for an ID token, and what that says.

        Raises:
            SignInRefused: the provider refuses the code, or its token is not to be believed.
            ProviderUnavailable: it does not answer.
        """
        metadata = await self.metadata()
        body: str = prepare_token_request(
            "authorization_code",
            redirect_uri=given.redirect_uri,
            code=given.code,
            code_verifier=given.code_verifier,
            client_id=self.client_id,
        )
        auth = None if self._secret is None else httpx2.BasicAuth(self.client_id, self._secret)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        status, answer = await self._fetch(
            "POST", metadata.token_endpoint, content=body, headers=headers, auth=auth
        )
        if status != 200 or not isinstance(answer.get("id_token"), str):
            _log.info("sign_in_refused", status=status, error=str(answer.get("error", ""))[:100])
            raise SignInRefused("The provider refuses this code; sign in again.")
        return await self.claims(answer["id_token"], audiences=[self.client_id], nonce=given.nonce)

    async def claims(
        self, token: str, *, audiences: Sequence[str] = (), nonce: str | None = None
    ) -> Mapping[str, Any]:
        """What a token of the provider says, once it is believed.

        Args:
            token: an ID token, or an access token that is a JWT.
            audiences: one of these it must be for; empty: those of the settings.
            nonce: that it must have.

        Raises:
            SignInRefused: signature, issuer, audience, times or nonce are not right.
            ProviderUnavailable: the provider's keys cannot be had.
        """
        wanted: dict[str, ClaimsOption] = {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "values": list(audiences or self._audiences)},
            "exp": {"essential": True},
            "sub": {"essential": True, "allow_blank": False},
        }
        if nonce is not None:
            wanted["nonce"] = {"essential": True, "value": nonce}
        registry = jwt.JWTClaimsRegistry(now=None, leeway=_LEEWAY_SECONDS, **wanted)
        decoded = await self._decode(token)
        try:
            registry.validate(decoded)
        except JoseError as error:
            raise SignInRefused(f"The provider's token is not valid here: {error}.") from error
        return decoded

    async def _decode(self, token: str) -> dict[str, Any]:
        keys = await self._current_keys()
        try:
            return jwt.decode(token, keys, algorithms=self._algorithms).claims
        except (JoseError, ValueError, TypeError) as error:
            # Perhaps the provider signs with a new key since we asked.
            fresh = await self._current_keys(unlike=keys)
            if fresh is keys:
                raise SignInRefused("The provider's token is not valid.") from error
        try:
            return jwt.decode(token, fresh, algorithms=self._algorithms).claims
        except (JoseError, ValueError, TypeError) as error:
            raise SignInRefused("The provider's token is not valid.") from error

    async def _current_keys(self, *, unlike: KeySet | None = None) -> KeySet:
        if (kept := self._kept_keys(unlike)) is not None:
            return kept
        began = time.monotonic()
        async with self._lock:
            if (kept := self._kept_keys(unlike)) is not None:
                return kept
            if self._failed_at > began:
                # Whoever was waited for has asked, and got none.
                raise ProviderUnavailable("The sign-in provider does not answer as it should.")
            self._asked_at = time.monotonic()
            try:
                self._keys = await self._fetch_keys()
            except ProviderUnavailable:
                self._failed_at = time.monotonic()
                raise
            self._keys_at = time.monotonic()
            return self._keys

    async def _fetch_keys(self) -> KeySet:
        metadata = await self._current_metadata()
        status, answer = await self._fetch("GET", metadata.jwks_uri)
        try:
            if status != 200:
                raise ValueError(f"status {status}")
            return KeySet.import_key_set({"keys": answer["keys"]})
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise ProviderUnavailable("The provider's keys cannot be read.") from error

    def _kept_keys(self, unlike: KeySet | None) -> KeySet | None:
        """Keys that need not be asked for: young ones, unless others are wanted and may be asked.

        A look that failed counts as one: who sends what these keys have not signed holds up nobody.
        """
        now = time.monotonic()
        if self._keys is None or now - self._keys_at >= _KEYS_SECONDS:
            return None
        may_ask = now - self._asked_at >= _KEYS_AT_MOST_EVERY_SECONDS
        return None if unlike is self._keys and may_ask else self._keys

    async def _current_metadata(self) -> Metadata:
        if self._metadata and time.monotonic() - self._metadata_at < _METADATA_SECONDS:
            return self._metadata
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        status, answer = await self._fetch("GET", address)
        try:
            found = Metadata.model_validate(answer)
        except ValidationError as error:
            message = f"The provider's metadata cannot be read (status {status})."
            raise ProviderUnavailable(message) from error
        if found.issuer != self.issuer:
            raise ProviderUnavailable("The provider speaks for another issuer than the settings.")
        self._metadata, self._metadata_at = found, time.monotonic()
        return found

    async def _fetch(self, method: str, url: str, **more: Any) -> tuple[int, dict[str, Any]]:
        received = bytearray()
        try:
            async with (
                asyncio.timeout(2 * _TIMEOUT_SECONDS),
                self._client.stream(method, url, **more) as answer,
            ):
                async for piece in answer.aiter_bytes():
                    received += piece
                    if len(received) > _MOST_BYTES:
                        raise ValueError("too large")
            found = from_json(bytes(received))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError) as error:
            _log.warning("sign_in_provider_unavailable", url=url, error=str(error))
            message = "The sign-in provider does not answer as it should."
            raise ProviderUnavailable(message) from error
        return answer.status_code, found if isinstance(found, dict) else {}
