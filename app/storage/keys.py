"""How objects are named in a store, wherever it is."""

import re

from app.storage.errors import ObjectMissing

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256 as this store spells it: 64 lower-case hex digits."""
    return _DIGEST.fullmatch(text) is not None


def object_key(sha256: str) -> str:
    """The object's path below the store's root.

    Raises:
        ObjectMissing: that is no SHA-256.
    """
    if not is_sha256(sha256):
        raise ObjectMissing("not a SHA-256 in lower-case hex digits")
    return f"sha256/{sha256[:2]}/{sha256}"
