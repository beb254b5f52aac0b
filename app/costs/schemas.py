"""Prices and costs as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.costs.periods import Period


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
    cost: float = Field(description="Of all items, those of other pages among them")
    items: list[CostRead] = Field(description="The dearest first")
    next_page_token: str = Field(default="", description="Empty on the last page")


class BudgetPut(BaseModel):
    """The most that a workspace may spend."""

    model_config = ConfigDict(extra="forbid")

    amount: float = Field(ge=0, le=1_000_000_000, description="In the installation's currency")
    period: Period = Field(
        default="month", description="Of the calendar, in UTC; total: in all its life"
    )


class BudgetRead(BudgetPut):
    """A budget, and how it stands."""

    model_config = ConfigDict(extra="ignore")

    currency: str
    period_started_at: datetime | None = Field(description="null: it counts all time")
    period_ends_at: datetime | None
    spent: float = Field(description="In this period, to the hundredth, as the next two are")
    reserved: float = Field(description="Kept for attempts that have nodes")
    available: float = Field(description="What neither was spent nor is kept")
    created_at: datetime
    updated_at: datetime
