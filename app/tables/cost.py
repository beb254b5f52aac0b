"""Prices of nodes, and what attempts of runs held at them."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from sqlalchemy import ForeignKey, Index, Numeric, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped

MONEY = Numeric(18, 6)


class Price(Base):
    """What an hour of a node of a size costs from a moment on; rows are added, never changed."""

    __tablename__ = "prices"

    vm_size: Mapped[str] = mapped_column(primary_key=True)
    valid_from: Mapped[datetime] = mapped_column(
        primary_key=True, server_default=func.clock_timestamp()
    )
    price_per_hour: Mapped[Decimal] = mapped_column(MONEY)
    set_by: Mapped[str]


class Charge(Base):
    """The nodes that an attempt of a run holds, or held, at the price of the moment it got them.

    It names things instead of referring to them: what was spent stays when a run is deleted.
    """

    __tablename__ = "charges"
    __table_args__ = (
        Index("ix_charges_workspace_id_ended_at", "workspace_id", "ended_at"),
        # Those that go on: few of many.
        Index("ix_charges_open", "run_id", postgresql_where=text("ended_at IS NULL")),
    )

    run_id: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    experiment_name: Mapped[str]
    cluster_name: Mapped[str]
    created_by: Mapped[str] = mapped_column(index=True)
    vm_size: Mapped[str]
    node_count: Mapped[int]
    price_per_node_hour: Mapped[Decimal] = mapped_column(MONEY)
    reserved: Mapped[Decimal] = mapped_column(MONEY, server_default="0")
    """So much of the workspace's budget was kept for it when it got its nodes."""
    began_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    ended_at: Mapped[datetime | None]
    """When the cluster got the nodes back; None: the attempt has them."""


class Budget(Timestamped, Base):
    """The most that a workspace may spend in a period."""

    __tablename__ = "budgets"

    workspace_id: Mapped[str] = mapped_column(
        ForeignKey("workspaces.id", ondelete="CASCADE"), primary_key=True
    )
    amount: Mapped[Decimal] = mapped_column(MONEY)
    period: Mapped[Literal["day", "week", "month", "total"]] = mapped_column(String)
    """A day, a week, a month of the calendar in UTC, or all time."""
