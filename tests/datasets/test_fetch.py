"""Fetching survives bad servers and bad networks, and says what was wrong."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.datasets.errors import (
    ContentChanged,
    SourceForbidden,
    SourceIncomplete,
    SourceRedirects,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreachable,
    SourceUrlInvalid,
)
from app.datasets.fetch import fetch_into, revalidate
from app.datasets.fetched import FetchedFile, Unchanged, Validators
from app.datasets.guard import parse_openings
from app.datasets.source import FetchPolicy
from app.storage.objects import ObjectStore
from tests.datasets.web import Page, Web, web_server

DATA = os.urandom(700_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
OPEN = FetchPolicy(
    openings=parse_openings(["127.0.0.1"]),
    total_seconds=20,
    idle_seconds=5,
    connect_seconds=2,
    backoff_seconds=0.01,
)


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as web:
        yield web


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "objects")


def incoming(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "objects" / "incoming").iterdir())


def with_policy(**changes: object) -> FetchPolicy:
    fields = {name: getattr(OPEN, name) for name in FetchPolicy.__dataclass_fields__}
    return FetchPolicy(**{**fields, **changes})


def test_a_file_arrives_with_what_the_server_said_of_it(web: Web, store: ObjectStore) -> None:
    url = web.add("/d/f.gz", DATA, etag='"v1"', last_modified="Mon, 01 Jan 2024 00:00:00 GMT")
    fetched = fetch_into(store, url, policy=OPEN)
    assert fetched == FetchedFile(
        url=url,
        size_bytes=len(DATA),
        sha256=SHA256,
        etag='"v1"',
        last_modified="Mon, 01 Jan 2024 00:00:00 GMT",
    )
    path = store.local_path(SHA256)
    assert path is not None
    assert path.read_bytes() == DATA
    headers = web.requests[0][1]
    assert headers["host"] == web.netloc
    assert not {"authorization", "cookie", "x-forwarded-for"} & set(headers)


def test_bytes_are_stored_as_they_lie_on_the_server(web: Web, store: ObjectStore) -> None:
    url = web.add("/f.gz", DATA, headers={"Content-Encoding": "gzip"})
    assert fetch_into(store, url, policy=OPEN).sha256 == SHA256


@pytest.mark.fault(47)
def test_a_body_that_breaks_off_is_resumed(web: Web, store: ObjectStore, tmp_path: Path) -> None:
    url = web.add("/f", DATA, etag='"v1"', drop_after_bytes=[300_000, 100_000])
    assert fetch_into(store, url, policy=OPEN).sha256 == SHA256
    assert [headers.get("range") for _, headers in web.requests] == [
        None,
        "bytes=300000-",
        "bytes=400000-",
    ]
    assert web.requests[1][1]["if-range"] == '"v1"'
    assert not incoming(tmp_path)


@pytest.mark.parametrize("behaviour", [{"ranges": False, "etag": '"v1"'}, {}, {"etag": 'W/"v1"'}])
def test_without_safe_resuming_it_starts_again(
    web: Web, store: ObjectStore, tmp_path: Path, behaviour: dict[str, object]
) -> None:
    url = web.add("/f", DATA, drop_after_bytes=[300_000], **behaviour)
    assert fetch_into(store, url, policy=OPEN).sha256 == SHA256
    assert not incoming(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_never_mixed(web: Web, store: ObjectStore) -> None:
    other = os.urandom(len(DATA))

    def change(page: Page) -> None:
        if len(web.requests) == 2:
            page.body, page.etag = other, '"v2"'

    url = web.add("/f", DATA, etag='"v1"', drop_after_bytes=[300_000], before=change)
    fetched = fetch_into(store, url, policy=OPEN)
    assert fetched.sha256 == hashlib.sha256(other).hexdigest()
    assert fetched.etag == '"v2"'


def test_a_connection_that_breaks_off_in_the_headers_is_no_empty_file(
    web: Web, store: ObjectStore
) -> None:
    url = web.add("/f", DATA, raw=b"HTTP/1.1 200 OK\r\nConte")
    with pytest.raises(SourceIncomplete):
        fetch_into(store, url, policy=OPEN)


@pytest.mark.fault(47)
def test_too_few_bytes_are_an_error(web: Web, store: ObjectStore, tmp_path: Path) -> None:
    url = web.add("/f", DATA, content_length=len(DATA) + 5)
    with pytest.raises((SourceIncomplete, SourceUnreachable)) as caught:
        fetch_into(store, url, policy=OPEN)
    assert caught.value.extensions["url"] == url
    assert not incoming(tmp_path)
    assert not store.local_path(SHA256)


def test_a_chunked_body_that_breaks_off_is_an_error(web: Web, store: ObjectStore) -> None:
    chunked = b"5\r\nhello\r\n5\r\nwor"
    url = web.add("/f", chunked, headers={"Transfer-Encoding": "chunked"})
    with pytest.raises(SourceUnreachable):
        fetch_into(store, url, policy=OPEN)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
def test_passing_failures_are_retried(web: Web, store: ObjectStore, status: int) -> None:
    url = web.add("/f", DATA, statuses=[status, status])
    assert fetch_into(store, url, policy=OPEN).sha256 == SHA256


@pytest.mark.parametrize("status", [401, 403, 404, 410, 204])
def test_final_answers_are_not_retried(web: Web, store: ObjectStore, status: int) -> None:
    url = web.add("/f", status=status)
    with pytest.raises(SourceRefused, match=str(status)):
        fetch_into(store, url, policy=OPEN)
    assert len(web.requests) == 1


def test_a_server_that_is_away_is_unreachable(store: ObjectStore) -> None:
    with web_server() as gone:
        url = gone.url("/f")
    with pytest.raises(SourceUnreachable) as caught:
        fetch_into(store, url, policy=OPEN)
    assert caught.value.retryable
    assert "0x" not in caught.value.detail  # no object of a library leaks


@pytest.mark.parametrize("length", [None, 10])
@pytest.mark.fault(47)
def test_size_limit(web: Web, store: ObjectStore, tmp_path: Path, length: int | None) -> None:
    headers = {"Transfer-Encoding": "chunked"} if length is None else {}
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(DATA), DATA) if length is None else DATA
    url = web.add("/f", body, headers=headers)
    with pytest.raises(SourceTooLarge):
        fetch_into(store, url, policy=with_policy(max_bytes=100_000))
    assert not incoming(tmp_path)


@pytest.mark.parametrize("drip_head", [False, True])
@pytest.mark.fault(47)
def test_dripping_servers_end_at_the_deadline(
    web: Web, store: ObjectStore, tmp_path: Path, drip_head: bool
) -> None:
    url = web.add("/f", DATA, drip_seconds=0.05, drip_head=drip_head)
    started = time.monotonic()
    with pytest.raises(SourceTimeout):
        fetch_into(store, url, policy=with_policy(total_seconds=1, idle_seconds=0.5))
    assert time.monotonic() - started < 15
    assert not incoming(tmp_path)


def test_silent_servers_end_at_the_idle_limit(web: Web, store: ObjectStore) -> None:
    url = web.add("/f", DATA, drip_seconds=3)
    started = time.monotonic()
    with pytest.raises(SourceTimeout):
        fetch_into(store, url, policy=with_policy(idle_seconds=0.2, attempts=2))
    assert time.monotonic() - started < 15


def test_redirects_are_followed(web: Web, store: ObjectStore) -> None:
    web.add("/real", DATA)
    url = web.add("/f", status=302, headers={"Location": "real"})
    assert fetch_into(store, url, policy=OPEN).sha256 == SHA256


@pytest.mark.parametrize(
    "head",
    [
        f"200 OK\r\nContent-Length: {'1' * 5000}",
        "302 Found\r\nLocation: http://[",
    ],
)
def test_answers_that_make_no_sense_are_refused(web: Web, store: ObjectStore, head: str) -> None:
    url = web.add("/f", raw=f"HTTP/1.1 {head}\r\n\r\n".encode())
    with pytest.raises(SourceRefused, match="no sense"):
        fetch_into(store, url, policy=OPEN)


def test_a_tag_that_cannot_be_kept_counts_as_none(web: Web, store: ObjectStore) -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "a\0b"\r\nContent-Length: 1\r\n\r\nx'
    assert fetch_into(store, web.add("/f", raw=head), policy=OPEN).etag == ""


@pytest.mark.fault(47)
def test_redirect_loops_end(web: Web, store: ObjectStore) -> None:
    url = web.add("/f", status=302, headers={"Location": "/f"})
    with pytest.raises(SourceRedirects):
        fetch_into(store, url, policy=OPEN)
    assert len(web.requests) == OPEN.max_redirects + 1


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.2]/",
        "http://127.0.0.2:1/",
        "http://10.0.0.1/",
    ],
)
def test_redirects_into_private_networks_are_refused(
    web: Web, store: ObjectStore, target: str
) -> None:
    url = web.add("/f", status=302, headers={"Location": target})
    with pytest.raises(SourceForbidden):
        fetch_into(store, url, policy=OPEN)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://x/", "http://a:b@127.0.0.1/"])
def test_redirects_to_other_schemes_are_refused(web: Web, store: ObjectStore, target: str) -> None:
    url = web.add("/f", status=302, headers={"Location": target})
    with pytest.raises(SourceUrlInvalid):
        fetch_into(store, url, policy=OPEN)


def test_a_wrong_digest_is_noticed(web: Web, store: ObjectStore, tmp_path: Path) -> None:
    url = web.add("/f", DATA)
    with pytest.raises(ContentChanged) as caught:
        fetch_into(store, url, policy=OPEN, expected_sha256="0" * 64)
    assert caught.value.found.sha256 == SHA256
    assert not incoming(tmp_path)
    assert not store.local_path(SHA256)


def test_proxies_and_netrc_of_the_environment_are_not_used(
    web: Web, store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    url = web.add("/f", DATA)
    assert fetch_into(store, url, policy=OPEN).sha256 == SHA256
    assert "authorization" not in web.requests[0][1]


def test_revalidating_by_etag_reads_no_body(web: Web) -> None:
    url = web.add("/f", DATA, etag='"v1"')
    known = Validators(etag='"v1"', size_bytes=len(DATA))
    assert revalidate(url, known=known, policy=OPEN) == Unchanged(url=url)
    assert web.requests[0][1]["if-none-match"] == '"v1"'


def test_revalidating_by_size_and_time(web: Web) -> None:
    date = "Mon, 01 Jan 2024 00:00:00 GMT"
    url = web.add("/f", DATA, last_modified=date)
    known = Validators(last_modified=date, size_bytes=len(DATA))
    assert revalidate(url, known=known, policy=OPEN) == Unchanged(url=url)
    later = Validators(last_modified=date.replace("2024", "2023"), size_bytes=len(DATA))
    found = revalidate(url, known=later, policy=OPEN)
    assert isinstance(found, FetchedFile)
    assert found.sha256 == SHA256


@pytest.mark.parametrize("etag", ["", 'W/"v1"'])
def test_changed_content_of_the_same_size_is_hashed(web: Web, etag: str) -> None:
    other = os.urandom(len(DATA))
    url = web.add("/f", other, etag=etag)
    found = revalidate(url, known=Validators(etag=etag, size_bytes=len(DATA)), policy=OPEN)
    assert isinstance(found, FetchedFile)
    assert found.sha256 == hashlib.sha256(other).hexdigest()
