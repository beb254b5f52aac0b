"""No address that a user gives leads into a private network."""

import socket
from pathlib import Path
from typing import Any

import pytest

from app.datasets.errors import SourceError, SourceForbidden, SourceUrlInvalid
from app.datasets.fetch import fetch_into
from app.datasets.guard import check_url, parse_openings
from app.datasets.source import FetchPolicy
from app.storage.objects import ObjectStore
from tests.datasets.web import Web, web_server

CLOSED = FetchPolicy(attempts=1, total_seconds=10, connect_seconds=1)


def fetch(tmp_path: Path, url: str, *allow: str) -> None:
    policy = FetchPolicy(
        openings=parse_openings(allow), attempts=1, total_seconds=10, connect_seconds=1
    )
    fetch_into(ObjectStore(tmp_path / "objects"), url, policy=policy)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "127.0.0.2",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "2130706433",
        "0x7f000001",
        "0",
        "0.0.0.0",  # noqa: S104
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "168.63.129.16",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "１２７.0.0.1",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_private_addresses_are_refused_in_every_spelling(
    tmp_path: Path, scheme: str, host: str
) -> None:
    with web_server() as web:
        web.add("/f", b"secret")
        with pytest.raises(SourceError) as caught:
            fetch(tmp_path, f"{scheme}://{host}:{web.port}/f")
    assert caught.value.code in ("source_forbidden", "source_unreachable", "source_url_invalid")
    assert not web.requests


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0177.0.0.1", "[::ffff:127.0.0.1]"])
def test_the_reason_is_told(tmp_path: Path, host: str) -> None:
    with pytest.raises(SourceForbidden, match="TRAINWRIGHT_FETCH_ALLOW"):
        fetch(tmp_path, f"http://{host}/f")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "f",
        "/etc/passwd",
        "//host/f",
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "gopher://host/",
        "ftp://host/f",
        "s3://bucket/f",
        "data:text/plain,x",
        "simplecache::http://host/f",
        "http:///f",
        "http://",
        "http://user@host/f",
        "http://user:secret@host/f",
        "http://127.0.0.1@host/f",
        "http://host\\@other/f",
        "http://ho st/f",
        "http://host/f\r\nX-Evil: 1",
        "http://host:0/f",
        "http://host:99999/f",
        "http://host:port/f",
        "http://[::1/f",
        "http://host/" + "x" * 3000,
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(SourceUrlInvalid) as caught:
        check_url(url)
    assert "secret" not in f"{caught.value.detail}{caught.value.extensions}"


def test_fragments_are_dropped() -> None:
    assert check_url("https://host/f?a=b#part") == "https://host/f?a=b"


@pytest.mark.parametrize(
    "allow", ["127.0.0.1", "127.0.0.1:{port}", "127.0.0.0/8", "127.0.0.0/8:{port}"]
)
def test_the_operator_can_open_private_addresses(tmp_path: Path, allow: str) -> None:
    with web_server() as web:
        fetch(tmp_path, web.add("/f", b"open"), allow.format(port=web.port))


def test_a_host_name_can_be_opened(tmp_path: Path) -> None:
    with web_server() as web:
        web.add("/f", b"open")
        fetch(tmp_path, web.url("/f", host="localhost"), f"localhost:{web.port}")


@pytest.mark.parametrize("allow", ["127.0.0.1:1", "127.0.0.2", "other", "10.0.0.0/8", "[::1]"])
def test_what_is_opened_is_no_more_than_said(tmp_path: Path, allow: str) -> None:
    with web_server() as web:
        url = web.add("/f", b"closed")
        with pytest.raises(SourceForbidden):
            fetch(tmp_path, url, allow)
    assert not web.requests


@pytest.mark.parametrize("entry", ["", ":80", "host:port", "10.0.0.0/99", "a/b", "::1:80:zz"])
def test_allow_entries_that_mean_nothing_are_errors(entry: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        parse_openings([entry])


def test_a_name_is_resolved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when looked at and private when connected to (rebinding)."""
    answers: list[str] = ["93.184.216.34"]
    asked: list[str] = []
    connected: list[Any] = []
    real = socket.getaddrinfo

    def rebinding(host: str, port: Any, *rest: Any, **more: Any) -> Any:
        if host == "rebind.example":
            asked.append(host)
            return real(answers.pop(0) if answers else "127.0.0.1", port, *rest, **more)
        return real(host, port, *rest, **more)

    def no_connection(self: socket.socket, address: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(socket.socket, "connect", no_connection)
    with pytest.raises(SourceError):
        fetch(tmp_path, "http://rebind.example/f")
    assert asked == ["rebind.example"]
    assert connected == [("93.184.216.34", 80)]


def test_one_private_address_among_public_ones_refuses_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def both(host: str, port: Any, *_: Any, **__: Any) -> Any:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("93.184.216.34", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(SourceForbidden):
        fetch(tmp_path, "http://two.example/f")


def test_the_fixture_serves(tmp_path: Path) -> None:
    with web_server() as web:
        assert isinstance(web, Web)
        fetch(tmp_path, web.add("/f", b""), "127.0.0.1")
