"""Datastores as the API takes and shows them; credentials are taken and never shown."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)

_Prefix = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x1f\\]*$")]
_Secret = Annotated[SecretStr, Field(min_length=1, max_length=10_000)]
_SERVICE_ACCOUNT = frozenset({"client_email", "private_key", "private_key_id"})


class _Place(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FolderPlace(_Place):
    """A folder on the machines of the control plane, below one that the operator allows."""

    kind: Literal["folder"]
    path: str = Field(max_length=4000, pattern=r"^/[^\x00]*$")


class S3Place(_Place):
    """A bucket of S3, or of a server that speaks its protocol and that the operator opened."""

    kind: Literal["s3"]
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    prefix: _Prefix = ""
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]{1,40}$")
    endpoint: str | None = Field(default=None, max_length=500, pattern=r"^https?://[^\s/?#@]+$")


class AzurePlace(_Place):
    """A container of Azure Blob, or of a server that speaks its protocol."""

    kind: Literal["azure_blob"]
    account_name: str = Field(pattern=r"^[a-z0-9]{3,24}$")
    container: str = Field(pattern=r"^[a-z0-9$][a-z0-9-]{1,62}$")
    prefix: _Prefix = ""
    endpoint: str | None = Field(
        default=None, max_length=500, pattern=r"^https?://[^\s/?#@]+(/[a-z0-9]+)?$"
    )


class GcsPlace(_Place):
    """A bucket of Google Cloud Storage, or of a server that speaks its XML API."""

    kind: Literal["gcs"]
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$")
    prefix: _Prefix = ""
    endpoint: str | None = Field(default=None, max_length=500, pattern=r"^https?://[^\s/?#@]+$")


class HttpPlace(_Place):
    """Files below a web address; they cannot be listed."""

    kind: Literal["http"]
    base_url: str = Field(max_length=2000, pattern=r"^https?://[^\s?#@]+$")


Place = Annotated[
    FolderPlace | S3Place | AzurePlace | GcsPlace | HttpPlace, Field(discriminator="kind")
]


class Credentials(BaseModel):
    """What opens a datastore; encrypted at rest, and in no answer."""

    model_config = ConfigDict(extra="forbid")

    access_key_id: _Secret | None = Field(default=None, description="s3")
    secret_access_key: _Secret | None = Field(default=None, description="s3")
    session_token: _Secret | None = Field(default=None, description="s3; may be absent")
    account_key: _Secret | None = Field(default=None, description="azure_blob")
    sas_token: _Secret | None = Field(default=None, description="azure_blob, instead of a key")
    service_account_key: _Secret | None = Field(
        default=None, description="gcs: the content of the file of keys"
    )

    @field_validator("service_account_key")
    @classmethod
    def _only_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        """Take what signs and nothing else: the library would follow addresses in it."""
        if value is None:
            return None
        try:
            content = json.loads(value.get_secret_value())
            kept = {name: str(content[name]) for name in sorted(_SERVICE_ACCOUNT)}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"must be a JSON object with {sorted(_SERVICE_ACCOUNT)}") from error
        return SecretStr(json.dumps(kept))

    def given(self) -> dict[str, str]:
        """Those that were given, in the clear."""
        found: dict[str, SecretStr | None] = {
            name: getattr(self, name) for name in Credentials.model_fields
        }
        return {name: value.get_secret_value() for name, value in found.items() if value}


_ALLOWED: dict[str, tuple[frozenset[str], ...]] = {
    "folder": (),
    "http": (),
    "s3": (
        frozenset({"access_key_id", "secret_access_key"}),
        frozenset({"access_key_id", "secret_access_key", "session_token"}),
    ),
    "azure_blob": (frozenset({"account_key"}), frozenset({"sas_token"})),
    "gcs": (frozenset({"service_account_key"}),),
}


class DatastorePut(BaseModel):
    """A datastore."""

    model_config = ConfigDict(extra="forbid")

    place: Place
    credentials: Credentials | None = Field(
        default=None,
        description="Absent: those that it has stay, if its place does; without any, as anybody",
    )
    description: str = Field(default="", max_length=5000)
    is_default: bool = Field(default=False, description="Meant where no datastore is named")

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if self.credentials is None:
            return self
        given = frozenset(self.credentials.given())
        allowed = _ALLOWED[self.place.kind]
        if given and given not in allowed:
            ways = " or ".join("+".join(sorted(way)) for way in allowed) or "none"
            raise ValueError(f"credentials of {self.place.kind} are {ways}")
        return self


class DatastoreRead(BaseModel):
    """A datastore as it is shown."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    description: str
    place: dict[str, Any]
    has_credentials: bool
    is_default: bool
    created_at: datetime
    updated_at: datetime


class DatastoreFile(BaseModel):
    """A file in a datastore."""

    path: str
    size_bytes: int


class DatastoreFileList(BaseModel):
    """Files by path."""

    items: list[DatastoreFile]
    is_complete: bool = Field(description="False: there are more than could be listed")
