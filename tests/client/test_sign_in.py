"""`trainwright login` through a browser, with a real provider of OpenID Connect."""

import json
import shlex
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.auth.provider import TestProvider, running_provider
from tests.client.program import Program
from tests.served import Served, served_api

# Stands for a browser: goes where it is sent, with cookies, as somebody whom the provider knows.
BROWSER = """
import sys
import httpx2

with httpx2.Client(trust_env=False, follow_redirects=True, timeout=30) as browser:
    print(browser.get(sys.argv[1] + "&login_hint=" + sys.argv[2]).text, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestProvider]:
    """Return a provider that runs."""
    with running_provider(tmp_path_factory.mktemp("provider")) as found:
        yield found


@pytest.fixture(scope="module")
def served_with_sign_in(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    broker_url: str,
    provider: TestProvider,
) -> Iterator[Served]:
    """Return a server whose users sign in with the provider."""
    folder = tmp_path_factory.mktemp("sign-in").resolve()
    settings = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": "trainwright",
        "oidc_create_users": True,
    }
    with served_api(folder, postgres_url, broker_url, **settings) as server:
        yield server


def browser(folder: Path, person: str) -> str:
    """Return the command of a browser in which this person sits."""
    program = folder / "browser.py"
    program.write_text(BROWSER)
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(program))} %s {person}"


def test_a_browser_signs_in(
    served_with_sign_in: Served, provider: TestProvider, home: Path, tmp_path: Path
) -> None:
    person = f"alice-{uuid.uuid4().hex[:8]}"
    provider.people(**{person: {"preferred_username": person}})
    program = Program(home, tmp_path, {"BROWSER": browser(tmp_path, person)})

    done = program.run("login", served_with_sign_in.address)

    assert f"as {person}" in done.stderr
    me = json.loads(program.run("whoami", "--json").stdout)
    assert me["name"] == person
    assert (home / ".config" / "trainwright" / "settings.json").stat().st_mode & 0o077 == 0


def test_a_token_is_taken_there_as_well(
    served_with_sign_in: Served, home: Path, tmp_path: Path
) -> None:
    program = Program(home, tmp_path, {})
    token = f"{served_with_sign_in.token}\n"
    program.run("login", served_with_sign_in.address, "--with-token", given=token)
    assert json.loads(program.run("whoami", "--json").stdout)["kind"] == "user"
