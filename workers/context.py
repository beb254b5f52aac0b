"""What the reconcilers of a worker process share."""

from dataclasses import dataclass

from app.auth.signing import Signer
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.signals import Signals
from app.kernel.tracing import Tracing
from app.providers.base import Provider
from app.storage.objects import ObjectStore


@dataclass(frozen=True)
class WorkerContext:
    """The parts of the world that a reconciler may act on."""

    settings: Settings
    database: Database
    objects: ObjectStore
    signals: Signals
    signer: Signer
    provider: Provider
    tracing: Tracing | None = None
