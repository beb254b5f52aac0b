"""Fetching files: in parts side by side, checked, and from where it broke off.

What is not complete lies beside the target as `.NAME.partial`, with the parts that are there in
`.NAME.partial.json`: the next try, of this process or a later one, fetches the others.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from threading import Lock

import httpx2

from trainwright.connection import Connection
from trainwright.errors import ApiProblem, TransferFailed
from trainwright.parallel import side_by_side
from trainwright.retrying import retrying

PART_BYTES = 8 * 1024 * 1024
TRANSFER_RETRY_SECONDS = 300.0
"""So long an outage may last while bytes are fetched."""
_ETAG = re.compile(r'"([0-9a-f]{64})"')

OnBytes = Callable[[int], None]


def safe_target(folder: Path, path: str) -> Path:
    """Where a file of the server's goes: inside the folder, whatever it is called.

    Raises:
        TransferFailed: its name would lead out of the folder.
    """
    pure = PurePosixPath(path)
    parts = pure.parts
    is_unsafe = (
        not parts
        or pure.is_absolute()
        or any(part == ".." or "\\" in part or "\0" in part or ":" in part for part in parts)
    )
    target = folder.joinpath(*parts)
    # A link that was there before, or came with an earlier file, leads nowhere either.
    if is_unsafe or not target.parent.resolve().is_relative_to(folder.resolve()):
        raise TransferFailed(
            f"The server names a file {path!r}, which would lie outside of {folder}."
        )
    return target


def download_file(
    connection: Connection,
    path: str,
    target: Path,
    *,
    size_bytes: int,
    sha256: str,
    on_bytes: OnBytes | None = None,
) -> None:
    """Fetch a file, checked against its hash; one that is there already is not fetched again.

    Args:
        connection: to the server.
        path: of the request.
        target: where it goes; its folder is made.
        size_bytes: as the server lists it.
        sha256: as the server lists it.
        on_bytes: told how many more bytes are on this machine.

    Raises:
        ApiProblem: the server refuses.
        Unreachable: an outage lasted too long; the next try goes on.
        TransferFailed: the bytes are others than announced.
    """
    tell = on_bytes or (lambda _: None)
    if target.is_file() and target.stat().st_size == size_bytes and _sha256(target) == sha256:
        tell(size_bytes)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    _Download(connection, path, target, size_bytes, sha256, tell).fetch()


class _Download:
    """One file on its way."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        target: Path,
        size_bytes: int,
        sha256: str,
        on_bytes: OnBytes,
    ) -> None:
        self._connection = connection
        self._path = path
        self._target = target
        self._size_bytes = size_bytes
        self._sha256 = sha256
        self._on_bytes = on_bytes
        self._partial = target.with_name(f".{target.name}.partial")
        self._state = target.with_name(f".{target.name}.partial.json")
        self._done: set[int] = set()
        self._lock = Lock()

    def fetch(self) -> None:
        self._resume()
        count = -(-self._size_bytes // PART_BYTES)
        wanted = [index for index in range(count) if index not in self._done]
        self._make_room()
        side_by_side(self._fetch_part, wanted)
        if _sha256(self._partial) != self._sha256:
            self._partial.unlink()
            self._state.unlink(missing_ok=True)
            raise TransferFailed(
                f"{self._target} did not arrive as it was announced.", hint="Repeat the command."
            )
        self._partial.replace(self._target)
        self._state.unlink(missing_ok=True)

    def _resume(self) -> None:
        try:
            state = json.loads(self._state.read_bytes())
            is_same = state["sha256"] == self._sha256 and state["part_bytes"] == PART_BYTES
            self._done = {int(index) for index in state["done"]} if is_same else set()
        except (OSError, ValueError, KeyError, TypeError):
            self._done = set()
        if not self._partial.is_file() or self._partial.stat().st_size != self._size_bytes:
            self._done = set()
        for index in self._done:
            self._on_bytes(self._length(index))

    def _make_room(self) -> None:
        if self._partial.is_symlink():
            self._partial.unlink()
        with self._partial.open("ab") as file:
            file.truncate(self._size_bytes)

    def _fetch_part(self, index: int) -> None:
        start, length = index * PART_BYTES, self._length(index)
        written = 0

        def go_on() -> None:
            nonlocal written
            headers = {
                "Range": f"bytes={start + written}-{start + length - 1}",
                "If-Range": f'"{self._sha256}"',
                "Accept-Encoding": "identity",
            }
            with (
                self._connection.stream("GET", self._path, headers=headers) as response,
                self._partial.open("r+b") as file,
            ):
                self._check(response, start + written)
                file.seek(start + written)
                for chunk in response.iter_raw():
                    taken = chunk[: length - written]
                    file.write(taken)
                    file.flush()
                    written += len(taken)
                    self._on_bytes(len(taken))
            if written < length:
                raise httpx2.RemoteProtocolError("the answer was too short")

        # Bytes that came make a new outage of the next break.
        while written < length:
            had = written
            try:
                retrying(TRANSFER_RETRY_SECONDS, self._connection.on_retry)(go_on)
            except ApiProblem as problem:
                if written == had or not problem.is_transient:
                    raise
            except httpx2.TransportError as error:
                if written == had:
                    raise self._connection.unreachable(error) from error
        self._note(index)

    def _check(self, response: httpx2.Response, start: int) -> None:
        """Whether these are the bytes that were asked for."""
        match = _ETAG.fullmatch(response.headers.get("ETag", ""))
        is_other = match is not None and match[1] != self._sha256
        if is_other or (response.status_code != httpx2.codes.PARTIAL_CONTENT and start > 0):
            raise TransferFailed(
                f"{self._target.name} has changed at the server.", hint="Repeat the command."
            )

    def _length(self, index: int) -> int:
        return min(PART_BYTES, self._size_bytes - index * PART_BYTES)

    def _note(self, index: int) -> None:
        with self._lock:
            self._done.add(index)
            content = {
                "sha256": self._sha256,
                "part_bytes": PART_BYTES,
                "done": sorted(self._done),
            }
            # A download that failed may still have a part on its way beside this one's.
            written = self._state.with_name(f"{self._state.name}.{id(self)}")
            written.write_text(json.dumps(content), encoding="utf-8")
            written.replace(self._state)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
