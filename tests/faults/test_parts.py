"""Parts that stand still, forget everything, or are left by their clients."""

import socket
import threading
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from app.kernel.crash_points import CrashPoint
from tests.faults.small_stack import SmallStack
from tests.faults.test_crash_points import run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120, func_only=True)]


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    "point",
    [
        CrashPoint.PLAN_MADE,
        CrashPoint.NODE_STARTING,
        CrashPoint.NODE_STARTED,
        CrashPoint.LOGS_STORED,
        CrashPoint.NODE_REMOVED,
    ],
)
def test_a_worker_that_stood_still_longer_than_its_lease_changes_nothing(
    stack: SmallStack, point: CrashPoint
) -> None:
    stack.arm(f"stop {point}")
    try:
        run(stack)
        assert stack.has_crashed(), f"nobody came to {point}"
    finally:
        stack.resume()
    stack.assert_whole()


@pytest.mark.fault(24)
def test_a_broker_that_forgets_everything_again_and_again(
    stack: SmallStack, broker_url: str
) -> None:
    broker = redis.Redis.from_url(broker_url.replace("redis+socket://", "unix://"))
    has_ended = threading.Event()

    def forget() -> None:
        while not has_ended.wait(0.02):
            broker.flushall()

    forgetting = threading.Thread(target=forget)
    forgetting.start()
    try:
        run(stack)
    finally:
        has_ended.set()
        forgetting.join()
        broker.close()
    stack.assert_whole()


@pytest.mark.fault(18)
def test_a_thousand_clients_that_leave_before_they_are_answered(stack: SmallStack) -> None:
    url = stack.database_url.replace("postgresql+psycopg", "postgresql")
    place = urlsplit(stack.address)
    head = (
        "GET /v1/workspaces/faults/runs?tag=a HTTP/1.1\r\n"
        f"Host: {place.netloc}\r\nAuthorization: {stack.authorization}\r\n\r\n"
    )

    def leave(clients: int) -> None:
        for _ in range(clients):
            with socket.create_connection((str(place.hostname), place.port or 80)) as client:
                client.sendall(head.encode())
        for _ in range(20):
            stack.ask("GET", "/runs")

    def connections() -> int:
        with psycopg.connect(url) as connection:
            statement = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            row = connection.execute(statement).fetchone()
        return int(row[0]) if row else 0

    leave(300)
    first = connections()
    leave(700)

    stack.wait(lambda: connections() <= first + 5)
