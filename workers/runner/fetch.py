"""Bring files onto the node: from the local object store when there is one, else over HTTP."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable

from workers.runner.api import READ_BYTES, Channel, Endpoint, persist
from workers.runner.errors import PrepareError, Refused
from workers.runner.order import OrderFile, inside
from workers.runner.parallel import for_each

# How the object store marks an object that nobody touched (app/storage/objects.py).
SEALED_MODE = 0o444
SEALED_AT_NANOSECONDS = 946_684_800 * 1_000_000_000
CORRUPT_TRIES = 3


def fetch_files(
    endpoint: Endpoint, files: list[OrderFile], folder: str, *, objects_dir: str | None, what: str
) -> None:
    """Write verified copies of `files` under `folder`.

    Args:
        objects_dir: local object store to copy from, or None.
        what: what the files belong to, for messages ("source", "input 'digits'").

    Raises:
        PrepareError: bytes that are not those of the digest, or that nobody has; names the file.
    """
    for path in sorted({os.path.dirname(inside(folder, file.path)) for file in files}):
        os.makedirs(path, exist_ok=True)
    remote = []
    for file in files:
        endpoint.control.check()
        if objects_dir is None or not _copy_local(file, inside(folder, file.path), objects_dir):
            remote.append(file)

    def fetch(channel: Channel, file: OrderFile) -> None:
        _download(endpoint, channel, file, inside(folder, file.path), what)

    for_each(endpoint, remote, fetch)


def link_files(files: list[OrderFile], folder: str, *, objects_dir: str, what: str) -> None:
    """Make a tree of links under `folder` that shows `files` out of the local object store.

    An object that the store sealed and nobody touched is taken as it is; any other is read.

    Raises:
        PrepareError: an object is missing, or its bytes are not those of the digest.
    """
    for file in files:
        target = inside(folder, file.path)
        source = object_path(objects_dir, file.sha256)
        _require_intact(source, file, what)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(source, target)


def is_whole(files: list[OrderFile], folder: str) -> bool:
    """Whether a folder that was filled elsewhere has all files, as large as they should be."""
    for file in files:
        try:
            status = os.stat(inside(folder, file.path))
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size_bytes:
            return False
    return os.path.isdir(folder)


def object_path(objects_dir: str, sha256: str) -> str:
    """Where the local object store keeps an object."""
    return os.path.join(objects_dir, "sha256", sha256[:2], sha256)


def _require_intact(source: str, file: OrderFile, what: str) -> None:
    try:
        status = os.stat(source)
    except FileNotFoundError as error:
        raise PrepareError(
            "input_missing", f"{what}: file {file.path!r} is no longer in the object store"
        ) from error
    is_sealed = (
        stat.S_IMODE(status.st_mode) == SEALED_MODE and status.st_mtime_ns == SEALED_AT_NANOSECONDS
    )
    if status.st_size == file.size_bytes and is_sealed:
        return
    digest = hashlib.sha256()
    with open(source, "rb") as stream:
        while chunk := stream.read(READ_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != file.sha256:
        raise _mismatch(file, what, digest.hexdigest())


def _copy_local(file: OrderFile, target: str, objects_dir: str) -> bool:
    try:
        with open(object_path(objects_dir, file.sha256), "rb") as source:
            found = _write(target, file, lambda sink: _pump(source.read, sink))
    except FileNotFoundError:
        return False
    return found == file.sha256


def _pump(read: Callable[[int], bytes], sink: Callable[[bytes], object]) -> None:
    while chunk := read(READ_BYTES):
        sink(chunk)


def _download(
    endpoint: Endpoint, channel: Channel, file: OrderFile, target: str, what: str
) -> None:
    found = ""
    for _ in range(CORRUPT_TRIES):
        try:
            found = _write(target, file, lambda sink: _receive(endpoint, channel, file, sink))
        except Refused as refusal:
            raise PrepareError(
                "blob_unavailable", f"{what}: file {file.path!r} cannot be had: {refusal}"
            ) from refusal
        if found == file.sha256:
            return
    raise _mismatch(file, what, found)


def _receive(
    endpoint: Endpoint, channel: Channel, file: OrderFile, sink: Callable[[bytes], object]
) -> None:
    """Pass on all bytes, each once, over as many transfers as it takes."""
    come_bytes = 0

    def pass_on(chunk: bytes) -> None:
        nonlocal come_bytes
        sink(chunk)
        come_bytes += len(chunk)

    def go_on() -> None:
        # The last bytes may come before the connection breaks.
        if not come_bytes or come_bytes < file.size_bytes:
            channel.download("/blobs/" + file.sha256, pass_on, start=come_bytes)

    persist(go_on, endpoint.control)


def _write(target: str, file: OrderFile, fill: Callable[[Callable[[bytes], object]], None]) -> str:
    """Write what `fill` gives and return its digest; only the right bytes get the name."""
    digest = hashlib.sha256()
    part = target + ".trainwright-part"
    with open(part, "wb") as stream:

        def sink(chunk: bytes) -> None:
            digest.update(chunk)
            stream.write(chunk)

        try:
            fill(sink)
        except BaseException:
            os.unlink(part)
            raise
    found = digest.hexdigest()
    if found != file.sha256:
        os.unlink(part)
        return found
    os.chmod(part, 0o755 if file.executable else 0o644)
    os.replace(part, target)
    return found


def _mismatch(file: OrderFile, what: str, found: str) -> PrepareError:
    kind = "source" if what == "source" else "input"
    return PrepareError(
        f"{kind}_digest_mismatch",
        f"{what}: file {file.path!r} has SHA-256 {found}, not the pinned {file.sha256}",
    )
