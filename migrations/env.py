"""Alembic's environment: one migration at a time, over all processes of all machines."""

from alembic import context
from sqlalchemy import create_engine, text

from app.kernel.config import get_settings
from app.tables.registry import METADATA

# Any number will do as long as all versions use the same.
ADVISORY_LOCK = 0x7457


def run_offline() -> None:
    """Write the SQL instead of running it."""
    context.configure(dialect_name="postgresql", target_metadata=METADATA, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Migrate under a session lock on a connection of its own: the others wait."""
    url = context.config.attributes.get("url") or get_settings().database_url.get_secret_value()
    engine = create_engine(url)
    with engine.connect() as guard:
        guard.execute(text("SELECT pg_advisory_lock(:id)"), {"id": ADVISORY_LOCK})
        guard.commit()
        with engine.connect() as connection:
            context.configure(
                connection=connection, target_metadata=METADATA, transaction_per_migration=True
            )
            with context.begin_transaction():
                context.run_migrations()
        guard.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": ADVISORY_LOCK})
        guard.commit()
    engine.dispose()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
