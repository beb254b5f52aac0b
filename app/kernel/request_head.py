"""What comes before a body: the address and the header fields, and their limits."""

from typing import NamedTuple

from starlette.types import Scope

from app.kernel.errors import AddressTooLong, BadRequest, DomainError, HeadersTooLarge

MOST_ADDRESS_BYTES = 16 * 1024
MOST_HEADERS = 100
MOST_HEADER_BYTES = 32 * 1024
"""Of all names and values together."""
# Of two of these, different programs on the way believe different ones.
_ONLY_ONCE = frozenset({b"host", b"content-length", b"authorization", b"content-type"})


class Head(NamedTuple):
    """What there is to know of the header fields, from one look through them.

    Attributes:
        fields_bytes: of all names and values together.
        is_doubled: whether a field of which there may be one came more than once.
        host: empty: there is none.
    """

    fields_bytes: int
    is_doubled: bool
    host: str
    origin: str | None
    content_length: str | None


def read_head(scope: Scope) -> Head:
    """Look through the header fields of a request."""
    fields_bytes = 0
    single: list[bytes] = []
    host, origin, content_length = b"", None, None
    for name, value in scope["headers"]:
        fields_bytes += len(name) + len(value)
        if name in _ONLY_ONCE:
            single.append(name)
            if name == b"host":
                host = value
            elif name == b"content-length":
                content_length = value.decode("latin-1")
        elif name == b"origin" and origin is None:
            origin = value.decode("latin-1")
    is_doubled = len(single) != len(set(single))
    return Head(fields_bytes, is_doubled, host.decode("latin-1"), origin, content_length)


def head_refusal(scope: Scope, head: Head) -> DomainError | None:
    """Why a head is refused: a bad address, many or long fields, or two where one may be."""
    if not scope["path"].startswith("/"):
        return BadRequest("The address is no path: it has to begin with /.")
    if "\n" in scope["path"]:
        # Routes would leave it out where it stands last, and find what has a similar name.
        return BadRequest("The address has a line break (%0A), which no name here has.")
    address_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if address_bytes > MOST_ADDRESS_BYTES:
        return AddressTooLong(
            f"The address has {address_bytes} bytes; at most {MOST_ADDRESS_BYTES} are taken."
        )
    count = len(scope["headers"])
    if count > MOST_HEADERS or head.fields_bytes > MOST_HEADER_BYTES:
        return HeadersTooLarge(
            f"There are {count} header fields of {head.fields_bytes} bytes; at most "
            f"{MOST_HEADERS} of together {MOST_HEADER_BYTES} bytes are taken."
        )
    if head.is_doubled:
        return BadRequest("A header field of which there may be one came more than once.")
    return None
