"""Leaks as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class LeakRead(BaseModel):
    """Something at the provider that no run and no deployment owns."""

    model_config = ConfigDict(from_attributes=True)

    kind: Literal["node", "network", "volume"]
    name: str
    provider: str
    first_seen_at: datetime
