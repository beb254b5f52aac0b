"""Secrets as the API takes and shows them: a value only ever goes in."""

import base64
import binascii
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from app.kernel.errors import invalid_field

MOST_VALUE_BYTES = 64 * 1024
# As base64, with line ends.
_MOST_CHARACTERS = MOST_VALUE_BYTES * 3 // 2


class SecretPut(BaseModel):
    """A new value of a secret."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    value: SecretStr = Field(
        min_length=1,
        max_length=_MOST_CHARACTERS,
        description=f"At most {MOST_VALUE_BYTES} bytes; it is never shown again",
    )
    encoding: Literal["utf-8", "base64"] = Field(
        default="utf-8", description="base64: value is that of any bytes"
    )
    description: str = Field(default="", max_length=5000)

    def content(self) -> bytes:
        """The bytes of the value.

        Raises:
            Invalid: it is no base64, empty or too long.
        """
        text = self.value.get_secret_value()
        if self.encoding == "utf-8":
            data = text.encode()
        else:
            try:
                data = base64.b64decode("".join(text.split()), validate=True)
            except (binascii.Error, ValueError):
                message = "The value is not base64, as its encoding says."
                raise invalid_field("/value", "bad_base64", message) from None
        if not data:
            raise invalid_field("/value", "value_empty", "A secret must have a value.")
        if len(data) > MOST_VALUE_BYTES:
            message = f"A secret has at most {MOST_VALUE_BYTES} bytes; this one has {len(data)}."
            raise invalid_field("/value", "value_too_long", message)
        return data


class SecretRead(BaseModel):
    """What is known of a secret, without its value."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    description: str
    version: int = Field(description="The newest; it is what runs get that name none")
    created_at: datetime
    updated_at: datetime


class SecretVersionRead(BaseModel):
    """What is known of a version of a secret, without its value."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    created_by: str
    created_at: datetime
