"""Places outside where a workspace's data lies."""

from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base, Timestamped


class Datastore(Timestamped, Base):
    """A folder, bucket or web server; its credentials are secrets of the scope of its id."""

    __tablename__ = "datastores"
    __table_args__ = (
        UniqueConstraint("workspace_id", "name"),
        # At most one in each workspace.
        Index(
            "uq_datastores_default",
            "workspace_id",
            unique=True,
            postgresql_where=text("is_default"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    workspace_id: Mapped[str] = mapped_column(ForeignKey("workspaces.id", ondelete="CASCADE"))
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    place: Mapped[dict[str, Any]]
    """``{kind, …}``: where it is, without credentials."""
    has_credentials: Mapped[bool] = mapped_column(server_default="false")
    is_default: Mapped[bool] = mapped_column(server_default="false")
    """Whether it is meant where none is named."""
