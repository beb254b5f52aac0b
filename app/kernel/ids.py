"""Identifiers: time-ordered, usable in paths, file names and host names."""

import base64

import uuid_utils


def new_id(prefix: str) -> str:
    """A new id such as ``run_0r5x…``: the prefix and a UUIDv7 in 26 base32 characters.

    Ids of one prefix sort by their time of creation (RFC 9562, section 5.7).
    """
    encoded = base64.b32hexencode(uuid_utils.uuid7().bytes).decode("ascii").rstrip("=").lower()
    return f"{prefix}_{encoded}"
