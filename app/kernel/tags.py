"""Changes of tags, as a JSON merge patch (RFC 7396) says them."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import StringConstraints

TagChanges = dict[
    Annotated[str, StringConstraints(min_length=1, max_length=100)],
    Annotated[str, StringConstraints(max_length=1000)] | None,
]
"""Tags to set; null removes one."""


def merged_tags(
    tags: Mapping[str, str | None], changes: TagChanges | None
) -> dict[str, str | None]:
    """Tags after a merge patch.

    Args:
        tags: as they are.
        changes: what the patch has for ``tags``; None: it removes them all.
    """
    if changes is None:
        return {}
    removed = {key for key, value in changes.items() if value is None}
    return {key: value for key, value in {**tags, **changes}.items() if key not in removed}
