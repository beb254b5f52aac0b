"""Collect what the scripts left in `./outputs`: send the missing bytes, then the list of names."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from workers.runner.api import READ_BYTES, Channel, Endpoint, persist
from workers.runner.errors import FileLost, Refused
from workers.runner.large_files import LARGE_BYTES, LargeFile
from workers.runner.names import readable_name
from workers.runner.notes import Notes
from workers.runner.order import inside
from workers.runner.parallel import for_each

ASKED_AT_ONCE = 1000
# What the control plane takes (app/storage/paths.py); escapes can make a name longer than that.
LONGEST_PART_BYTES = 255
LONGEST_PATH_BYTES = 2500
MOST_PARTS = 100
DIGEST_MISMATCH = "digest_mismatch"


class OutputFile(NamedTuple):
    """A file to publish: where it is, its name in the run, and its bytes by digest."""

    location: str
    path: str
    sha256: str
    size_bytes: int


def publish_outputs(
    endpoint: Endpoint, *, work_dir: str, folders: list[str], is_partial: bool, notes: Notes
) -> None:
    """Upload all files of `folders` and post their list; what cannot be read is noted.

    Args:
        is_partial: whether the scripts did not end well, so more might have been expected.

    Raises:
        Refused: the control plane does not take the list or the bytes.
        GaveUp, Fenced: as the control says.
    """
    uploaded = upload_folders(endpoint, work_dir=work_dir, folders=folders, notes=notes)
    body = {"files": uploaded.listed, "partial": is_partial or uploaded.has_lost_files}
    channel = endpoint.channel()
    persist(lambda: channel.post_json("/outputs", body, timeout_seconds=120), endpoint.control)
    channel.close()


class Uploaded(NamedTuple):
    """What came of `upload_folders`."""

    listed: list[dict[str, Any]]
    """Path, hash and size of each file whose bytes the control plane has."""
    has_lost_files: bool
    """Whether some changed or vanished before they were sent; they are not listed."""


def upload_folders(
    endpoint: Endpoint, *, work_dir: str, folders: list[str], notes: Notes
) -> Uploaded:
    """Upload all files of `folders`; what cannot be read is noted.

    Raises:
        Refused: the control plane does not take the bytes.
        GaveUp, Fenced: as the control says.
    """
    files = [
        file
        for folder in folders
        for location in _walk(work_dir, folder, notes)
        if (file := _hashed(location, work_dir, notes)) is not None
    ]
    same: dict[str, list[OutputFile]] = {}
    for file in files:
        same.setdefault(file.sha256, []).append(file)
    channel = endpoint.channel()
    missing = _missing(endpoint, channel, sorted(same))
    lost: set[str] = set()

    def upload(own_channel: Channel, digest: str) -> None:
        for file in same[digest]:
            try:
                _upload(endpoint, own_channel, file)
            except FileLost as loss:
                notes.write(f"{file.path}: {loss} while it was collected")
            else:
                return
        lost.add(digest)

    for_each(endpoint, missing, upload)
    channel.close()
    found = {file.path: file for file in files if file.sha256 not in lost}
    listed = [
        {"path": path, "sha256": file.sha256, "size_bytes": file.size_bytes}
        for path, file in found.items()
    ]
    return Uploaded(listed, has_lost_files=bool(lost))


def _walk(work_dir: str, folder: str, notes: Notes) -> Iterator[str]:
    root = inside(work_dir, folder)
    real_root = os.path.realpath(root)
    if real_root != os.path.join(os.path.realpath(work_dir), *folder.split("/")):
        notes.write(f"{folder}: is a link to elsewhere, so it was not collected")
        return
    yield from _walk_folder(root, real_root, (real_root,), notes)


def _walk_folder(
    folder: str, real_root: str, ancestors: tuple[str, ...], notes: Notes
) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            paths = sorted(entry.path for entry in entries)
    except FileNotFoundError:
        return
    except OSError as error:
        notes.write(f"{readable_name(folder)}: not collected: {error.strerror}")
        return
    for path in paths:
        real = os.path.realpath(path)
        name = readable_name(path)
        if real != real_root and not real.startswith(real_root + os.sep):
            notes.write(f"{name}: a link that leads out of the folder was not collected")
            continue
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            notes.write(f"{name}: not collected: {error.strerror}")
            continue
        if stat.S_ISREG(mode):
            yield path
        elif not stat.S_ISDIR(mode):
            notes.write(f"{name}: not a regular file, so it was not collected")
        elif real in ancestors:
            notes.write(f"{name}: a link to a folder around it was not collected")
        else:
            yield from _walk_folder(path, real_root, (*ancestors, real), notes)


def _hashed(location: str, work_dir: str, notes: Notes) -> OutputFile | None:
    path = readable_name(os.path.relpath(location, work_dir))
    parts = path.split("/")
    is_part_long = any(len(part.encode()) > LONGEST_PART_BYTES for part in parts)
    if is_part_long or len(path.encode()) > LONGEST_PATH_BYTES:
        notes.write(f"{path}: not collected: the name is too long")
        return None
    if len(parts) > MOST_PARTS:
        notes.write(f"{path}: not collected: in too many folders")
        return None
    try:
        with open(location, "rb", buffering=0) as file:
            sha256, size_bytes = _hash_of(file)
    except OSError as error:
        notes.write(f"{path}: not collected: {error.strerror}")
        return None
    return OutputFile(location, path, sha256, size_bytes)


def _hash_of(file: BinaryIO) -> tuple[str, int]:
    """SHA-256 and number of the bytes from where the file stands on."""
    digest = hashlib.sha256()
    size_bytes = 0
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
        size_bytes += len(chunk)
    return digest.hexdigest(), size_bytes


def _missing(endpoint: Endpoint, channel: Channel, digests: list[str]) -> list[str]:
    missing: list[str] = []
    for start in range(0, len(digests), ASKED_AT_ONCE):
        body = {"sha256": digests[start : start + ASKED_AT_ONCE]}
        ask = functools.partial(channel.post_json, "/blobs/missing", body)
        answer = persist(ask, endpoint.control)
        missing += answer.get("missing", [])
    return missing


def _upload(endpoint: Endpoint, channel: Channel, file: OutputFile) -> None:
    try:
        stream = open(file.location, "rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise FileLost("vanished") from error
    with stream:
        try:
            if file.size_bytes < LARGE_BYTES or not _send_on(endpoint, channel, stream, file):
                _send_whole(endpoint, channel, stream, file)
        except FileLost:
            # Perhaps in the middle of a request.
            channel.close()
            raise
        except Refused as refusal:
            refusal.args = (f"{file.path}: {refusal}",)
            raise


def _send_whole(endpoint: Endpoint, channel: Channel, stream: BinaryIO, file: OutputFile) -> None:
    def send() -> None:
        channel.put_chunks("/blobs/" + file.sha256, lambda: _chunks(stream, file), file.size_bytes)

    try:
        persist(send, endpoint.control)
    except Refused as refusal:
        _check_unchanged(refusal, stream, file)
        raise


def _send_on(endpoint: Endpoint, channel: Channel, stream: BinaryIO, file: OutputFile) -> bool:
    """Send a file so that what came before a connection broke off is not sent again.

    False: it does not go like this, for whatever reason; nothing is known of the file then.
    """
    large = LargeFile(
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        chunks=lambda start: _chunks(stream, file, start),
    )
    try:
        return persist(lambda: large.send_rest(channel), endpoint.control)
    except Refused as refusal:
        _check_unchanged(refusal, stream, file)
        return False
    except FileLost:
        channel.close()
        large.forget(channel)
        raise


def _check_unchanged(refusal: Refused, stream: BinaryIO, file: OutputFile) -> None:
    """Raise FileLost if bytes were refused because the file has others by now."""
    if refusal.code == DIGEST_MISMATCH:
        stream.seek(0)
        if _hash_of(stream)[0] != file.sha256:
            raise FileLost("was written to") from refusal


def _chunks(stream: BinaryIO, file: OutputFile, start: int = 0) -> Iterator[bytes]:
    offset = start
    while offset < file.size_bytes:
        try:
            chunk = os.pread(stream.fileno(), min(READ_BYTES, file.size_bytes - offset), offset)
        except OSError as error:  # which would pass for a broken connection
            raise FileLost(f"could not be read ({error.strerror})") from error
        if not chunk:
            raise FileLost("became shorter")
        offset += len(chunk)
        yield chunk
