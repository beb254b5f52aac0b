"""Tokens of the sign-in provider, sent as they are: who holds one."""

from collections.abc import Mapping
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError

from app.auth import repository
from app.auth.oidc import Provider
from app.auth.principal import Principal
from app.auth.service import user_principal
from app.auth.sign_in import groups_of, user_of
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.errors import Unauthorized

_MOST_REMEMBERED = 10_000


class Bearers:
    """Finds the user of a provider's token."""

    def __init__(self, settings: Settings, provider: Provider, database: Database) -> None:
        self._settings = settings
        self._provider = provider
        self._database = database
        # What the claims last said of groups: a request writes only when they say something else.
        self._groups: dict[str, frozenset[str] | None] = {}

    async def authenticate(self, credential: str, *, workspace: str) -> Principal:
        """The user of a token, and what they may do in a workspace.

        Args:
            credential: an ID token, or an access token that is a JWT.
            workspace: name of the one in the address; empty: there is none.

        Raises:
            SignInRefused: it is not to be believed.
            NotAUserHere: its subject is nobody here.
        """
        claims = await self._provider.claims(credential)
        found = await self._find(claims, workspace)
        if found is None or self._groups.get(claims["sub"]) != groups_of(self._settings, claims):
            async with self._database.session() as session:
                await user_of(session, self._settings, claims)
            if len(self._groups) >= _MOST_REMEMBERED:
                self._groups.clear()
            self._groups[claims["sub"]] = groups_of(self._settings, claims)
            found = await self._find(claims, workspace)
        if found is None:
            raise Unauthorized("This user is gone.")
        return user_principal(found, workspace=workspace)

    async def _find(self, claims: Mapping[str, Any], workspace: str) -> Mapping[str, Any] | None:
        return await repository.find_by_subject(
            self._database.direct,
            issuer=self._settings.oidc_issuer,
            subject=claims["sub"],
            workspace=workspace,
        )


def is_of_provider(credential: str) -> bool:
    """Whether a credential is a signed token of somebody else's: ours are signed with HS256."""
    try:
        header = jws.extract_compact(credential.encode()).headers()
    except (JoseError, ValueError):
        return False
    return header.get("alg") != "HS256"
