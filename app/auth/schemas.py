"""Tokens as the API shows them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.auth.permissions import Permission
from app.kernel.names import ThingName, WorkspaceName


class TokenCreate(BaseModel):
    """A new token."""

    model_config = ConfigDict(extra="forbid")

    name: ThingName
    expires_in_seconds: int | None = Field(
        default=None, ge=1, le=10 * 365 * 24 * 3600, description="Absent: it does not expire"
    )
    permissions: Annotated[list[Permission], Field(min_length=1, max_length=100)] | None = Field(
        default=None, description="Only these of the user's permissions; absent: all"
    )
    workspaces: Annotated[list[WorkspaceName], Field(min_length=1, max_length=1000)] | None = Field(
        default=None, description="Only in these workspaces; absent: everywhere"
    )
    user: str | None = Field(
        default=None,
        max_length=128,
        description="Name of the service account it is for; absent: the caller",
    )


class TokenRead(BaseModel):
    """A token without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    user_id: str
    prefix: str = Field(description="The first characters of the secret")
    permissions: list[str] | None = Field(description="null: all that the user has")
    workspace_ids: list[str] | None = Field(description="null: everywhere")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute")


class TokenCreated(TokenRead):
    """A token with its secret, shown this once."""

    token: str


class Me(BaseModel):
    """Who the caller is."""

    kind: str
    id: str
    name: str
    token_id: str = Field(default="", description="Of the API token that was sent, if it was one")
    is_admin: bool = Field(default=False, description="May do everything")
    permissions: list[str] | None = Field(
        default=None, description="What the token is good for at most; null: all"
    )
    workspace_ids: list[str] | None = Field(
        default=None, description="Where the token is good at most; null: everywhere"
    )
