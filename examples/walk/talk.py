"""The walk's client: sends one request, shows the curl command for it, checks the answer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from examples.walk import show

_ANSWER_SECONDS = 120.0


class StepError(Exception):
    """A step of the walk was not answered as it should be; the message says how."""


@dataclass
class Talk:
    """One conversation with one Trainwright.

    Attributes:
        base: address of the server, without ``/v1`` and without a slash at its end.
        token: the bearer token; shown as ``$TOKEN``, never printed.
        is_silent: whether to print nothing (tests and benchmarks).
    """

    base: str
    token: str
    is_silent: bool = False
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=self.base, timeout=_ANSWER_SECONDS, trust_env=False)

    def close(self) -> None:
        """Give the connections back."""
        self.client.close()

    def authorization(self) -> dict[str, str]:
        """The header every request carries."""
        return {"Authorization": f"Bearer {self.token}"}

    def get(self, path: str, *, quiet: bool = False) -> Any:
        """GET a document.

        Raises:
            StepError: the answer is not 200.
        """
        return self.ask("GET", path, quiet=quiet).json()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        headers: dict[str, str] | None = None,
        expect: tuple[int, ...] = (200,),
        quiet: bool = False,
    ) -> httpx2.Response:
        """Send one request with an optional JSON body.

        Args:
            method: the HTTP method.
            path: from ``/v1`` on.
            body: sent as JSON where given.
            headers: beside the token's.
            expect: the statuses that are right.
            quiet: print nothing for this one (a poll).

        Raises:
            StepError: any other status came back, or no answer at all.
        """
        is_loud = not (quiet or self.is_silent)
        if is_loud:
            show.say(show.curl(method, path, body=body, headers=headers))
        response = self._send(method, path, headers=headers, content=None, body=body)
        if is_loud:
            show.answer(response.status_code, response.text)
        return self._checked(response, expect)

    def upload(
        self,
        path: str,
        *,
        file: Path,
        shown_as: str,
        prepare: str = "",
        expect: tuple[int, ...] = (200, 201),
    ) -> Any:
        """PUT a file as the body, as ``curl -T`` does.

        Args:
            path: from ``/v1`` on.
            file: whose bytes are sent.
            shown_as: the file's name in the printed command.
            prepare: the command that made the file, printed before.
            expect: the statuses that are right.

        Raises:
            StepError: any other status came back, or no answer at all.
        """
        if not self.is_silent:
            if prepare:
                show.say(prepare)
            show.say(show.curl("GET", path, options=f" -T {shown_as}"))
        response = self._send("PUT", path, headers=None, content=file.read_bytes(), body=None)
        if not self.is_silent:
            show.answer(response.status_code, response.text)
        return self._checked(response, expect).json()

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None,
        content: bytes | None,
        body: object,
    ) -> httpx2.Response:
        sent = {**self.authorization(), **(headers or {})}
        try:
            return self.client.request(method, path, headers=sent, content=content, json=body)
        except httpx2.TransportError as error:
            raise StepError(f"{method} {path} got no answer: {error!r}") from error

    def _checked(self, response: httpx2.Response, expect: tuple[int, ...]) -> httpx2.Response:
        if response.status_code in expect:
            return response
        request = response.request
        wanted = " or ".join(map(str, expect))
        asked = f"{request.method} {request.url.path}"
        raise StepError(f"{asked} answered {response.status_code}, not {wanted}: {response.text}")


def require(condition: bool, words: str) -> None:
    """Fail the step, with these words, unless the condition holds.

    Raises:
        StepError: it does not.
    """
    if not condition:
        raise StepError(words)
