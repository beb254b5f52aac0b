"""One guarded transfer from a web address, over as many connections as it takes."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Generic, Protocol, TypeVar
from urllib.parse import urljoin

from requests import Request, Response, Session
from requests.exceptions import InvalidURL, RequestException
from requests.exceptions import SSLError as RequestsSSLError
from requests.exceptions import Timeout as RequestsTimeout
from urllib3.exceptions import HTTPError as Urllib3Error
from urllib3.exceptions import ProtocolError
from urllib3.exceptions import TimeoutError as Urllib3Timeout

from app.datasets.deadline import Deadline
from app.datasets.errors import (
    SourceError,
    SourceIncomplete,
    SourceRedirects,
    SourceRefused,
    SourceTimeout,
    SourceTooLarge,
    SourceUnreachable,
    SourceUrlInvalid,
)
from app.datasets.fetched import Validators
from app.datasets.guard import GuardedAdapter, check_url
from app.datasets.source import FetchPolicy
from app.kernel.plain_text import mended
from app.storage.errors import ObjectTooLarge

CHUNK_BYTES = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")


class Sink(Protocol):
    """Where the bytes go; `app.storage.writer.ObjectWriter` is one."""

    size_bytes: int

    def write(self, chunk: bytes) -> None:
        """Take bytes."""

    def discard(self) -> None:
        """Throw away what came."""


S = TypeVar("S", bound=Sink)


class Transfer(Generic[S]):
    """The state of one fetch: what came so far, and of which state of the file.

    Args:
        url: a checked address.
        policy: the bounds.
        deadline: running already.
        new_sink: makes an empty sink; called again when a transfer must start anew.
        known: what the caller has already, to be told when the file is still that.
    """

    def __init__(
        self,
        url: str,
        *,
        policy: FetchPolicy,
        deadline: Deadline,
        new_sink: Callable[[], S],
        known: Validators | None = None,
    ) -> None:
        self._url = url
        self._policy = policy
        self._deadline = deadline
        self._new_sink = new_sink
        self._known = known
        self.sink = new_sink()
        self.validators = Validators()

    def run(self) -> bool:
        """Receive what is missing over one connection; False when the file is the known one.

        Raises:
            SourceError: a transient one may be answered by calling again, which resumes.
        """
        if self._deadline.is_over:
            raise self._too_slow()
        with self._translated(), Session() as session:
            session.trust_env = False  # no proxies or passwords from the operator's files
            adapter = GuardedAdapter(openings=self._policy.openings, deadline=self._deadline)
            session.mount("http://", adapter)
            session.mount("https://", adapter)
            with closing(self._open(session)) as response:
                if response.status_code == 304 and self._known is not None:
                    return False
                if not self._accept(response):
                    return False
                self._receive(response)
        return True

    def _open(self, session: Session) -> Response:
        url = self._url
        headers = self._headers()
        for _ in range(self._policy.max_redirects + 1):
            response = session.send(
                Request("GET", url, headers=headers).prepare(),
                allow_redirects=False,
                stream=True,
                timeout=(self._policy.connect_seconds, self._policy.idle_seconds),
                verify=True if self._policy.ca_file is None else str(self._policy.ca_file),
            )
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            location = response.headers.get("Location", "")
            if not location:
                raise SourceRedirects("redirected without saying where to", url=self._url)
            url = check_url(urljoin(url, location))
        raise SourceRedirects(
            f"redirected more than {self._policy.max_redirects} times", url=self._url
        )

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "*/*",
            "Accept-Encoding": "identity",
            "User-Agent": "trainwright",
            "Connection": "close",
        }
        tag = self.validators.resume_tag
        if self.sink.size_bytes and tag:
            return headers | {"Range": f"bytes={self.sink.size_bytes}-", "If-Range": tag}
        if self._known is not None and self._known.strong_etag:
            headers["If-None-Match"] = self._known.strong_etag
        return headers

    def _accept(self, response: Response) -> bool:
        """Judge status and headers; False when they say that the file is the known one."""
        status = response.status_code
        if status == 206 and self.sink.size_bytes:
            self._check_continuation(response)
            return True
        if status == 416:
            self._start_anew()
            raise SourceUnreachable("the file changed while it was being read", url=self._url)
        if status in _TRANSIENT:
            raise SourceUnreachable(f"the server answered {status}", url=self._url)
        if status != 200:
            raise SourceRefused(f"the server answered {status}", url=self._url)
        self._start_anew()
        self.validators = _validators(response)
        if self._known is not None and self._known.is_same_file(self.validators):
            return False
        size_bytes = self.validators.size_bytes
        if size_bytes is not None and size_bytes > self._policy.max_bytes:
            raise ObjectTooLarge(max_bytes=self._policy.max_bytes)
        return True

    def _check_continuation(self, response: Response) -> None:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        etag = response.headers.get("ETag", self.validators.etag)
        is_next = match is not None and int(match[1]) == self.sink.size_bytes
        is_same = (
            match is not None
            and etag == self.validators.etag
            and self.validators.size_bytes in (None, int(match[2]))
        )
        if not is_next or not is_same:
            self._start_anew()
            raise SourceUnreachable("the file changed while it was being read", url=self._url)

    def _start_anew(self) -> None:
        self.validators = Validators()
        if self.sink.size_bytes:
            self.sink.discard()
            self.sink = self._new_sink()

    def _receive(self, response: Response) -> None:
        # Not more than one read of the socket each time, so that the deadline is looked at.
        while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
            if self._deadline.is_over:
                raise self._too_slow()
            self.sink.write(chunk)
        if self._deadline.is_over:
            raise self._too_slow()
        announced = self.validators.size_bytes
        if announced is None:
            # A connection that ends within the headers looks just like an empty file.
            if not self.sink.size_bytes and "Transfer-Encoding" not in response.headers:
                raise SourceIncomplete("nothing came, and no length either", url=self._url)
        elif self.sink.size_bytes != announced:
            raise SourceIncomplete(
                f"{self.sink.size_bytes} bytes came where the server announced {announced}",
                url=self._url,
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn what the libraries raise into our errors."""
        try:
            yield
        except ObjectTooLarge:
            raise SourceTooLarge(
                f"larger than the {self._policy.max_bytes} bytes allowed", url=self._url
            ) from None
        except SourceError as error:
            if error.url == self._url:
                raise
            raise type(error)(
                f"it redirects to {error.url}: {error.detail}", url=self._url
            ) from None
        except InvalidURL:
            raise SourceUrlInvalid("not a valid address", url=self._url) from None
        except (RequestException, Urllib3Error, OSError) as error:
            raise self._failed(error) from error
        except ValueError as error:
            # A length of thousands of digits, a place to go on that is no address.
            raise SourceRefused("its answer makes no sense", url=self._url) from error

    def _failed(self, error: Exception) -> SourceError:
        if self._deadline.is_over:
            return self._too_slow()
        if isinstance(error, RequestsTimeout | Urllib3Timeout | TimeoutError):
            words = f"nothing came for {self._policy.idle_seconds:g} s"
            return SourceTimeout(words, url=self._url)
        if isinstance(error, RequestsSSLError):
            return SourceRefused("its TLS certificate could not be checked", url=self._url)
        if isinstance(error, ProtocolError):
            words = f"the connection broke off after {self.sink.size_bytes} bytes"
            return SourceIncomplete(words, url=self._url)
        return SourceUnreachable("the connection failed", url=self._url)

    def _too_slow(self) -> SourceTimeout:
        return SourceTimeout(f"took longer than {self._policy.total_seconds:g} s", url=self._url)


def _validators(response: Response) -> Validators:
    length = response.headers.get("Content-Length", "")
    return Validators(
        etag=_keepable(response.headers.get("ETag", "")),
        last_modified=_keepable(response.headers.get("Last-Modified", "")),
        size_bytes=int(length) if length.isdecimal() else None,
    )


def _keepable(text: str) -> str:
    """What a server said, or nothing, if it cannot be written down."""
    return text if text == mended(text) else ""
