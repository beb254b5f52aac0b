"""The Celery worker: it receives hints, and it polls for what no hint announced."""

import os
import signal
from contextlib import suppress

import structlog
from celery import Celery, Task
from celery.signals import worker_init, worker_shutdown

from app.kernel.broker import RECONCILE_TASK, broker_options
from app.kernel.config import get_settings
from app.kernel.logging import configure_logging
from workers.health import HealthDoor
from workers.loop import LoopThread
from workers.process import WorkerProcess

celery_app = Celery("trainwright", broker=get_settings().broker_url.get_secret_value())
celery_app.conf.update(
    accept_content=["json"],
    task_serializer="json",
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
    worker_pool="threads",
    worker_concurrency=2,
    broker_connection_retry=True,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options=broker_options(),
    task_default_queue="celery",
)

_CLOSE_SECONDS = 3.0
_log = structlog.get_logger(__name__)
_loop: LoopThread | None = None
_process: WorkerProcess | None = None


@worker_init.connect  # type: ignore[untyped-decorator]  # Celery has no types
def start_process(**_: object) -> None:
    """Start the loop and the poller, before and independent of the broker's connection.

    Raises:
        SystemExit: that cannot be.
    """
    global _loop, _process
    configure_logging()
    try:
        _loop = LoopThread()
        settings = get_settings()
        _process = WorkerProcess(settings)
        _loop.submit(_live(_process))
        if settings.worker_listen:
            _listen(settings.worker_listen, _process)
    except Exception as error:
        # Celery logs whatever it is and goes on, as a worker that does nothing; but not after this.
        _log.exception("worker_not_started")
        raise SystemExit(1) from error


async def _live(process: WorkerProcess) -> None:
    """Run the process's work; should that ever end, so does the process, to be started anew."""
    try:
        await process.run()
    except Exception:
        # Whatever it was: without its poller a worker does nothing, and nobody starts it anew.
        _log.exception("worker_ended")
    os.kill(os.getpid(), signal.SIGTERM)


def _listen(address: str, process: WorkerProcess) -> None:
    try:
        HealthDoor(address, process.pulse, process.pool_use)
    except OSError as error:
        # Without its figures a worker still works.
        _log.error("health_not_served", address=address, error=str(error))


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def stop_process(**_: object) -> None:
    """End the loop; leases run out or are taken over, rows say where to go on."""
    if _loop is not None and _process is not None:
        with suppress(TimeoutError):
            _loop.run(_process.close(), timeout_seconds=_CLOSE_SECONDS)
        _loop.stop()


@celery_app.task(name=RECONCILE_TASK, bind=True)  # type: ignore[untyped-decorator]
def reconcile(task: Task, topic: str, row_id: str) -> None:
    """Look at a row now; harmless when lost, doubled or late."""
    if _loop is not None and _process is not None:
        # The task's context is this thread's.
        header = dict(task.request.__dict__).get
        _loop.submit(_process.hint(topic, row_id, header))
