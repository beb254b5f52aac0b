"""Base images: which content the tag of each was last seen to name."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class BaseImage(Base):
    """The digest that a registry, or the engine, gave for the name of a base image."""

    __tablename__ = "base_images"

    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str]
    """Of the registry's manifest; of an image that is in the engine alone, its id."""
    resolved_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
