"""A real provider of OpenID Connect as a process, with keys that a test knows."""

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

_BUILD = Path(__file__).parents[2] / "build"
_PACKAGE = "oidc-provider@8.8.1"
_PROGRAM = Path(__file__).with_name("provider.mjs")
NO_PROVIDER = "there is no npm for a sign-in provider (Debian: nodejs npm)"


class TestProvider:
    """A provider that runs, and what its tokens are signed with."""

    __test__ = False

    def __init__(self, package: Path, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._package = package
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.key = self.rotate()

    def rotate(self) -> RSAKey:
        """Give it a new key; it starts again with it."""
        self.stop()
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
        keys = KeySet([self.key]).as_dict(private=True)
        (self._folder / "keys.json").write_text(json.dumps(keys))
        command = ["node", str(_PROGRAM), str(self._package), str(self.port), str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.keys_asked()
            except httpx2.TransportError:
                assert self._process.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < deadline, "the provider does not answer"
                time.sleep(0.05)
            else:
                return self.key

    def people(self, **people: dict[str, Any]) -> None:
        """Say who they are: claims by subject."""
        (self._folder / "people.json").write_text(json.dumps(people))

    def keys_asked(self) -> int:
        """How often its keys were fetched since its start."""
        with httpx2.Client(trust_env=False) as client:
            return int(client.get(f"{self.issuer}/keys-asked").text)

    def sign(self, *, key: RSAKey | None = None, **claims: Any) -> str:
        """Return a token as the provider would sign it, with claims of the test's choice."""
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "aud": "trainwright",
            "sub": "alice",
            "iat": now,
            "exp": now + 600,
            **claims,
        }
        key = key or self.key
        header = {"alg": "RS256", "kid": key.kid}
        return jwt.encode(header, {name: value for name, value in said.items() if value}, key)

    async def authorize(self, url: str, *, person: str) -> httpx2.URL:
        """Go through the provider's redirects as a browser; return where it sends it back to."""
        async with httpx2.AsyncClient(trust_env=False) as browser:
            answer = await browser.get(f"{url}&login_hint={person}")
            while answer.has_redirect_location:
                target = answer.url.join(answer.headers["location"])
                if target.port != self.port:
                    return target
                answer = await browser.get(target)
        raise AssertionError(answer.text)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Let it take connections and answer nothing for the block."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def query_of(url: httpx2.URL | str) -> dict[str, str]:
    """Return the parameters in an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(str(url)).query).items()}


@contextmanager
def running_provider(folder: Path) -> Iterator[TestProvider]:
    """Run a provider for the block."""
    provider = TestProvider(_package(), folder)
    try:
        yield provider
    finally:
        provider.stop()


def _package() -> Path:
    if shutil.which("npm") is None:
        pytest.skip(NO_PROVIDER)
    folder = _BUILD / "oidc-provider"
    _BUILD.mkdir(exist_ok=True)
    with (_BUILD / ".oidc-provider.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / ".ready"
        if not done.exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text("{}")
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--silent", _PACKAGE],
                cwd=folder,
                check=True,
                timeout=600,
                env={**os.environ, "npm_config_update_notifier": "false"},
            )
            done.touch()
    return folder / "node_modules/oidc-provider"
