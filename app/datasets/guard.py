"""Which addresses a fetch may connect to (server-side request forgery).

The decision about an address is `microsoft-antissrf`'s. Around it: a name is resolved once and
each of its addresses must pass; the connection goes to those very addresses, one after the
other; the `Host` header keeps its port; what the operator opened is opened for that hop only.
"""

import ipaddress
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from AntiSSRF import AntiSSRFError, AntiSSRFPolicy, PolicyConfigOptions
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import ConnectTimeout

from app.datasets.deadline import Deadline
from app.datasets.errors import SourceForbidden, SourceUnreachable, SourceUrlInvalid

MAX_URL_CHARACTERS = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
# IPv4-compatible addresses (RFC 4291, 2.5.5.1) are missing from the library's list.
_ALSO_DENIED = ["::/96"]


@dataclass(frozen=True, slots=True)
class Opening:
    """One entry of the operator's allow-list: a host name or network, and a port or all."""

    host: str
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    port: int | None


def parse_openings(entries: Iterable[str]) -> tuple[Opening, ...]:
    """Read allow-list entries: `host`, `host:port`, `10.0.0.0/8`, `10.0.0.0/8:8080`, `[::1]:80`.

    Raises:
        ValueError: an entry is none of these.
    """
    return tuple(_parse_opening(entry) for entry in entries)


def check_url(url: str) -> str:
    """Return `url` without its fragment when a dataset may be made from it.

    Raises:
        SourceUrlInvalid: not http or https, no host, a user name or password in it, or
            characters that different programs read differently.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise SourceUrlInvalid(
            f"the address is longer than {MAX_URL_CHARACTERS} characters", url=url[:80]
        )
    if any(char <= " " or char in '\\\x7f"<>^`{|}' for char in url):
        raise SourceUrlInvalid(
            "the address has blanks, backslashes or control characters in it", url=_masked(url)
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SourceUrlInvalid("not a valid address", url=_masked(url)) from None
    if parts.scheme not in DEFAULT_PORTS:
        raise SourceUrlInvalid(
            "only addresses that begin with http:// or https:// can be fetched", url=_masked(url)
        )
    if "@" in parts.netloc:
        raise SourceUrlInvalid(
            "the address has a user name or password in it: datasets keep addresses readable"
            " for all, so these are refused",
            url=_masked(url),
        )
    if not parts.hostname or port == 0:
        raise SourceUrlInvalid("the address has no host, or port 0", url=_masked(url))
    return urlunsplit(parts._replace(fragment=""))


class GuardedAdapter(HTTPAdapter):
    """Transport of one fetch: connects only where the guard allows.

    Args:
        openings: what the operator opened.
        deadline: when the whole fetch must be over.
    """

    def __init__(self, *, openings: tuple[Opening, ...], deadline: Deadline) -> None:
        super().__init__(max_retries=0)
        self._openings = openings
        self._pinned = ""
        self.poolmanager.pool_classes_by_scheme = deadline.pool_classes()

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send to the first of the host's addresses that answers.

        Raises:
            SourceForbidden: one of the addresses is not allowed; nothing was connected to.
            SourceUnreachable: the name does not resolve.
        """
        url = str(request.url)
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS[parts.scheme]
        host = str(parts.hostname)
        addresses = resolve(host, port, url=url)
        policy = _policy(self._openings, host=host, port=port, addresses=addresses)
        guard = policy.get_antissrf_session().get_adapter(url)
        for address in addresses:
            _check_address(guard, request, address=address, url=url)
        request.headers["Host"] = parts.netloc
        last: RequestsConnectionError | None = None
        for address in addresses:
            self._pinned = address
            try:
                return super().send(request, stream, timeout, verify, cert, {})
            except (ConnectTimeout, RequestsConnectionError) as error:
                last = error
        assert last is not None
        raise last

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        """Connect to the checked address; TLS still asks for and checks the name."""
        host_params, pool_kwargs = super().build_connection_pool_key_attributes(
            request, verify, cert
        )
        if host_params["scheme"] == "https":
            name = host_params["host"]
            tls: dict[str, Any] = {"assert_hostname": name, "server_hostname": name}
        else:
            tls = {}
        return {**host_params, "host": self._pinned}, {**pool_kwargs, **tls}


def resolve(host: str, port: int, *, url: str) -> list[str]:
    """Return the addresses of `host`, each once, in the system's order of preference.

    Raises:
        SourceUnreachable: there are none.
    """
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise SourceUnreachable(f"the host name {host!r} does not resolve", url=url) from None
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _check_address(guard: Any, request: PreparedRequest, *, address: str, url: str) -> None:
    literal = f"[{address}]" if ":" in address else address
    probe = request.copy()
    probe.url = urlunsplit(urlsplit(url)._replace(netloc=literal))
    try:
        guard.build_connection_pool_key_attributes(probe, True)
    except AntiSSRFError:
        raise SourceForbidden(
            f"{urlsplit(url).netloc} is not a public address; an operator can open it with the"
            " setting TRAINWRIGHT_FETCH_ALLOW",
            url=url,
        ) from None


def _policy(
    openings: tuple[Opening, ...], *, host: str, port: int, addresses: list[str]
) -> AntiSSRFPolicy:
    policy = AntiSSRFPolicy(PolicyConfigOptions.EXTERNAL_ONLY_LATEST)
    policy.add_denied_addresses(_ALSO_DENIED)
    policy.add_xff_header = False
    policy.allow_plain_text_http = True
    for opening in openings:
        if opening.port is not None and opening.port != port:
            continue
        if opening.network is not None:
            policy.add_allowed_addresses([str(opening.network)])
        elif opening.host == host:
            policy.add_allowed_addresses(addresses)
    return policy


def _parse_opening(entry: str) -> Opening:
    text = entry.strip().lower()
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host or (port and not port.isdigit()):
        raise ValueError(f"not a host, host:port or CIDR: {entry!r}")
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        if "/" in host or ":" in host:
            raise ValueError(f"not a host, host:port or CIDR: {entry!r}") from None
        network = None
    return Opening(host=host, network=network, port=int(port) if port else None)


def _masked(url: str) -> str:
    """The address as it may be shown: without what stands before an @."""
    scheme, separator, rest = url.partition("://")
    shown = f"{scheme}{separator}{rest}" if separator else url
    if "@" in shown:
        shown = f"{scheme}://…@{shown.rpartition('@')[2]}"
    return "".join(char if char.isprintable() else "?" for char in shown[:200])
