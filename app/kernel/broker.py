"""Sending of hints over the broker, from a thread of its own: never blocks, never raises."""

import queue
import threading
import time

import redis
import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.kernel.config import Settings
from app.kernel.hints import Hint
from app.kernel.measures import HINTS_DROPPED
from app.kernel.message_trace import headers_of
from app.kernel.signals import CHANNEL, Signals

RECONCILE_TASK = "reconcile"
_BACKLOG = 10_000
_PAUSE_SECONDS = 1.0
_log = structlog.get_logger(__name__)


def broker_options() -> dict[str, object]:
    """Transport options that let a dead or half-open broker be noticed within seconds.

    Source: measurements of Celery 5.7 with frozen sockets; without ``socket_timeout`` a worker
    never recovers.
    """
    return {
        "socket_timeout": 10,
        "socket_connect_timeout": 2,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "visibility_timeout": 60,
    }


class BrokerHints:
    """Sends hints; while the broker is away they are dropped and the pollers do the work."""

    def __init__(self, settings: Settings, signals: Signals) -> None:
        url = settings.broker_url.get_secret_value()
        self._celery = Celery("trainwright", broker=url, set_as_current=False)
        self._celery.conf.broker_transport_options = broker_options()
        self._redis = redis.Redis.from_url(
            settings.redis_url, socket_timeout=3, socket_connect_timeout=2
        )
        self._signals = signals
        self._queue: queue.Queue[list[Hint] | None] = queue.Queue(maxsize=_BACKLOG)
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
        self._thread.start()

    def send(self, hints: list[Hint]) -> None:
        """Queue ``hints``; the local streams are told at once."""
        if not hints:
            return
        for hint in hints:
            if hint.kind == "signal":
                self._signals.notify(hint.topic, hint.id)
        try:
            self._queue.put_nowait(hints)
        except queue.Full:
            HINTS_DROPPED.inc(len(hints))
            _log.warning("hints_dropped", count=len(hints))

    def close(self) -> None:
        """Send what is queued and stop."""
        self._queue.put(None)
        self._thread.join(timeout=3)

    def _run(self) -> None:
        silent_until = 0.0
        while (hints := self._queue.get()) is not None:
            if time.monotonic() < silent_until:
                HINTS_DROPPED.inc(len(hints))
                continue
            try:
                for hint in hints:
                    self._send_one(hint)
            except (OperationalError, RedisError, OSError) as error:
                silent_until = time.monotonic() + _PAUSE_SECONDS
                HINTS_DROPPED.inc(len(hints))
                _log.warning("broker_unreachable", error=str(error).partition("\n")[0])

    def _send_one(self, hint: Hint) -> None:
        if hint.kind == "signal":
            self._redis.publish(CHANNEL, f"{hint.topic}:{hint.id}")
            return
        self._celery.send_task(
            RECONCILE_TASK,
            args=[hint.topic, hint.id],
            headers=headers_of(hint),
            retry=False,
            ignore_result=True,
        )
