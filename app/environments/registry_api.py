"""The one call of a registry that engines do not make for us: to delete what is there.

Written by hand because the library for it (python-dxf) sends credentials over TLS only, while a
registry beside the engine is commonly spoken to without. The protocol is that of the distribution
specification: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.utils import parse_dict_header

_TIMEOUT_SECONDS = 30
_GONE = (404,)
_UNSUPPORTED = 405
_NO_DELETION = "The registry does not delete (for Docker's: REGISTRY_STORAGE_DELETE_ENABLED)."
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class RegistryUnavailable(Exception):
    """The registry cannot be reached, or does not do what it is asked."""


class RegistryApi:
    """One registry."""

    def __init__(self, urls: Sequence[str], credentials: dict[str, str] | None) -> None:
        """Use a registry.

        Args:
            urls: where it may be; the first that can be spoken to counts.
            credentials: ``username`` and ``password``, or ``identitytoken``.
        """
        self._urls = urls
        self._credentials = credentials or {}

    def delete_tag(self, repository: str, tag: str) -> None:
        """Delete the manifest that a tag names, and so every tag of it; no error if it is gone.

        Raises:
            RegistryUnavailable: with the registry's words.
        """
        with requests.Session() as session:
            path = f"/v2/{repository}/manifests"
            found = self._ask(session, "HEAD", f"{path}/{tag}", repository)
            if found is None:
                return
            digest = found.headers.get("Docker-Content-Digest", "")
            if not digest:
                raise RegistryUnavailable("The registry does not say which digest the tag has.")
            self._ask(session, "DELETE", f"{path}/{digest}", repository)

    def _ask(
        self, session: requests.Session, method: str, path: str, repository: str
    ) -> requests.Response | None:
        """The registry's answer; None: there is no such thing."""
        errors = []
        for url in self._urls:
            try:
                answer = self._ask_one(session, method, url + path, repository)
            except requests.RequestException as error:
                errors.append(str(error))
                continue
            if answer.status_code in _GONE:
                return None
            if answer.status_code == _UNSUPPORTED:
                raise RegistryUnavailable(_NO_DELETION)
            if not answer.ok:
                said = answer.text.strip()[:500]
                raise RegistryUnavailable(f"{method} {path}: {answer.status_code} {said}")
            return answer
        raise RegistryUnavailable("; ".join(errors))

    def _ask_one(
        self, session: requests.Session, method: str, url: str, repository: str
    ) -> requests.Response:
        headers = {"Accept": _MANIFESTS}
        answer = session.request(method, url, headers=headers, timeout=_TIMEOUT_SECONDS)
        if answer.status_code != requests.codes.unauthorized:
            return answer
        authorization = self._authorization(session, answer, repository)
        if authorization is None:
            return answer
        headers["Authorization"] = authorization
        return session.request(method, url, headers=headers, timeout=_TIMEOUT_SECONDS)

    def _authorization(
        self, session: requests.Session, refused: requests.Response, repository: str
    ) -> str | None:
        """What the challenge of an answer asks for: the password itself, or a token for it."""
        scheme, _, rest = refused.headers.get("WWW-Authenticate", "").partition(" ")
        login = self._login()
        if scheme.lower() == "basic" and login is not None:
            basic = requests.Request("GET", refused.url, auth=login).prepare()
            return basic.headers["Authorization"]
        if scheme.lower() != "bearer":
            return None
        challenge: dict[str, str] = parse_dict_header(rest)  # type: ignore[no-untyped-call]
        scope = f"repository:{repository}:pull,delete"
        query = {"service": challenge.get("service", ""), "scope": scope}
        answer = session.get(challenge["realm"], params=query, auth=login, timeout=_TIMEOUT_SECONDS)
        if not answer.ok:
            return None
        granted = answer.json()
        return f"Bearer {granted.get('token') or granted.get('access_token')}"

    def _login(self) -> tuple[str, str] | None:
        if "username" not in self._credentials:
            return None
        return self._credentials["username"], self._credentials.get("password", "")


def is_insecure(client: Any, host: str) -> bool:
    """Whether the engine may speak to this registry without TLS; asks the engine."""
    known = client.info().get("RegistryConfig") or {}
    entry = (known.get("IndexConfigs") or {}).get(host)
    if entry is not None:
        return not entry["Secure"]
    name = urlsplit(f"//{host}").hostname or ""
    try:
        found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    except OSError:
        return False
    addresses = [ipaddress.ip_address(one[4][0]) for one in found]
    networks = [ipaddress.ip_network(text) for text in known.get("InsecureRegistryCIDRs") or []]
    return any(address in network for address in addresses for network in networks)
