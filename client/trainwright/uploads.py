"""Sending bytes: only those that the workspace lacks, and from where it broke off.

snapshot = upload_snapshot(connection, Path("."))
connection.post(connection.path("runs"), {"snapshot_id": snapshot["id"], …})
"""

import base64
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt

from trainwright.connection import Connection
from trainwright.errors import ApiProblem, TransferFailed, Unreachable
from trainwright.folders import SourceFile, source_files
from trainwright.parallel import side_by_side
from trainwright.resuming import Unfinished

PIECE_BYTES = 8 * 1024 * 1024
TRANSFER_RETRY_SECONDS = 300.0
"""So long an outage may last while bytes are sent or fetched."""
_ASKED_AT_ONCE = 50_000
_MORE_TRIES = 4

OnBytes = Callable[[int], None]


def _ignore(_: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True)
class Planned:
    """What has to be sent of a folder.

    Attributes:
        files: all that the snapshot will hold.
        missing: those whose bytes the workspace lacks; equal ones once.
    """

    files: list[SourceFile]
    missing: list[SourceFile]

    @property
    def missing_bytes(self) -> int:
        """How many bytes have to be sent."""
        return sum(file.size_bytes for file in self.missing)


def upload_snapshot(
    connection: Connection, folder: Path, *, on_bytes: OnBytes | None = None
) -> dict[str, Any]:
    """Make a snapshot of a folder, sending only what is missing.

    Args:
        connection: to the server, in a workspace.
        folder: the source; its `.amlignore`, or else `.gitignore`, is honoured.
        on_bytes: told how many more bytes are safe at the server.

    Returns:
        The snapshot: `id`, `file_count`, `size_bytes` …

    Raises:
        TrainwrightError: the folder cannot be sent.
        ApiProblem: the server refuses.
    """
    plan = plan_snapshot(connection, source_files(folder))
    return send_snapshot(connection, plan, on_bytes=on_bytes)


def plan_snapshot(connection: Connection, files: list[SourceFile]) -> Planned:
    """Ask which bytes of these files have to be sent."""
    by_digest = {file.sha256: file for file in files}
    digests = list(by_digest)
    missing: list[str] = []
    for start in range(0, len(digests), _ASKED_AT_ONCE):
        some = digests[start : start + _ASKED_AT_ONCE]
        answer = connection.post(connection.path("blobs", "missing"), {"sha256": some})
        missing += answer["missing"]
    return Planned(files=files, missing=[by_digest[digest] for digest in missing])


def send_snapshot(
    connection: Connection, plan: Planned, *, on_bytes: OnBytes | None = None
) -> dict[str, Any]:
    """Send what is missing and make the snapshot, as :func:`upload_snapshot` does."""
    send_files(connection, plan.missing, on_bytes=on_bytes)
    body = {
        "files": [
            {
                "path": file.path,
                "sha256": file.sha256,
                "size_bytes": file.size_bytes,
                "executable": file.executable,
            }
            for file in plan.files
        ]
    }
    path = connection.path("snapshots")
    try:
        made = connection.post(path, body)
    except ApiProblem as problem:
        lacking = set(problem.problem.get("missing") or [])
        if not lacking:
            raise
        # Freed between the question and now, which takes a day; or damaged there.
        again = {file.sha256: file for file in plan.files if file.sha256 in lacking}
        send_files(connection, again.values())
        made = connection.post(path, body)
    assert isinstance(made, dict)
    return made


def upload_file(
    connection: Connection,
    path: Path,
    *,
    sha256: str | None = None,
    on_bytes: OnBytes | None = None,
) -> str:
    """Send a file as a blob of the workspace; what breaks off goes on, also after a restart.

    Args:
        connection: to the server, in a workspace.
        path: of the file.
        sha256: of its content; None: it is read for it first.
        on_bytes: told how many more bytes are safe at the server.

    Returns:
        The SHA-256 under which the workspace has it.

    Raises:
        ApiProblem: the server refuses.
        TransferFailed: the file changed while it was sent.
    """
    if sha256 is None:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return _Upload(connection, path, sha256, on_bytes or _ignore).send()


def send_files(
    connection: Connection, files: Iterable[SourceFile], *, on_bytes: OnBytes | None = None
) -> None:
    """Send these files as blobs of the workspace, some side by side.

    Raises:
        ApiProblem: the server refuses.
        TransferFailed: a file changed since it was read.
    """
    tell = on_bytes or _ignore
    side_by_side(lambda file: _send_one(connection, file, tell), files)


def _send_one(connection: Connection, file: SourceFile, on_bytes: OnBytes) -> None:
    if file.size_bytes > PIECE_BYTES:
        upload_file(connection, file.place, sha256=file.sha256, on_bytes=on_bytes)
        return
    content = file.place.read_bytes()
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise _changed(file.place)
    # Over a slow link a file alone may take longer than an outage may last.
    Retrying(
        retry=retry_if_exception(_may_pass), stop=stop_after_attempt(_MORE_TRIES + 1), reraise=True
    )(
        connection.request,
        "PUT",
        connection.path("blobs", file.sha256),
        content=content,
        headers={"Content-Type": "application/octet-stream"},
        retry_seconds=TRANSFER_RETRY_SECONDS,
    )
    on_bytes(file.size_bytes)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Unreachable) or (isinstance(error, ApiProblem) and error.is_transient)


def _changed(path: Path) -> TransferFailed:
    return TransferFailed(
        f"{path} changed while it was being sent.", hint="Repeat the command when it is still."
    )


class _Upload:
    """One file on its way, in pieces."""

    def __init__(self, connection: Connection, path: Path, sha256: str, on_bytes: OnBytes) -> None:
        self._connection = connection
        self._path = path
        self._sha256 = sha256
        self._size_bytes = path.stat().st_size
        self._on_bytes = on_bytes
        self._unfinished = Unfinished(f"{connection.path('blobs', sha256)}@{connection.url}")

    def send(self) -> str:
        state = self._resumed() or self._begun()
        offset = state["offset_bytes"]
        self._on_bytes(offset)
        with self._path.open("rb") as file:
            while not state.get("completed_at"):
                file.seek(offset)
                piece = file.read(PIECE_BYTES)
                if not piece and offset < self._size_bytes:
                    self._unfinished.forget()
                    raise _changed(self._path)
                state = self._send_piece(state["id"], offset, piece)
                self._on_bytes(state["offset_bytes"] - offset)
                offset = state["offset_bytes"]
        self._unfinished.forget()
        return self._sha256

    def _resumed(self) -> dict[str, Any] | None:
        upload_id = self._unfinished.remembered()
        if not upload_id:
            return None
        try:
            state = self._state(upload_id)
        except ApiProblem:
            return None
        return state if state["size_bytes"] == self._size_bytes else None

    def _begun(self) -> dict[str, Any]:
        state: dict[str, Any] = self._connection.post(
            self._connection.path("uploads"),
            {"size_bytes": self._size_bytes, "sha256": self._sha256},
            retry_seconds=TRANSFER_RETRY_SECONDS,
        )
        self._unfinished.remember(state["id"])
        return state

    def _state(self, upload_id: str) -> dict[str, Any]:
        state: dict[str, Any] = self._connection.get(
            self._connection.path("uploads", upload_id), retry_seconds=TRANSFER_RETRY_SECONDS
        )
        return state

    def _send_piece(self, upload_id: str, offset: int, piece: bytes) -> dict[str, Any]:
        """The upload behind the piece, or where it is where the answer to a piece was lost."""
        for _ in range(_MORE_TRIES):
            try:
                return self._send_at_once(upload_id, offset, piece)
            except (Unreachable, ApiProblem) as error:
                if isinstance(error, ApiProblem) and not error.is_transient:
                    raise
                # Over a slow link a piece alone may take longer than an outage may last.
                state = self._state(upload_id)
                if state["offset_bytes"] != offset or state.get("completed_at"):
                    return state
        return self._send_at_once(upload_id, offset, piece)

    def _send_at_once(self, upload_id: str, offset: int, piece: bytes) -> dict[str, Any]:
        digest = base64.b64encode(hashlib.sha256(piece).digest()).decode()
        try:
            answer: dict[str, Any] = self._connection.request(
                "PATCH",
                self._connection.path("uploads", upload_id),
                content=piece,
                headers={
                    "Content-Type": "application/partial-upload",
                    "Upload-Offset": str(offset),
                    "Content-Digest": f"sha-256=:{digest}:",
                },
                retry_seconds=TRANSFER_RETRY_SECONDS,
            ).json()
        except ApiProblem as problem:
            if problem.code == "digest_mismatch":
                self._unfinished.forget()
                raise _changed(self._path) from problem
            if problem.code not in {"upload_offset_mismatch", "upload_complete"}:
                raise
            # A try whose answer was lost had arrived.
            answer = self._state(upload_id)
        return answer
