"""What a worker process runs in its loop: all reconcilers, and the poller."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import app.tables.registry  # noqa: F401  (foreign keys need every table to be known)
from app.auth.signing import Signer
from app.hosts import repository as hosts
from app.kernel.broker import BrokerHints
from app.kernel.config import Settings
from app.kernel.db import Database, PoolUse
from app.kernel.hints import Hint
from app.kernel.message_trace import tell_message
from app.kernel.signals import Signals
from app.kernel.tracing import make_tracing
from app.providers.base import Provider
from app.providers.docker.engine import EngineAddress
from app.providers.docker.networks import OverlayNetworks
from app.providers.docker.provider import DockerProvider
from app.providers.docker.swarm import SwarmProvider
from app.providers.process.provider import ProcessProvider
from app.storage.configured import make_object_store
from workers.collect_garbage import GarbageCollector
from workers.collect_leaks import LeakCollector
from workers.context import WorkerContext
from workers.engine import Engine
from workers.evict_inputs import InputEvictor
from workers.expire_captures import CaptureExpiry
from workers.expire_logs import LogExpiry
from workers.pulse import Pulse
from workers.registry import make_reconcilers
from workers.regularly import regularly
from workers.watch_hosts import HostWatcher

# Transactions of workers are short. One that stands still with its process, or behind a cable that
# was cut, keeps its locks no longer than that: whoever takes its rows over need not wait for it.
_MOST_IDLE_SECONDS = 15.0
_COLLECT_EVERY_SECONDS = 3600.0
_CLEAN_DATASTORES_EVERY_SECONDS = 24 * 3600.0
RUNNER = Path(__file__).parent / "runner" / "main.py"


class WorkerHints:
    """Hints of a worker: rows go straight to its own engine, signals over the broker."""

    def __init__(self, broker: BrokerHints) -> None:
        self._broker = broker
        self.engine: Engine | None = None

    def send(self, hints: list[Hint]) -> None:
        """Send these; called in the loop."""
        signals = []
        for hint in hints:
            if hint.kind == "reconcile" and self.engine is not None:
                self.engine.hint(hint.topic, hint.id)
            else:
                signals.append(hint)
        self._broker.send(signals)


def make_context(settings: Settings, signals: Signals, hints: WorkerHints) -> WorkerContext:
    """The world of this worker process."""
    signer = Signer.load(settings.data_dir, settings.signing_key_file)
    database = Database(settings, hints, idle_seconds=_MOST_IDLE_SECONDS)
    return WorkerContext(
        settings=settings,
        database=database,
        objects=make_object_store(settings),
        signals=signals,
        signer=signer,
        provider=make_provider(settings, signer, database),
        tracing=make_tracing(settings),
    )


def make_provider(settings: Settings, signer: Signer, database: Database) -> Provider:
    """Where this installation's nodes live."""
    if settings.provider == "process":
        return ProcessProvider(settings.data_dir / "nodes", runner=RUNNER)
    local = EngineAddress(settings.docker_url)
    engines = {
        name: EngineAddress(url, settings.docker_tls_folder)
        for name, url in settings.docker_engines.items()
    }
    owner = signer.installation_id

    def on(address: EngineAddress) -> DockerProvider:
        is_encrypted = settings.docker_overlay_encrypted
        return DockerProvider(
            address,
            owner=owner,
            runner=RUNNER,
            default_network=settings.docker_network,
            gpus=settings.docker_gpus,
            credentials_file=settings.registry_credentials_file,
            networks=OverlayNetworks(local, owner, is_encrypted=is_encrypted) if engines else None,
        )

    async def registered() -> dict[str, EngineAddress]:
        async with database.session() as session:
            urls = await hosts.engine_urls(session)
        return {name: EngineAddress(url, settings.docker_tls_folder) for name, url in urls.items()}

    if not engines:
        return on(local)
    return SwarmProvider(local, engines, on=on, registered=registered)


class WorkerProcess:
    """Runs the engine; made in the process that uses it (engines do not survive a fork)."""

    def __init__(self, settings: Settings) -> None:
        self.pulse = Pulse()
        signals = Signals()
        hints = WorkerHints(BrokerHints(settings, signals))
        context = make_context(settings, signals, hints)
        self._database = context.database
        self._tracing = context.tracing
        self._engine = Engine(
            context.database,
            make_reconcilers(context),
            lease_seconds=settings.lease_seconds,
            poll_seconds=settings.poll_seconds,
            pulse=self.pulse,
        )
        hints.engine = self._engine
        self._evictor = InputEvictor(context.database, settings)
        self._settings = settings
        self._log_expiry = LogExpiry(context.database)
        self._capture_expiry = CaptureExpiry(context.database)
        self._leaks = LeakCollector(
            context.database, context.provider, grace_seconds=settings.leak_grace_seconds
        )
        self._garbage = GarbageCollector(context.database, context.objects, settings=settings)
        self._hosts = HostWatcher(context.database, context.provider)

    async def run(self) -> None:
        """Throw away what crashed writers left, then poll for ever."""
        await self._garbage.clean()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pulse.beat())
            tasks.create_task(self._engine.poll_forever())
            for work, name, every_seconds in (
                (self._leaks.look, "leaks", self._settings.leak_check_seconds),
                (self._log_expiry.look, "logs", self._settings.log_expiry_check_seconds),
                (self._capture_expiry.look, "captures", self._settings.log_expiry_check_seconds),
                (self._hosts.look, "hosts", self._settings.host_check_seconds),
                (self._evictor.look, "inputs", self._settings.leak_check_seconds),
                # Seldom: it looks through whole folders.
                (self._garbage.clean_datastores, "datastores", _CLEAN_DATASTORES_EVERY_SECONDS),
            ):
                tasks.create_task(regularly(work, name, every_seconds=every_seconds))
            tasks.create_task(
                regularly(
                    self._garbage.collect,
                    "garbage",
                    every_seconds=_COLLECT_EVERY_SECONDS,
                    waits_first=True,
                )
            )

    def pool_use(self) -> list[PoolUse]:
        """What the pools of database connections hold."""
        return self._database.pool_use()

    async def close(self) -> None:
        """End the work in hand and close the connections."""
        await self._engine.close()
        await self._database.close()
        if self._tracing is not None:
            self._tracing.close()

    async def hint(self, topic: str, row_id: str, header: Callable[[str], Any]) -> None:
        """Look at a row now, as a message says that has these headers."""
        self._engine.hint(topic, row_id)
        tell_message(self._tracing, header, topic=topic, row_id=row_id)
