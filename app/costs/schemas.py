"""Prices and costs as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class PricePut(BaseModel):
    """What an hour of a node costs from now on."""

    model_config = ConfigDict(extra="forbid")

    price_per_hour: float = Field(ge=0, le=1_000_000, description="In the currency of the sizes")


class PriceRead(BaseModel):
    """A price that was set."""

    model_config = ConfigDict(from_attributes=True)

    vm_size: str
    price_per_hour: float
    valid_from: datetime = Field(description="Until the next one")
    set_by: str


class CostRead(BaseModel):
    """What nodes were held for."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    cost: float
    node_hours: float
    runs: int


class CostReport(BaseModel):
    """Costs between two moments: of nodes from when a run got them until it gave them back."""

    currency: str
    since: datetime
    until: datetime | None = Field(description="null: until now")
    cost: float = Field(description="Of all items")
    items: list[CostRead] = Field(description="The dearest first")
