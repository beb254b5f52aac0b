"""When a serving process is taken to hang."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.runner.node_api import DEADLINE_SECONDS
from workers.runner import readiness
from workers.runner.api import Endpoint
from workers.runner.control import Control
from workers.runner.events import EventSender
from workers.runner.order import Readiness
from workers.runner.readiness import ReadinessPoller


class Replica:
    """A server that gives good answers but for one."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    def answer(self) -> int:
        self.asked += 1
        if self.asked != 3:
            return 200
        # The machine stood still while it was asked.
        self.now += 3600.0
        return 503

    @contextmanager
    def serving(self) -> Iterator[int]:
        replica = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(replica.answer())
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield server.server_port
            server.shutdown()


def test_one_missed_answer_is_no_hang_however_late_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica, control = Replica(), Control()
    monkeypatch.setattr(readiness, "time", SimpleNamespace(monotonic=lambda: replica.now))
    asks = Readiness("port", "/ready", timeout_seconds=60, live_path="/live", silence_seconds=4)
    events = EventSender(Endpoint("http://127.0.0.1:1", str(tmp_path / "token"), control))
    poller = ReadinessPoller(asks, work_dir=str(tmp_path), events=events, control=control)

    with replica.serving() as port:
        (tmp_path / "port").write_text(str(port))
        poller.start()
        ends_at = time.monotonic() + DEADLINE_SECONDS
        while poller.is_alive() and replica.asked < 5:
            assert time.monotonic() < ends_at
            time.sleep(0.01)
        poller.close()
        poller.join()

    assert replica.asked >= 5
    assert control.inbox.empty()
