"""Tokens as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.names import ThingName


class TokenCreate(BaseModel):
    """A new token."""

    model_config = ConfigDict(extra="forbid")

    name: ThingName
    expires_in_seconds: int | None = Field(
        default=None, ge=1, le=10 * 365 * 24 * 3600, description="Absent: it does not expire"
    )


class TokenRead(BaseModel):
    """A token without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class TokenCreated(TokenRead):
    """A token with its secret, shown this once."""

    token: str


class Me(BaseModel):
    """Who the caller is."""

    kind: str
    id: str
    name: str
