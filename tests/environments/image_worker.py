"""A worker process with nothing but the image reconciler, to be killed by tests.

Run as ``python -m tests.environments.image_worker`` with the settings in the environment.
"""

import asyncio

from app.kernel.broker import BrokerHints
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.signals import Signals
from app.storage.objects import ObjectStore
from workers.engine import Engine
from workers.reconcile_image import ImageReconciler


async def main() -> None:
    """Reconcile images until killed."""
    settings = Settings()
    database = Database(settings, BrokerHints(settings, Signals()))
    objects = ObjectStore(settings.data_dir / "objects")
    engine = Engine(
        database,
        [ImageReconciler(database, objects, settings)],
        lease_seconds=15,
        poll_seconds=0.05,
    )
    await engine.poll_forever()


if __name__ == "__main__":
    asyncio.run(main())
