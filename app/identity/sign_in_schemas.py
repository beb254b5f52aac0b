"""Signing in as the API shows it."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class SignInRead(BaseModel):
    """What a program needs to send somebody to the provider (code flow with PKCE)."""

    issuer: str
    client_id: str
    authorization_endpoint: str
    scopes: str
    code_challenge_method: str = "S256"


class SignInExchange(BaseModel):
    """What the provider's redirect brought, and what the program had made for it."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(min_length=1, max_length=4096)
    code_verifier: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._~-]{43,128}$")] = Field(
        description="Whose S256 challenge went to the provider (RFC 7636)"
    )
    redirect_uri: Annotated[
        str,
        StringConstraints(pattern=r"^http://(127\.0\.0\.1|\[::1\]|localhost):[0-9]{1,5}/[\w/-]*$"),
    ] = Field(description="A loopback address, as it went to the provider (RFC 8252)")
    nonce: Annotated[str, StringConstraints(pattern=r"^[\w~.-]{22,200}$")] = Field(
        description="As it went to the provider; it is good once"
    )


class SignedIn(BaseModel):
    """A token of the user who has signed in; shown this once."""

    token: str
    token_id: str
    user: str
    expires_at: datetime
