"""A small real HTTP server that speaks the control plane's side of the node protocol.

It keeps what arrives in memory, and can be told to go away, to lose answers, to forget bytes, to
disown the node.
"""

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

TOKEN = "node-token"
DEADLINE_SECONDS = 60.0
SCRIPT_API = "/v1/workspaces/lab"


class Refusal(Exception):
    """Answer with a problem document."""

    def __init__(self, status: int, code: str, **members: Any) -> None:
        super().__init__(code)
        self.status = status
        self.document = {"status": status, "code": code, "detail": code, **members}


class NodeApi(ThreadingHTTPServer):
    """The server; all attributes may be read and set while it runs."""

    daemon_threads = True

    def __init__(self, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Handler)
        self.changed = threading.Condition()
        self.order: dict[str, Any] = {}
        self.secrets: list[dict[str, str]] = []
        self.blobs: dict[str, bytes] = {}
        self.streams: dict[str, bytearray] = {}
        self.log_posts: list[tuple[float, str, int, int]] = []
        self.log_times: list[tuple[str, int, str]] = []
        self.records: list[dict[str, Any]] = []
        self.record_bodies: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.phases: list[str] = []
        self.samples: list[dict[str, Any]] = []
        self.beats: list[dict[str, Any]] = []
        self.outputs: dict[str, Any] | None = None
        self.checkpoints: list[dict[str, Any]] = []
        self.requests = 0
        self.command = "continue"
        self.answer_more: dict[str, Any] = {}
        self.start_at_ready = True
        self.keeps_checkpoint = False
        self.is_away = False
        self.is_gone = False
        self.token = TOKEN
        self.lose_answers = 0
        self.lose_answers_of = "/logs"
        self.breaks_after: list[int] = []
        """After so many bytes of a blob each of the next answers breaks off."""
        self.answers_ranges = True
        self.blob_bytes = 0
        """How many were sent of blobs."""
        self.forget_after: int | None = None
        self.refuse: Callable[[str, str], Refusal | None] = lambda method, path: None
        self.run_document: dict[str, Any] = {"id": "run_1", "status": "Running", "tags": {}}
        self.run_files: dict[str, bytes] = {}
        self.models: list[tuple[str, dict[str, Any]]] = []
        self.answered: dict[str, Any] = {}
        """Answers by Idempotency-Key, as the real API keeps them."""
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def add_blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def wait_for(self, what: Callable[[], Any], *, seconds: float = DEADLINE_SECONDS) -> None:
        """Wait until `what()` is true, looking again after every request."""
        with self.changed:
            assert self.changed.wait_for(lambda: bool(what()), seconds), "nothing of it came"

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the event of that name."""
        self.wait_for(lambda: any(event["event"] == name for event in self.events))
        return next(event for event in self.events if event["event"] == name)

    def text(self, stream: str = "user_logs/std_log.txt") -> str:
        return bytes(self.streams.get(stream, b"")).decode()

    def moments(self, stream: str) -> list[tuple[int, int]]:
        """When the bytes of a stream were written: offsets and milliseconds since 1970."""
        found: set[tuple[int, int]] = set()
        for name, offset, times in self.log_times:
            if name == stream:
                pairs = (word.split("@") for word in times.split())
                found |= {(offset + int(start), int(millis)) for start, millis in pairs}
        return sorted(found)

    def output(self, path: str) -> bytes:
        assert self.outputs is not None
        digest = {file["path"]: file["sha256"] for file in self.outputs["files"]}[path]
        return self.blobs[digest]

    def close(self) -> None:
        self.shutdown()
        self.server_close()

    # The routes.

    def route(self, method: str, target: str, body: bytes) -> Any:
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if (refusal := self.refuse(method, parts.path)) is not None:
            raise refusal
        if parts.path.startswith(SCRIPT_API):
            return self.script_route(method, parts.path[len(SCRIPT_API) :], query, body)
        if self.is_gone:
            raise Refusal(410, "attempt_superseded")
        path = parts.path.removeprefix("/v1/node")
        if path.startswith("/blobs/") and path != "/blobs/missing":
            return self.blob(method, path[len("/blobs/") :], body)
        if path == "/order":
            return self.order
        if path == "/secrets":
            return {"secrets": self.secrets}
        if path == "/logs":
            return self.log(query["stream"], int(query["offset"]), body)
        return getattr(self, "post_" + re.sub("[/-]", "_", path.strip("/")))(json.loads(body))

    def blob(self, method: str, digest: str, body: bytes) -> Any:
        if method == "PUT":
            if hashlib.sha256(body).hexdigest() != digest:
                raise Refusal(422, "digest_mismatch")
            self.blobs[digest] = body
            return {}
        if digest not in self.blobs:
            raise Refusal(404, "blob_not_found")
        return self.blobs[digest]

    def log(self, stream: str, offset: int, body: bytes) -> dict[str, Any]:
        if len(stream) > 1000:
            raise Refusal(422, "invalid")
        held = self.streams.setdefault(stream, bytearray())
        if self.forget_after is not None and len(held) > self.forget_after:
            del held[self.forget_after :]
            self.forget_after = None
        if offset > len(held):
            raise Refusal(409, "offset_gap", length_bytes=len(held))
        held += body[len(held) - offset :]
        self.log_posts.append((time.time(), stream, offset, len(body)))
        return {"length_bytes": len(held)}

    def post_blobs_missing(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"missing": [digest for digest in body["sha256"] if digest not in self.blobs]}

    def post_records(self, body: dict[str, Any]) -> dict[str, Any]:
        if any(record.get("kind") == "poison" for record in body["records"]):
            raise Refusal(422, "invalid_record")
        if body["first_seq"] > len(self.records):
            raise Refusal(409, "records_gap", expected=len(self.records))
        self.record_bodies.append(body)
        new = body["records"][max(0, len(self.records) - body["first_seq"]) :]
        self.records += new
        return {"next_seq": len(self.records)}

    def post_heartbeat(self, body: dict[str, Any]) -> dict[str, Any]:
        self.phases.append(body["phase"])
        self.beats.append(body)
        return {"command": self.command, **self.answer_more}

    def post_host_metrics(self, body: dict[str, Any]) -> dict[str, Any]:
        self.samples += body["samples"]
        return {}

    def post_events(self, body: dict[str, Any]) -> dict[str, Any]:
        if body not in self.events:
            self.events.append(body)
        is_start = body["event"] == "ready" and self.start_at_ready
        answer: dict[str, Any] = {"command": "start" if is_start else self.command}
        return {**answer, "keeps_checkpoint": True} if self.keeps_checkpoint else answer

    def post_outputs(self, body: dict[str, Any]) -> dict[str, Any]:
        self.outputs = body
        return {}

    def post_checkpoint(self, body: dict[str, Any]) -> dict[str, Any]:
        self.checkpoints.append(body)
        return {}

    def script_route(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        if path.startswith("/models/"):
            self.models.append((path.split("/")[2], json.loads(body)))
            return {"name": path.split("/")[2], "version": len(self.models), "id": "model_1"}
        tail = path.removeprefix("/runs/run_1")
        if tail.startswith("/files/"):
            return self.run_file(method, tail[len("/files/") :], body)
        if tail == "/files":
            names = [name for name in self.run_files if name.startswith(query.get("prefix", ""))]
            return {"items": [{"path": name} for name in names], "next_page_token": None}
        if tail == "/metrics":
            metrics = [record for record in self.records if record["kind"] == "metric"]
            return {"items": metrics, "next_page_token": None}
        if method == "PATCH":
            self.patch_properties(json.loads(body).get("properties", {}))
        return self.run_document

    def run_file(self, method: str, name: str, body: bytes) -> Any:
        if method == "PUT":
            if name in self.run_files:
                raise Refusal(409, "file_exists")
            self.run_files[name] = body
            return {}
        if name not in self.run_files:
            raise Refusal(404, "file_not_found")
        return self.run_files[name]

    def patch_properties(self, properties: dict[str, str]) -> None:
        held = self.run_document.setdefault("properties", {})
        if any(held.get(key, value) != value for key, value in properties.items()):
            raise Refusal(409, "property_immutable")
        held.update(properties)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: NodeApi
    never: ClassVar[dict[str, str]] = {}

    def handle_any(self) -> None:
        body = self._body()
        server = self.server
        with server.changed:
            server.requests += 1
            server.changed.notify_all()
            if server.is_away:
                self.close_connection = True
                return
            try:
                status, answer = 200, self._route(body)
            except Refusal as refusal:
                status, answer = refusal.status, refusal.document
            if server.lose_answers and server.lose_answers_of in self.path:
                server.lose_answers -= 1
                self.close_connection = True
                return
        if isinstance(answer, bytes):
            self._send_bytes(answer)
            return
        data = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        self.wfile.write(head + data)

    do_GET = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815 (names of the base class)

    def _send_bytes(self, data: bytes) -> None:
        asked = self.headers.get("Range") if self.server.answers_ranges else None
        start = int((asked or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        data, status = data[start:], 206 if start else 200
        self.wfile.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n".encode())
        if self.server.breaks_after:
            data = data[: self.server.breaks_after.pop(0)]
            self.close_connection = True
        self.wfile.write(data)
        self.server.blob_bytes += len(data)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay silent."""

    def _route(self, body: bytes) -> Any:
        if "/v1/node/" in self.path:
            if self.headers["Authorization"] != "Bearer " + self.server.token:
                raise Refusal(401, "unauthorized")
        elif self.headers["Authorization"] != "Bearer run-token":
            raise Refusal(401, "unauthorized")
        if "/logs?" in self.path:
            query = parse_qs(urlsplit(self.path).query)
            place = (query["stream"][0], int(query["offset"][0]))
            self.server.log_times.append((*place, self.headers["Log-Times"] or ""))
        key = self.headers["Idempotency-Key"]
        if key is None or key not in self.server.answered:
            answer = self.server.route(self.command, self.path, body)
            if key is None:
                return answer
            self.server.answered[key] = answer
        return self.server.answered[key]

    def _body(self) -> bytes:
        length = self.headers["Content-Length"]
        return self.rfile.read(int(length)) if length else b""
