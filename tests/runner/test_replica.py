"""Serving processes: ready when they answer, and until then not."""

import signal

from tests.runner.conftest import Bench

SERVER = (
    "import http.server, json, os, pathlib, sys, time\n"
    "class Handler(http.server.BaseHTTPRequestHandler):\n"
    "    asked = 0\n"
    "    def do_GET(self):\n"
    "        Handler.asked += 1\n"
    "        ready = Handler.asked > 2 and self.path in ('/v1/ready', '/v1/live')\n"
    "        body = json.dumps({'signature': {'inputs': []}, 'asked': Handler.asked}).encode()\n"
    "        self.send_response(200 if ready else 503)\n"
    "        self.send_header('Content-Length', str(len(body)))\n"
    "        self.end_headers()\n"
    "        self.wfile.write(body)\n"
    "server = http.server.HTTPServer(('127.0.0.1', 0), Handler)\n"
    "pathlib.Path('port').write_text(str(server.server_port))\n"
    "print('serving', flush=True)\n"
    "server.serve_forever()\n"
)


def as_replica(bench: Bench, *, timeout_seconds: float, silence_seconds: float = 60) -> None:
    bench.api.order.update(
        kind="replica",
        collect=[],
        readiness={
            "port_file": "port",
            "path": "/v1/ready",
            "timeout_seconds": timeout_seconds,
            "silence_seconds": silence_seconds,
        },
    )


def test_a_replica_tells_its_port_when_it_answers_and_runs_until_stopped(bench: Bench) -> None:
    as_replica(bench, timeout_seconds=20)
    bench.script(SERVER)
    bench.start()

    serving = bench.api.event("serving")

    assert serving["body"] == {"signature": {"inputs": []}, "asked": 3}
    assert serving["port"] == int((bench.work / "port").read_text())
    bench.api.command = "stop"
    assert bench.wait() == 0
    assert bench.exited()["reason"] == "stopped"
    assert bench.api.outputs is None


def test_a_replica_that_never_answers_is_stopped_with_a_reason(bench: Bench) -> None:
    as_replica(bench, timeout_seconds=0.5)
    bench.script("import time; time.sleep(600)")

    assert bench.run() == 0

    failed = bench.api.event("failed")
    assert failed["code"] == "readiness_timeout"
    assert "no port file" in failed["message"]


def test_a_replica_that_answers_no_more_is_told_and_ended_by_force(bench: Bench) -> None:
    as_replica(bench, timeout_seconds=60, silence_seconds=0.4)
    bench.api.order["grace_seconds"] = 0.1
    asked = "    def do_GET(self):\n"
    stops = "        if self.path == '/v1/live': os.kill(os.getpid(), 19)\n"
    bench.script(SERVER.replace(asked, asked + stops))

    assert bench.run() == 0

    failed = bench.api.event("failed")
    assert failed["code"] == "replica_hung"
    assert "for 0.4 s" in failed["message"]
    assert bench.exited()["signal"] == signal.SIGKILL


def test_texts_of_the_order_lie_in_the_work_folder(bench: Bench) -> None:
    bench.api.order["texts"] = {"sample.json": "{}"}
    bench.script("print(open('sample.json').read())")

    assert bench.run() == 0

    assert bench.exited()["exit_code"] == 0
    assert (bench.work / "sample.json").read_text() == "{}"


def test_a_replica_that_crashes_is_told_at_once(bench: Bench) -> None:
    as_replica(bench, timeout_seconds=60)
    bench.script("raise SystemExit(9)")

    assert bench.run() == 0

    assert bench.exited()["exit_code"] == 9
