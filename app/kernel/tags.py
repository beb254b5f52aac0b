"""Changes of tags, as a JSON merge patch (RFC 7396) says them."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from app.kernel.errors import Conflict

TagChanges = dict[
    Annotated[str, StringConstraints(min_length=1, max_length=100)],
    Annotated[str, StringConstraints(max_length=1000)] | None,
]
"""Tags to set; null removes one."""


MOST_TAGS = 1000
"""So many one thing may have."""


class TooManyTags(Conflict):
    """One thing has as many tags or properties as it may have."""

    code = "too_many_tags"


def merged_tags(
    tags: Mapping[str, str | None], changes: Mapping[str, str | None] | None
) -> dict[str, str | None]:
    """Tags after a merge patch.

    Args:
        tags: as they are.
        changes: what the patch has for ``tags``; None: it removes them all.

    Raises:
        TooManyTags: there would be too many, and more than there are.
    """
    if changes is None:
        return {}
    removed = {key for key, value in changes.items() if value is None}
    after = {key: value for key, value in {**tags, **changes}.items() if key not in removed}
    check_count("tags", after, tags)
    return after


def check_count(what: str, after: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """See that a change leaves no more than there may be.

    Raises:
        TooManyTags: it does, and more than before.
    """
    if len(after) > max(MOST_TAGS, len(before)):
        raise TooManyTags(f"At most {MOST_TAGS} {what} are kept of one thing.")
