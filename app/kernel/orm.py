"""What all tables share: declarative base, timestamps, the columns of reconciled rows."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, MetaData, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


MAX_INTEGER = 2**63 - 1
"""The largest number that an integer column holds."""


class Base(DeclarativeBase):
    """Declarative base with a fixed naming of constraints."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        dict[str, str]: JSONB(none_as_null=True),
        dict[str, str | None]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
        list[str]: JSONB(none_as_null=True),
        list[dict[str, Any]]: JSONB(none_as_null=True),
        int: BigInteger,
    }


class Timestamped:
    """Rows that know when they were made and last changed (database time)."""

    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    updated_at: Mapped[datetime] = mapped_column(
        server_default=func.clock_timestamp(), onupdate=func.clock_timestamp()
    )


class Reconciled:
    """Rows that a reconciler moves towards their desired state.

    ``next_check_at`` is when the poller looks at the row next (NULL: only when woken);
    ``wake_seq`` counts the wakes, so that one that comes while a lease is held is not lost;
    the lease says who may write now, by database time; ``unfinished_turns`` counts the takings of
    it in a row that never came back.
    """

    next_check_at: Mapped[datetime | None] = mapped_column(
        server_default=func.clock_timestamp(), index=True
    )
    wake_seq: Mapped[int] = mapped_column(server_default="0")
    lease_token: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    unfinished_turns: Mapped[int] = mapped_column(server_default="0")
