"""Bytes on their way, over a network that breaks."""

import hashlib
import os
from pathlib import Path

import pytest

from tests.client.door import Door
from trainwright import downloads, uploads
from trainwright.connection import Connection
from trainwright.downloads import download_file, safe_target
from trainwright.errors import ApiProblem, TrainwrightError, TransferFailed, Unreachable
from trainwright.streams import read_lines
from trainwright.uploads import upload_file, upload_snapshot


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few bytes be many pieces."""
    monkeypatch.setattr(uploads, "PIECE_BYTES", 64 * 1024)
    monkeypatch.setattr(downloads, "PART_BYTES", 64 * 1024)


def stored(connection: Connection, path: Path, content: bytes) -> str:
    """A file here and the same as a blob there; its digest."""
    path.write_bytes(content)
    return upload_file(connection, path)


def test_only_what_is_missing_is_sent(connection: Connection, tmp_path: Path) -> None:
    folder = tmp_path / "source"
    (folder / "package" / "__pycache__").mkdir(parents=True)
    (folder / "train.py").write_bytes(os.urandom(1000))
    (folder / "run.sh").write_bytes(b"#!/bin/sh\n" + os.urandom(10).hex().encode())
    (folder / "run.sh").chmod(0o755)
    (folder / "package" / "größe 尺寸.py").write_bytes(os.urandom(200_000))
    (folder / "package" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    (folder / ".gitignore").write_text("__pycache__/\n")
    sent: list[int] = []

    first = upload_snapshot(connection, folder, on_bytes=sent.append)
    again = upload_snapshot(connection, folder, on_bytes=sent.append)

    files = connection.get(connection.path("snapshots", first["id"], "files"))["items"]
    assert {file["path"]: file["executable"] for file in files} == {
        ".gitignore": False,
        "package/größe 尺寸.py": False,
        "run.sh": True,
        "train.py": False,
    }
    assert again["id"] == first["id"]
    assert sum(sent) == first["size_bytes"]


def test_an_upload_goes_on_where_it_broke(
    connection: Connection, door: Door, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(700_000))
    door.cut_after(300_000)
    sent: list[int] = []

    digest = upload_file(connection, path, on_bytes=sent.append)

    assert door.cuts == 1
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sum(sent) == 700_000
    blob = connection.request("GET", connection.path("blobs", digest))
    assert blob.content == path.read_bytes()


def test_a_small_file_is_tried_again_when_one_try_takes_longer_than_an_outage_may(
    connection: Connection, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_bytes(os.urandom(60_000))
    monkeypatch.setattr(uploads, "TRANSFER_RETRY_SECONDS", 0)
    door.cut_after(30_000)

    snapshot = upload_snapshot(connection, tmp_path)

    assert door.cuts == 1
    assert snapshot["size_bytes"] == 60_000


def test_an_upload_waits_out_an_outage_before_its_first_piece(
    connection: Connection, door: Door, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(100_000))
    # Other requests than those of a transfer are not waited for.
    connection.retry_seconds = 0
    door.cut_after(1)

    digest = upload_file(connection, path)

    assert door.cuts == 1
    assert connection.request("GET", connection.path("blobs", digest)).is_success


def test_an_upload_goes_on_in_the_next_process(
    connection: Connection, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(700_000))
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "TRANSFER_RETRY_SECONDS", 0)
        door.shut_after(300_000)
        with pytest.raises(Unreachable):
            upload_file(connection, path)
    door.reopen()

    sent: list[int] = []
    upload_file(connection, path, on_bytes=sent.append)

    assert sent[0] > 0, "it began anew"
    assert sum(sent) == 700_000


def test_a_file_that_shrinks_while_it_is_sent_is_said_to_have_changed(
    connection: Connection, tmp_path: Path
) -> None:
    path = tmp_path / "big.bin"
    path.write_bytes(os.urandom(300_000))

    def shrink(sent: int) -> None:
        if sent:
            os.truncate(path, 100_000)

    with pytest.raises(TransferFailed, match="changed while it was being sent"):
        upload_file(connection, path, on_bytes=shrink)


def test_a_break_after_a_long_time_of_a_slow_download_is_waited_out(
    connection: Connection, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.bin"
    digest = stored(connection, path, os.urandom(900_000))
    target = tmp_path / "there" / "big.bin"
    # The only part has been on its way for longer than an outage may last when it breaks.
    monkeypatch.setattr(downloads, "PART_BYTES", 1 << 20)
    monkeypatch.setattr(downloads, "TRANSFER_RETRY_SECONDS", 1)
    door.delay(0.2)
    door.cut_after(800_000)

    download_file(
        connection, connection.path("blobs", digest), target, size_bytes=900_000, sha256=digest
    )

    assert door.cuts == 1
    assert target.read_bytes() == path.read_bytes()


def test_a_download_goes_on_where_it_broke(
    connection: Connection, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "big.bin"
    digest = stored(connection, path, os.urandom(900_000))
    target = tmp_path / "there" / "big.bin"
    address = connection.path("blobs", digest)
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "TRANSFER_RETRY_SECONDS", 0)
        door.shut_after(500_000)
        with pytest.raises(Unreachable):
            download_file(connection, address, target, size_bytes=900_000, sha256=digest)
    assert not target.exists()
    door.reopen()

    fetched: list[int] = []
    door.cut_after(100_000)
    download_file(
        connection, address, target, size_bytes=900_000, sha256=digest, on_bytes=fetched.append
    )

    assert target.read_bytes() == path.read_bytes()
    assert [entry.name for entry in target.parent.iterdir()] == ["big.bin"]
    assert door.cuts == 2


def test_other_bytes_than_announced_are_not_kept(connection: Connection, tmp_path: Path) -> None:
    path = tmp_path / "file"
    address = connection.path("blobs", stored(connection, path, os.urandom(1000)))
    target = tmp_path / "target"

    with pytest.raises(TransferFailed):
        download_file(connection, address, target, size_bytes=1000, sha256="0" * 64)

    assert not target.exists()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\\..\\x", "C:x", "a\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(TransferFailed):
        safe_target(tmp_path, name)


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "out").symlink_to(tmp_path)
    with pytest.raises(TransferFailed):
        safe_target(tmp_path / "folder", "out/file")


def test_a_link_out_of_the_source_is_refused(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "source" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(TrainwrightError, match="link out of the folder"):
        upload_snapshot(connection, tmp_path / "source")


def test_a_name_that_is_not_utf8_is_refused(connection: Connection, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.py")).write_text("print(1)")
    with pytest.raises(TrainwrightError, match="not UTF-8"):
        upload_snapshot(connection, tmp_path)


@pytest.mark.parametrize("name", ["../../me", "..", "."])
def test_a_name_is_no_way_through_the_path(connection: Connection, name: str) -> None:
    with pytest.raises(ApiProblem) as raised:
        connection.delete(connection.path("runs", name))
    assert raised.value.status in (404, 422)
    assert connection.get(connection.server_path("workspaces", connection.workspace or ""))


def test_lines_end_at_line_feeds_alone(connection: Connection, tmp_path: Path) -> None:
    text = "a\u2028b\u0085c\r\nd\re\nlast"
    address = connection.path("blobs", stored(connection, tmp_path / "text", text.encode()))
    assert list(read_lines(connection, address)) == ["a\u2028b\u0085c", "d\re", "last"]
