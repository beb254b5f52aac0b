"""Users, groups, roles and assignments as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.auth.permissions import WorkspacePermission
from app.kernel.names import NAME_PATTERN, ThingName

USER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$"
UserName = Annotated[str, StringConstraints(pattern=USER_PATTERN)]
UserPath = Annotated[str, Path(pattern=USER_PATTERN)]
GroupName = Annotated[str, StringConstraints(pattern=USER_PATTERN)]
GroupPath = Annotated[str, Path(pattern=USER_PATTERN)]
RolePath = Annotated[str, Path(pattern=NAME_PATTERN)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class UserUpdate(_Given):
    """What can be changed of a user; absent fields stay as they are."""

    display_name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=320)
    is_admin: bool = Field(default=False, description="May do everything")
    disabled: bool = Field(default=False, description="All that the user sends is refused")


class UserCreate(_Given):
    """A new user."""

    name: UserName
    display_name: str = Field(default="", max_length=200)
    email: str = Field(default="", max_length=320)
    is_admin: bool = Field(default=False, description="May do everything")
    sign_in_subject: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Who signs in with this subject of the provider's is this user",
    )


class ServiceAccountCreate(_Given):
    """A new account for a program."""

    name: UserName
    display_name: str = Field(default="", max_length=200)


class UserRead(_Shown):
    """A person or a service account."""

    id: str
    kind: Literal["user", "service_account"]
    name: str
    display_name: str
    email: str
    is_admin: bool
    disabled_at: datetime | None
    issuer: str | None = Field(description="The provider that the user signs in with, if any")
    created_at: datetime
    updated_at: datetime


class GroupUpdate(_Given):
    """What can be changed of a group."""

    description: str = Field(default="", max_length=5000)


class GroupCreate(GroupUpdate):
    """A new group."""

    name: GroupName


class GroupRead(_Shown):
    """Users that get roles together."""

    id: str
    name: str
    description: str
    created_at: datetime
    updated_at: datetime


class GroupMemberRead(_Shown):
    """A user in a group."""

    id: str
    kind: Literal["user", "service_account"]
    name: str
    from_provider: bool = Field(description="The sign-in said so, and may take it back")


class RolePut(_Given):
    """A custom role."""

    description: str = Field(default="", max_length=5000)
    permissions: Annotated[list[WorkspacePermission], Field(min_length=1, max_length=100)]


class RoleRead(BaseModel):
    """A named set of permissions in a workspace."""

    name: str
    built_in: bool
    description: str
    permissions: list[str]


class RoleAssignmentCreate(_Given):
    """Who is to have which role: name either a user (or service account) or a group."""

    role: ThingName
    user: UserName | None = None
    group: GroupName | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.user is None) == (self.group is None):
            raise ValueError("name either a user or a group")
        return self


class RoleAssignmentRead(BaseModel):
    """That somebody has a role in the workspace."""

    id: str
    role: str
    user: str | None
    group: str | None
    created_at: datetime


class PermissionList(BaseModel):
    """All permissions there are."""

    workspace: list[str] = Field(description="What roles give in a workspace")
    account: list[str] = Field(description="What every user may do outside of workspaces")
    platform: list[str] = Field(description="What administrators may do outside of workspaces")
