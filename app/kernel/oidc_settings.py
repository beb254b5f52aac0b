"""Settings of single sign-on; without an issuer there is none."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class OidcSettings(BaseSettings):
    """What an operator may set about signing in with a provider of OpenID Connect."""

    oidc_issuer: str = ""
    """The provider's issuer, exactly as its tokens have it; empty: nobody signs in."""
    oidc_client_id: str = ""
    """How the provider knows Trainwright."""
    oidc_client_secret_file: Path | None = None
    """File with the client's secret; None: the client is a public one."""
    oidc_audiences: list[str] = []
    """Audiences of the provider's tokens that are taken as they are, besides the client's id."""
    oidc_scopes: str = "openid profile email"
    """What is asked of the provider, with blanks between."""
    oidc_username_claim: str = "preferred_username"
    """The claim that becomes the name of a user who signs in for the first time."""
    oidc_groups_claim: str = "groups"
    """The claim with the names of groups; those that exist here get the user as a member."""
    oidc_admin_groups: list[str] = []
    """Who is in one of these groups of the provider is an administrator; empty: it says nothing."""
    oidc_create_users: bool = False
    """Whether somebody who signs in for the first time becomes a user."""
    oidc_token_hours: float = Field(default=12.0, gt=0, le=24 * 365)
    """How long the token is good that a sign-in gives."""
    oidc_algorithms: list[str] = ["RS256", "PS256", "ES256", "Ed25519", "EdDSA"]
    """Signatures that are believed."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.oidc_issuer:
            return self
        address = urlsplit(self.oidc_issuer)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            raise ValueError("TRAINWRIGHT_OIDC_ISSUER must be an https address")
        if not self.oidc_client_id:
            raise ValueError("TRAINWRIGHT_OIDC_ISSUER needs TRAINWRIGHT_OIDC_CLIENT_ID as well")
        if any(name.startswith("HS") or name.lower() == "none" for name in self.oidc_algorithms):
            raise ValueError("TRAINWRIGHT_OIDC_ALGORITHMS may name signatures by public keys only")
        return self
