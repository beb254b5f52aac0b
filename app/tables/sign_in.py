"""Sign-ins with a provider."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from app.kernel.orm import Base


class UsedNonce(Base):
    """A nonce that was taken, so that nothing with it is taken again; kept for a day."""

    __tablename__ = "used_nonces"

    nonce_sha256: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), index=True)
