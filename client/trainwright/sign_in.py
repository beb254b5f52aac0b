"""Signing in with a provider of OpenID Connect, through the user's browser.

Code flow with PKCE (RFC 7636) and a redirect to a loopback address (RFC 8252): the provider sends
the browser back to a port that only this process listens on, and the code that it brings is of no
use without the verifier, which never leaves this process but for the server.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from trainwright.connection import Connection
from trainwright.errors import ApiProblem, TrainwrightError

_WAIT_SECONDS = 300.0
_REQUEST_SECONDS = 5.0
_PATH = "/callback"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class SignInFailed(TrainwrightError):
    """The provider or the user did not go through with it."""


def sign_in_offer(server: Connection) -> dict[str, Any] | None:
    """How a server has its users sign in; None: with tokens only."""
    try:
        offer: dict[str, Any] = server.get(server.server_path("auth", "oidc"))
    except ApiProblem as problem:
        if problem.status in {401, 404}:
            return None
        raise
    return offer


def sign_in(
    server: Connection,
    offer: dict[str, Any],
    *,
    visit: Callable[[str], None],
    wait_seconds: float = _WAIT_SECONDS,
) -> dict[str, Any]:
    """Have the user sign in, and return a token of the server's.

    Args:
        server: it.
        offer: what :func:`sign_in_offer` returned.
        visit: shows an address to the user, in a browser of this machine.
        wait_seconds: so long the user may take.

    Returns:
        `token`, `token_id`, `user`, `expires_at`.

    Raises:
        SignInFailed: it was not gone through with in time.
        ApiProblem: the server does not take it.
    """
    state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
    with _Redirect(state) as redirect:
        visit(_address(offer, redirect.uri, state=state, nonce=nonce, verifier=verifier))
        code = redirect.await_code(wait_seconds)
    body = {
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": redirect.uri,
        "nonce": nonce,
    }
    signed_in: dict[str, Any] = server.post(server.server_path("auth", "token"), body)
    return signed_in


def _address(
    offer: dict[str, Any], redirect_uri: str, *, state: str, nonce: str, verifier: str
) -> str:
    endpoint = str(offer["authorization_endpoint"])
    parts = urlsplit(endpoint)
    is_loopback = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if parts.scheme != "https" and not is_loopback:
        # What a browser does with other schemes is not the server's to choose.
        raise SignInFailed(f"The server names {endpoint!r} to sign in, which is no https address.")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    query = urlencode(
        {
            "response_type": "code",
            "client_id": offer["client_id"],
            "redirect_uri": redirect_uri,
            "scope": offer["scopes"],
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
    )
    return f"{endpoint}{'&' if parts.query else '?'}{query}"


class _Redirect(HTTPServer):
    """Where the provider sends the browser back to."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state
        self.timeout = 0.5
        self.found: dict[str, str] = {}

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{_PATH}"

    def await_code(self, seconds: float) -> str:
        ends_at = time.monotonic() + seconds
        while not self.found:
            if time.monotonic() > ends_at:
                raise SignInFailed(
                    "Nobody signed in.",
                    hint="Without a browser on this machine, give a token: --with-token.",
                )
            self.handle_request()
        if "code" not in self.found:
            words = self.found.get("error_description") or self.found.get("error") or "no code"
            raise SignInFailed(f"The provider did not sign you in: {words}.")
        return self.found["code"]


class _Handler(BaseHTTPRequestHandler):
    """Takes the one request that has our state; whatever else comes finds nothing."""

    server: _Redirect
    timeout = _REQUEST_SECONDS

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        is_ours = secrets.compare_digest(
            query.get("state", "").encode(), self.server.state.encode()
        )
        if parts.path != _PATH or not is_ours:
            self._answer(404, "There is nothing here.")
            return
        self._answer(200, "Go back to the terminal; this window may be closed.")
        self.server.found = query

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Tell nobody: the path has the code in it."""

    def _answer(self, status: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)
