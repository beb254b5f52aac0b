"""`login`, `logout`, `whoami`."""

import sys
import threading
import webbrowser
from typing import Annotated

import typer

from trainwright.commands.output import AsJson, print_facts, print_json, say
from trainwright.commands.session import connect, given
from trainwright.connection import Connection
from trainwright.errors import TrainwrightError
from trainwright.settings import UserSettings, clean_url, find_place
from trainwright.sign_in import sign_in, sign_in_offer
from trainwright.texts import clean

_LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


def login(
    url: Annotated[
        str | None, typer.Argument(help="Address of the server, such as https://host:8470.")
    ] = None,
    *,
    with_token: Annotated[
        bool, typer.Option("--with-token", help="Read a token from standard input.")
    ] = False,
) -> None:
    """Sign in to a server with a browser or a token, and use that server from now on.

    The token is kept readable for you alone.
    """
    user = UserSettings()
    address = clean_url(url or given.url or _known_url(user))
    if address.startswith("http://") and not address.startswith(_LOOPBACK):
        say(f"warning: {address} is without TLS: others on the way can read the token.")
    token = sys.stdin.readline().strip() if with_token else _token_of(address)
    if not token.isascii() or not token.isprintable() or not token:
        raise TrainwrightError("This is no token.", hint="It looks like twt_….")
    with Connection(address, token=token, retry_seconds=given.retry_seconds) as server:
        me = server.get(server.server_path("me"))
    user.log_in(address, token)
    say(f"Logged in to {address} as {me['name']}. The token is in {user.path}.")


def logout(
    url: Annotated[str | None, typer.Argument(help="Absent: the server in use.")] = None,
) -> None:
    """Forget the token that is kept for a server. The token itself stays valid."""
    user = UserSettings()
    address = clean_url(url or given.url or _known_url(user))
    if user.log_out(address):
        say(f"Logged out of {address}.")
    else:
        say(f"There was no token for {address}.")


def whoami(*, as_json: AsJson = False) -> None:
    """Show which server, user and workspace commands are about."""
    with connect() as server:
        me = server.get(server.server_path("me"))
        if as_json:
            print_json({"url": server.url, "workspace": server.workspace, **me})
            return
        print_facts(
            [
                ("server", server.url),
                ("user", me["name"]),
                ("kind", me["kind"]),
                ("workspace", server.workspace or "none is chosen"),
            ]
        )


def _known_url(user: UserSettings) -> str:
    return find_place(user=user, token="-").url  # noqa: S106 -- stands for none at all


def _token_of(address: str) -> str:
    with Connection(address, retry_seconds=given.retry_seconds) as server:
        offer = sign_in_offer(server)
        if offer is None:
            return _asked_token(address)
        return str(sign_in(server, offer, visit=_visit)["token"])


def _visit(address: str) -> None:
    say("Sign in with your browser. If it does not open, go to:")
    # In one piece, so that it can be copied.
    typer.echo(clean(address), err=True)
    # Some browsers return only when they are closed, and we have to answer them before that.
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()


def _asked_token(address: str) -> str:
    if not sys.stdin.isatty():
        raise TrainwrightError(
            "There is no terminal to ask for the token.",
            hint="Give it with --with-token on standard input, or set TRAINWRIGHT_TOKEN.",
        )
    answer: str = typer.prompt(f"Token for {address}", hide_input=True, err=True)
    return answer.strip()
