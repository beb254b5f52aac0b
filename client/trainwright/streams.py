"""Logs and events as they come: a connection that breaks is taken up where it broke."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
from tenacity import Retrying

from trainwright.connection import Connection, Params
from trainwright.retrying import retrying

TERMINAL = frozenset({"Completed", "Failed", "Canceled"})
"""States of a run that it does not leave."""
FOLLOW_RETRY_SECONDS = 600.0
"""So long an outage may last while something is followed."""
_SILENT_SECONDS = 45.0
"""The server says something every 15 s, so one that is silent for so long is away."""
_POLL_SECONDS = 20
_SSE = "text/event-stream"

Record = dict[str, Any]


def follow_log(
    connection: Connection,
    path: str,
    *,
    params: Params | None = None,
    after: str = "",
    retry_seconds: float = FOLLOW_RETRY_SECONDS,
) -> Iterator[Record]:
    """The lines of a log until it is complete, each once, whatever the network does.

    Args:
        connection: to the server.
        path: of the log: of a run, an image or a deployment.
        params: which lines: `tail`, `since`, `grep`, `node`, `stream` …
        after: the `id` of the last line that one has; '' for none.
        retry_seconds: how long an outage is waited out, anew after each line.

    Yields:
        Records with `id`, `time`, `stream`, `attempt`, `node`, `offset` and `text`.

    Raises:
        ApiProblem: the server refuses.
        Unreachable: the outage lasted longer.
    """
    return _Follower(connection, path, params, after, retry_seconds).records()


def read_log(
    connection: Connection, path: str, *, params: Params | None = None
) -> Iterator[Record]:
    """The lines of a log as it is now, as :func:`follow_log` gives them."""
    for line in read_lines(connection, path, params=params, accept="application/x-ndjson"):
        yield json.loads(line)


def read_lines(
    connection: Connection, path: str, *, params: Params | None = None, accept: str = "*/*"
) -> Iterator[str]:
    """The lines of an answer, as they come.

    Raises:
        ApiProblem: the server refuses.
        Unreachable: the answer broke off.
    """
    try:
        with connection.stream("GET", path, params=params, headers={"Accept": accept}) as response:
            rest = ""
            # The library's own lines end at further characters, which are no ends in JSON or CSV.
            for text in response.iter_text():
                *lines, rest = (rest + text).split("\n")
                yield from (line.removesuffix("\r") for line in lines)
            if rest:
                yield rest
    except httpx2.TransportError as error:
        raise connection.unreachable(error) from error


def follow_events(
    connection: Connection,
    run_id: str,
    *,
    after: int = 0,
    on_idle: Callable[[], None] | None = None,
    retry_seconds: float = FOLLOW_RETRY_SECONDS,
) -> Iterator[Record]:
    """The events of a run until it is over, each once.

    Args:
        connection: to the server.
        run_id: of the run.
        after: `seq` of the last event that one has.
        on_idle: called whenever nothing has happened for some seconds.
        retry_seconds: how long an outage is waited out.

    Yields:
        Events with `seq`, `type`, `status`, `actor`, `reason`, `data`, `created_at`.

    Raises:
        ApiProblem: the server refuses.
        Unreachable: the outage lasted longer.
    """
    path = connection.path("runs", run_id)
    is_over = False
    while not is_over:
        answer = connection.request(
            "GET",
            f"{path}/events",
            params={"after": after, "wait": _POLL_SECONDS},
            retry_seconds=retry_seconds,
        ).json()
        for event in answer["items"]:
            after = event["seq"]
            is_over = event["status"] in TERMINAL
            yield event
        if not answer["items"]:
            # Whoever already has the last event would wait for ever.
            is_over = connection.get(path)["status"] in TERMINAL
            if on_idle is not None:
                on_idle()


class _Follower:
    """Reads one log over as many connections as it takes."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        params: Params | None,
        after: str,
        retry_seconds: float,
    ) -> None:
        self._connection = connection
        self._path = path
        self._params = {**(params or {}), "follow": True}
        self._after = after
        self._retry_seconds = retry_seconds
        self._is_over = False

    def records(self) -> Iterator[Record]:
        while not self._is_over:
            # Each line that came makes a new outage of the next break.
            policy = retrying(self._retry_seconds, self._connection.on_retry)
            try:
                yield from self._some(policy)
            except httpx2.TransportError as error:
                raise self._connection.unreachable(error) from error

    def _some(self, policy: Retrying) -> Iterator[Record]:
        for attempt in policy:
            with attempt:
                has_come = False
                try:
                    for record in self._once():
                        has_come = True
                        yield record
                except httpx2.TransportError:
                    if not has_come:
                        raise

    def _once(self) -> Iterator[Record]:
        headers = {"Accept": _SSE}
        if self._after:
            headers["Last-Event-ID"] = self._after
        with self._connection.stream(
            "GET", self._path, params=self._params, headers=headers, read_seconds=_SILENT_SECONDS
        ) as response:
            if response.status_code == httpx2.codes.NO_CONTENT:
                self._is_over = True
                return
            for event in httpx2.EventSource(response):
                if event.event == "end":
                    self._is_over = True
                    return
                self._after = event.id
                record = event.json()
                assert isinstance(record, dict)
                yield record
        # Closed without an `end`: the server is stopping, and goes on when it is back.
        message = "the server closed the stream"
        raise httpx2.RemoteProtocolError(message)
