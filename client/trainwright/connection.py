"""One server, as one user, in one workspace: requests that survive a short outage.

connection = Connection.open()
run = connection.get(connection.path("runs", run_id))
"""

import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from trainwright.errors import ApiProblem, NotConfigured, Unreachable
from trainwright.retrying import OnRetry, retrying
from trainwright.settings import UserSettings, find_place
from trainwright.texts import clean

RETRY_SECONDS = 10.0
_TIMEOUT = httpx2.Timeout(60, connect=10)
Body = bytes | Callable[[], Iterable[bytes]]
"""Bytes, or what gives them anew for each try."""
OnLeftOut = Callable[[list[str]], None]
"""Told of the names, or ids, of what a page leaves out, as it cannot be shown."""
Params = Mapping[str, str | int | float | bool | list[str]]


class Connection:
    """Requests to a server.

    Args:
        url: address of the server, without `/v1`.
        token: '' only where the server asks for none.
        workspace: '' where no workspace is needed.
        retry_seconds: how long an outage is waited out.
        on_retry: told of each failure that is waited out.
        on_left_out: told of each page that leaves something out; None: it is a warning.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        workspace: str = "",
        retry_seconds: float = RETRY_SECONDS,
        on_retry: OnRetry | None = None,
        on_left_out: OnLeftOut | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.workspace = workspace
        self.retry_seconds = retry_seconds
        self.on_retry = on_retry
        self.on_left_out = on_left_out or _warn_of_left_out
        headers = {"User-Agent": f"trainwright/{version('trainwright')}"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx2.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT)

    @classmethod
    def open(
        cls,
        *,
        url: str | None = None,
        token: str | None = None,
        workspace: str | None = None,
        folder: Path | None = None,
        config_file: Path | None = None,
        user: UserSettings | None = None,
        retry_seconds: float = RETRY_SECONDS,
        on_retry: OnRetry | None = None,
        on_left_out: OnLeftOut | None = None,
    ) -> Self:
        """Connect to what is given, set, or kept (:mod:`trainwright.settings`).

        Raises:
            NotConfigured: no server is known.
        """
        place = find_place(
            url=url,
            token=token,
            workspace=workspace,
            folder=folder,
            config_file=config_file,
            user=user,
        )
        return cls(
            place.url,
            token=place.token,
            workspace=place.workspace,
            retry_seconds=retry_seconds,
            on_retry=on_retry,
            on_left_out=on_left_out,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the object is of no use afterwards."""
        self._client.close()

    def path(self, *segments: str | int) -> str:
        """The path of something in the workspace; each segment is one name.

        Raises:
            NotConfigured: no workspace is known.
        """
        if not self.workspace:
            raise NotConfigured(
                "No workspace is chosen.",
                hint="Choose one with `trainwright workspace use NAME`, or with --workspace.",
            )
        return self.server_path("workspaces", self.workspace, *segments)

    def server_path(self, *segments: str | int) -> str:
        """The path of something under `/v1`; each segment is one name."""
        return "/v1/" + "/".join(_quoted(str(segment)) for segment in segments)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: Body | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        retry_seconds: float | None = None,
    ) -> httpx2.Response:
        """Send a request and return the answer, of a status under 400.

        What passes (429, 503, a lost connection …) is tried again, as `Retry-After` says. A POST
        has an `Idempotency-Key`, the same for each try, so that nothing is made twice.

        Args:
            method: of HTTP.
            path: as :meth:`path` or :meth:`server_path` gives it.
            json: body; None: there is none.
            content: body as bytes.
            params: of the query.
            headers: further ones.
            retry_seconds: None: the connection's.

        Raises:
            ApiProblem: the answer is an error.
            Unreachable: there was no answer.
        """
        sent = dict(headers or {})
        if method.upper() == "POST":
            sent.setdefault("Idempotency-Key", str(uuid.uuid4()))

        def once() -> httpx2.Response:
            response = self._client.request(
                method,
                path,
                json=json,
                content=content() if callable(content) else content,
                params=params,
                headers=sent,
            )
            if response.status_code >= 400:
                raise problem_of(response)
            self._refuse_redirect(response)
            return response

        seconds = self.retry_seconds if retry_seconds is None else retry_seconds
        try:
            return retrying(seconds, self.on_retry)(once)
        except httpx2.RequestError as error:
            raise self.unreachable(error) from error

    def get(
        self, path: str, *, params: Params | None = None, retry_seconds: float | None = None
    ) -> Any:
        """GET, and the JSON of the answer."""
        return _json(self.request("GET", path, params=params, retry_seconds=retry_seconds))

    def post(
        self,
        path: str,
        json: Any = None,
        *,
        params: Params | None = None,
        retry_seconds: float | None = None,
    ) -> Any:
        """POST, and the JSON of the answer, None where it has none."""
        found = self.request("POST", path, json=json, params=params, retry_seconds=retry_seconds)
        return _json(found)

    def put(self, path: str, json: Any = None) -> Any:
        """PUT, and the JSON of the answer, None where it has none."""
        return _json(self.request("PUT", path, json=json))

    def patch(self, path: str, json: Any) -> Any:
        """PATCH as a merge patch (RFC 7396), and the JSON of the answer."""
        return _json(self.request("PATCH", path, json=json))

    def delete(self, path: str) -> None:
        """DELETE."""
        self.request("DELETE", path)

    def pages(
        self,
        path: str,
        *,
        params: Params | None = None,
        on_left_out: OnLeftOut | None = None,
    ) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page.

        Args:
            path: of the list.
            params: of the query.
            on_left_out: told of each page that leaves something out; None: the connection's.
        """
        asked = dict(params or {})
        while True:
            page = self.get(path, params=asked)
            if page.get("left_out"):
                (on_left_out or self.on_left_out)(page["left_out"])
            yield from page["items"]
            if not page.get("next_page_token"):
                return
            asked["page_token"] = page["next_page_token"]

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        read_seconds: float | None = None,
    ) -> Iterator[httpx2.Response]:
        """An answer whose body is read as it comes; once: who reads it knows how to go on.

        Args:
            method: of HTTP.
            path: as for :meth:`request`.
            params: of the query.
            headers: further ones.
            read_seconds: how long nothing may come; None: a minute.

        Raises:
            ApiProblem: the answer is an error.
            NotConfigured: the server sends requests elsewhere.
            httpx2.TransportError: the connection failed or broke off.
        """
        timeout = httpx2.Timeout(read_seconds, connect=10) if read_seconds else _TIMEOUT
        with self._client.stream(
            method, path, params=params, headers=headers, timeout=timeout
        ) as response:
            if response.status_code >= 400:
                response.read()
                raise problem_of(response)
            self._refuse_redirect(response)
            yield response

    def _refuse_redirect(self, response: httpx2.Response) -> None:
        if response.has_redirect_location:
            target = response.url.join(response.headers["Location"])
            raise NotConfigured(
                f"{self.url} sends requests elsewhere.",
                hint=f"This one was sent to {target}: log in there.",
            )

    def unreachable(self, error: httpx2.RequestError) -> Unreachable:
        """What a failure of the network is called."""
        words = str(error) or type(error).__name__
        return Unreachable(
            f"{self.url} cannot be reached: {words}",
            hint="Is the server running, and is this its address? `trainwright login` changes it.",
        )


def left_out_text(names: list[str]) -> str:
    """What is said of a page that leaves these out."""
    listed = ", ".join(map(clean, names))
    return f"the list lacks what the server cannot show: {listed}; its log says why"


def _warn_of_left_out(names: list[str]) -> None:
    # The place is of no help: it is whichever call reads the page.
    warnings.warn(left_out_text(names), stacklevel=3)


def problem_of(response: httpx2.Response) -> ApiProblem:
    """The error that an answer of status 400 and above is; its body must have been read."""
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        # Not one of ours: a proxy in between answers in its own way.
        found = {"detail": f"HTTP status {response.status_code} from {response.url.host}"}
    after = _retry_after(response.headers.get("Retry-After", ""))
    return ApiProblem(status=response.status_code, problem=found, retry_after_seconds=after)


def _retry_after(text: str) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _quoted(segment: str) -> str:
    # These two would be taken for a way through the path.
    return segment.replace(".", "%2E") if segment in (".", "..") else quote(segment, safe="")


def _json(response: httpx2.Response) -> Any:
    try:
        return response.json() if response.content else None
    except ValueError:
        raise NotConfigured(
            f"{response.url} is none of a Trainwright server: the answer is no JSON.",
            hint="Is this the server's address? `trainwright login` changes it.",
        ) from None
