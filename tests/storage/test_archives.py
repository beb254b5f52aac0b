"""Archives from strangers are read safely or refused with a reason."""

import contextlib
import gzip
import io
import os
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.storage.archives import open_archive
from app.storage.entries import ArchiveLimits
from app.storage.errors import ArchiveRejected, PathRejected

LIMITS = ArchiveLimits()
FILES = {"train.py": b"print('hello')\n", "lib/data.py": b"x = 1\n", "empty": b""}


def member(name: str, data: bytes = b"", **attributes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


def tar_of(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.GNU_FORMAT) as archive:  # type: ignore[call-overload]
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_files(files: dict[str, bytes], mode: str = "w") -> bytes:
    return tar_of(*(member(name, data) for name, data in files.items()), mode=mode)


def read(tmp_path: Path, data: bytes, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    path = tmp_path / "archive"
    path.write_bytes(data)
    with open_archive(path, limits=limits) as archive:
        return {entry.path: b"".join(archive.chunks(entry)) for entry in archive.entries}


def refusal(tmp_path: Path, data: bytes, limits: ArchiveLimits = LIMITS) -> str:
    with pytest.raises((ArchiveRejected, PathRejected)) as caught:
        read(tmp_path, data, limits)
    assert str(tmp_path) not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize(
    "pack",
    [tar_files, lambda files: tar_files(files, "w:gz"), zip_of],
    ids=["tar", "tar.gz", "zip"],
)
def test_files_come_out_as_they_went_in(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes]
) -> None:
    files = {**FILES, "big.bin": os.urandom(2_500_000), "dé/ü.txt": b"x", "x" * 120 + "/y": b"z"}
    assert read(tmp_path, pack(files)) == files


def test_leading_dot_slash_is_dropped_and_a_common_folder_is_kept(tmp_path: Path) -> None:
    data = tar_of(
        member("./", type=tarfile.DIRTYPE),
        member("./src/", type=tarfile.DIRTYPE),
        member("./src/train.py", b"1"),
        member(".//src/./a.py", b"2"),
    )
    assert read(tmp_path, data) == {"src/train.py": b"1", "src/a.py": b"2"}


def test_the_executable_bit_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(tar_of(member("run.sh", mode=0o755), member("data", mode=0o644)))
    with open_archive(path, limits=LIMITS) as archive:
        assert [entry.is_executable for entry in archive.entries] == [True, False]
    info = zipfile.ZipInfo("run.sh")
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o755) << 16
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(info, b"")
    with open_archive(path, limits=LIMITS) as archive:
        assert archive.entries[0].is_executable


@pytest.mark.parametrize("pack", [tar_files, zip_of], ids=["tar", "zip"])
@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["../evil"], "path_traversal"),
        (["a/../../evil"], "path_traversal"),
        (["a/.."], "path_traversal"),
        (["/etc/passwd"], "path_absolute"),
        (["//etc/passwd"], "path_absolute"),
        (["C:/windows/x"], "path_absolute"),
        (["..\\evil"], "path_invalid"),
        (["a\nb"], "path_invalid"),
        (["a\x7fb"], "path_invalid"),
        (["Train.py", "train.py"], "path_case_collision"),
        (["stra\u00dfe", "STRASSE"], "path_case_collision"),
        (["e\u0301", "\u00e9"], "path_case_collision"),
        (["a", "a/b"], "path_conflict"),
        (["x" * 256], "path_too_long"),
        (["/".join(["y" * 200] * 25)], "path_too_long"),
        (["y/" * 100 + "y"], "path_too_deep"),
    ],
)
def test_unsafe_paths_are_refused(
    tmp_path: Path, pack: Callable[[dict[str, bytes]], bytes], names: list[str], code: str
) -> None:
    assert refusal(tmp_path, pack(dict.fromkeys(names, b"x"))) == code


def test_duplicates_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, tar_of(member("a", b"1"), member("./a", b"2"))) == "path_duplicate"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", b"2")
    assert refusal(tmp_path, buffer.getvalue()) == "path_duplicate"


def test_a_nul_in_a_zip_name_is_refused(tmp_path: Path) -> None:
    data = zip_of({"train.py_hidden": b"x"}).replace(b"train.py_", b"train.py\0")
    assert refusal(tmp_path, data) == "path_invalid"


def test_names_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    data = tar_of(member("caf\udce9", b"x"))
    assert refusal(tmp_path, data) == "path_invalid"


@pytest.mark.parametrize(
    "special",
    [
        member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("link", type=tarfile.LNKTYPE, linkname="train.py"),
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("disk", type=tarfile.BLKTYPE, devmajor=8),
        member("pipe", type=tarfile.FIFOTYPE),
        member("odd", type=b"Z"),
    ],
    ids=["symlink", "hardlink", "char", "block", "fifo", "unknown"],
)
def test_anything_but_files_and_folders_is_refused(
    tmp_path: Path, special: tuple[tarfile.TarInfo, bytes]
) -> None:
    data = tar_of(member("train.py", b"x"), special)
    assert refusal(tmp_path, data) == "archive_entry_type"


def test_a_chain_of_links_is_refused(tmp_path: Path) -> None:
    # The shape of CVE-2025-4517: folders and links that only resolve outside once long enough.
    chain = [member("d" * 200, type=tarfile.DIRTYPE)]
    chain += [member(f"l{n}", type=tarfile.SYMTYPE, linkname="d" * 200) for n in range(16)]
    chain += [member("out", type=tarfile.SYMTYPE, linkname="l0/" * 16 + "../" * 20)]
    data = tar_of(*chain, member("out/evil", b"x"))
    assert refusal(tmp_path, data) == "archive_entry_type"


def test_links_in_an_ignored_folder_do_not_matter(tmp_path: Path) -> None:
    data = tar_of(
        member(".amlignore", b".venv/\n"),
        member("train.py", b"x"),
        member(".venv/bin/python", type=tarfile.SYMTYPE, linkname="/usr/bin/python3"),
    )
    assert set(read(tmp_path, data)) == {".amlignore", "train.py"}


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert refusal(tmp_path, buffer.getvalue()) == "archive_entry_type"


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", b"\x1f\x8b", b"PK\x03\x04", os.urandom(4096), b"BZh91AY&SY" + b"x" * 600],
)
def test_rubbish_is_refused(tmp_path: Path, data: bytes) -> None:
    assert refusal(tmp_path, data) in ("unsupported_archive", "archive_malformed")


@pytest.mark.parametrize("data", [tar_files({}), zip_of({}), tar_files({".gitignore": b"*"})])
def test_archives_without_files_are_refused(tmp_path: Path, data: bytes) -> None:
    assert refusal(tmp_path, data) == "archive_empty"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_cut_off_archive_is_refused_wherever_it_is_cut(tmp_path: Path, mode: str) -> None:
    whole = tar_files({f"f{n}": os.urandom(700) for n in range(6)}, mode)
    end = 6 * (512 + 1024) if mode == "w" else len(whole)
    for cut in range(0, end, 512 if mode == "w" else 97):
        assert refusal(tmp_path, whole[:cut]) in ("unsupported_archive", "archive_malformed")


def test_a_damaged_header_in_the_middle_is_refused(tmp_path: Path) -> None:
    data = bytearray(tar_files({"a": b"1", "b": b"2", "c": b"3"}))
    data[1024 + 5] ^= 0xFF
    assert refusal(tmp_path, bytes(data)) == "archive_malformed"


def test_a_damaged_zip_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a": b"0123456789" * 50}, zipfile.ZIP_STORED))
    data[100] ^= 0xFF
    assert refusal(tmp_path, bytes(data)) == "archive_malformed"


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a": b"x"}, zipfile.ZIP_STORED))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    assert refusal(tmp_path, bytes(data)) == "archive_entry_type"


def test_files_and_bytes_are_counted_after_the_ignore_file(tmp_path: Path) -> None:
    limits = ArchiveLimits(max_files=3, max_total_bytes=1000)
    junk = {f"junk/{n}": b"x" * 500 for n in range(10)}
    assert refusal(tmp_path, tar_files({**FILES, **junk}), limits) == "archive_too_many_files"
    kept = {"train.py": b"1", ".amlignore": b"junk/"}
    assert read(tmp_path, tar_files({**junk, **kept}), limits) == kept
    assert refusal(tmp_path, tar_files({"a": b"x" * 1001}), limits) == "archive_too_large"


@pytest.mark.parametrize(
    "rules",
    [b"[z-a]\n", b"\\\n", (b"*a" * 60 + b"\n") * 500, b"\xff"],
    ids=["range", "escape", "too much", "no text"],
)
def test_rules_that_cannot_be_used_are_refused(tmp_path: Path, rules: bytes) -> None:
    data = tar_files({"train.py": b"", ".amlignore": rules})
    assert refusal(tmp_path, data) == "ignore_file_invalid"


def test_amlignore_replaces_gitignore(tmp_path: Path) -> None:
    files = {
        ".gitignore": b"*.py\n",
        ".amlignore": b"# data\n/data/*\n!/data/keep.csv\n*.log\n",
        "train.py": b"",
        "data/big.csv": b"",
        "data/keep.csv": b"",
        "sub/run.log": b"",
        ".git/HEAD": b"",
    }
    kept = {".gitignore", ".amlignore", "train.py", "data/keep.csv"}
    assert set(read(tmp_path, tar_files(files))) == kept
    del files[".amlignore"]
    assert set(read(tmp_path, zip_of(files))) == set(files) - {"train.py", ".git/HEAD"}


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(tar_files({"b": data})), None])
def test_bombs_are_refused_quickly_and_in_little_memory(
    tmp_path: Path, pack: Callable[[bytes], bytes] | None
) -> None:
    zeros = bytes(64 * 1024 * 1024)
    data = zip_of({"b": zeros}) if pack is None else pack(zeros)
    del zeros
    tracemalloc.start()
    started = time.monotonic()
    assert refusal(tmp_path, data) == "archive_ratio"
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - started < 60
    assert peak_bytes < 16 * 1024 * 1024


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    data = bytearray(zip_of({"b": bytes(50_000_000)}))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", data, data.index(mark) + offset, 1000)
    assert refusal(tmp_path, bytes(data)) == "archive_malformed"


def test_a_zip_whose_files_overlap_is_refused_by_its_total(tmp_path: Path) -> None:
    # As in Fifield's "better zip bomb": many index entries for the same bytes.
    one = zip_of({"b": os.urandom(1000) * 5000}, zipfile.ZIP_STORED)
    start = one.index(b"PK\x01\x02")
    entry = one[start : one.index(b"PK\x05\x06")]
    index = b"".join(entry[:46] + bytes([65 + n % 26]) + entry[47:] for n in range(150))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 150, 150, len(index), start, 0)
    assert refusal(tmp_path, one[:start] + index + end) == "archive_too_large"


def test_a_million_entries_are_refused_without_listing_them_all(tmp_path: Path) -> None:
    header = member("empty")[0].tobuf(tarfile.GNU_FORMAT)
    data = gzip.compress(header * 1_000_000, compresslevel=1)
    started = time.monotonic()
    code = refusal(tmp_path, data)
    assert code in ("archive_too_many_files", "archive_ratio")
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *[0] * 16) + b""
    index = entry * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 16960, 16960, len(index), 0, 0)
    assert refusal(tmp_path, b"PK\x03\x04" + index + end) == "archive_header_too_large"
    assert time.monotonic() - started < 20


def test_a_long_plain_tar_of_empty_entries_is_refused(tmp_path: Path) -> None:
    header = member("empty")[0].tobuf(tarfile.GNU_FORMAT)
    assert refusal(tmp_path, header * 20_001 + bytes(1024)) == "archive_too_many_files"


def test_headers_that_claim_gigabytes_cost_no_memory(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        header = member("x", type=kind, size=0)[0]
        header.size = 4 * 1024**3
        data = header.tobuf(tarfile.GNU_FORMAT) + bytes(40_000)
        assert refusal(tmp_path, data) == "archive_header_too_large"


def test_endless_chains_of_extended_headers_are_refused(tmp_path: Path) -> None:
    header = member("x", type=tarfile.GNUTYPE_LONGNAME, size=4)[0]
    header.size = 4
    block = header.tobuf(tarfile.GNU_FORMAT) + b"abc\0".ljust(512, b"\0")
    assert refusal(tmp_path, block * 5000) in ("archive_malformed", "archive_too_many_files")


@example(data=b"\x8e", position=319, kind="z")  # an entry that lies before the beginning
@given(data=st.binary(max_size=300), position=st.integers(0, 6000), kind=st.sampled_from("tgz"))
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_damage_ever_escapes_as_another_error(
    tmp_path: Path, data: bytes, position: int, kind: str
) -> None:
    mode = {"t": "w", "g": "w:gz"}.get(kind)
    whole = zip_of(FILES) if mode is None else tar_files(FILES, mode)
    position %= len(whole)
    damaged = whole[:position] + data + whole[position + len(data) :]
    with contextlib.suppress(ArchiveRejected, PathRejected):
        read(tmp_path, damaged)
