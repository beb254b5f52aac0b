"""Where the server, the token and the workspace come from, and where they are kept.

Each of the three is taken from the first place that has it:

1. what the caller gives;
2. `TRAINWRIGHT_URL`, `TRAINWRIGHT_TOKEN`, `TRAINWRIGHT_WORKSPACE`;
3. `config.json` (or `.azureml/config.json`) in the folder or the nearest one above it, as
   `GET /v1/workspaces/NAME/config` gives it;
4. the user's own settings, which `trainwright login` and `trainwright workspace use` write.

A token belongs to the server it was made by: a `config.json` that came with somebody else's folder
must not be able to name the server that gets it. So a kept token goes only to the address that it
was kept for, and `TRAINWRIGHT_TOKEN` only to a server that the user has named: given, in
`TRAINWRIGHT_URL`, or by the last login.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from platformdirs import user_config_path

from trainwright.errors import NotConfigured

URL_VARIABLE = "TRAINWRIGHT_URL"
TOKEN_VARIABLE = "TRAINWRIGHT_TOKEN"  # noqa: S105 -- the name of a variable
WORKSPACE_VARIABLE = "TRAINWRIGHT_WORKSPACE"
_FOLDER_FILES = ("config.json", ".azureml/config.json")
_MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Place:
    """A server, how to prove who one is there, and the workspace; '' where it is not known."""

    url: str
    token: str
    workspace: str


class UserSettings:
    """The file in the user's configuration folder; it holds tokens, so only the user reads it.

    Args:
        folder: None: the platform's own, such as `~/.config/trainwright`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = (folder or user_config_path("trainwright", appauthor=False)) / "settings.json"

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    @property
    def current_url(self) -> str:
        """The server that was logged in to last."""
        return str(self._read().get("current_url") or "")

    def token(self, url: str) -> str:
        """The token kept for a server, '' when there is none."""
        return str(self._server(url).get("token") or "")

    def workspace(self, url: str) -> str:
        """The workspace chosen at a server, '' when there is none."""
        return str(self._server(url).get("workspace") or "")

    def log_in(self, url: str, token: str) -> None:
        """Keep a token, and take this server from now on."""
        content = self._read()
        content["current_url"] = url
        content.setdefault("servers", {}).setdefault(url, {})["token"] = token
        self._write(content)

    def log_out(self, url: str) -> bool:
        """Forget a server's token; whether there was one."""
        content = self._read()
        had = "token" in self._server(url)
        content.get("servers", {}).pop(url, None)
        if content.get("current_url") == url:
            del content["current_url"]
        self._write(content)
        return had

    def use_workspace(self, url: str, workspace: str) -> None:
        """Take this workspace at this server from now on."""
        content = self._read()
        content.setdefault("servers", {}).setdefault(url, {})["workspace"] = workspace
        self._write(content)

    def _server(self, url: str) -> dict[str, Any]:
        servers = self._read().get("servers")
        found = servers.get(url) if isinstance(servers, dict) else None
        return found if isinstance(found, dict) else {}

    def _read(self) -> dict[str, Any]:
        return _read_object(self._path) if self._path.exists() else {}

    def _write(self, content: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        # Made with its mode, so that it never was readable for others.
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        partial.replace(self._path)


def find_place(
    *,
    url: str | None = None,
    token: str | None = None,
    workspace: str | None = None,
    folder: Path | None = None,
    config_file: Path | None = None,
    user: UserSettings | None = None,
    environment: Mapping[str, str] | None = None,
) -> Place:
    """Say where to go, from what the caller gives and what is set and kept.

    Args:
        url: address of the server; None: look for it.
        token: None: look for it.
        workspace: None: look for it.
        folder: where `config.json` is looked for, and above it; None: the current folder.
        config_file: one instead, whatever it is called; it is believed no more than the other.
        user: the user's settings; None: those of the platform's folder.
        environment: variables; None: those of the process.

    Raises:
        NotConfigured: no server is known, or a file cannot be read.
    """
    environment = os.environ if environment is None else environment
    user = user or UserSettings()
    file = config_file or find_config_file(folder or Path.cwd())
    given = {} if file is None else _read_object(file)
    variable_url = environment.get(URL_VARIABLE) or ""
    found_url = url or variable_url or str(given.get("endpoint") or "") or user.current_url
    if not found_url:
        raise NotConfigured(
            "No server is known.",
            hint=f"Log in with `trainwright login URL`, or set {URL_VARIABLE}.",
        )
    address = clean_url(found_url)
    own = {clean_url(named) for named in (url, variable_url, user.current_url) if named}
    is_same = bool(given.get("endpoint")) and clean_url(str(given["endpoint"])) == address
    return Place(
        url=address,
        token=token or _token(address, environment, user, is_own=address in own),
        workspace=workspace
        or environment.get(WORKSPACE_VARIABLE)
        or (str(given.get("workspace_name") or "") if is_same else "")
        or user.workspace(address),
    )


def find_config_file(folder: Path) -> Path | None:
    """Return the nearest `config.json` of a workspace in a folder or above it."""
    for place in (folder.absolute(), *folder.absolute().parents):
        for name in _FOLDER_FILES:
            path = place / name
            if path.is_file() and "workspace_name" in _read_object(path, is_ours=False):
                return path
    return None


def clean_url(url: str) -> str:
    """Return a server's address as tokens are kept under it.

    Raises:
        NotConfigured: it is none.
    """
    text = url.strip()
    text = text if "://" in text else f"https://{text}"
    try:
        address = httpx2.URL(text)
    except httpx2.InvalidURL:
        address = httpx2.URL()
    is_host = (
        bool(address.host) and not {" ", "%"} & set(address.host) and (address.port or 0) < 65_536
    )
    if address.scheme not in {"http", "https"} or not is_host:
        raise NotConfigured(
            f"{url!r} is no address of a server.", hint="It looks like https://host.example:8470."
        )
    if address.userinfo or address.query or address.fragment:
        raise NotConfigured(
            "The address of a server has no user, query or fragment.",
            hint="Give the token to `trainwright login` instead.",
        )
    return str(address).rstrip("/")


def _token(url: str, environment: Mapping[str, str], user: UserSettings, *, is_own: bool) -> str:
    variable = environment.get(TOKEN_VARIABLE) or ""
    if variable and is_own:
        return variable
    kept = user.token(url)
    if variable and not kept:
        raise NotConfigured(
            f"{TOKEN_VARIABLE} is set, but not for which server.",
            hint=f"Set {URL_VARIABLE}={url} as well, if that is where it belongs.",
        )
    return kept


def _read_object(path: Path, *, is_ours: bool = True) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        if not is_ours:
            return {}
        raise NotConfigured(f"{path} cannot be read: {error}", hint="Mend or remove it.") from None
    return content if isinstance(content, dict) else {}
