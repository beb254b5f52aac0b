"""The names that users may give to things."""

from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

from app.kernel.tags import MOST_TAGS

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
WORKSPACE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{1,31}$"

ThingName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
WorkspaceName = Annotated[str, StringConstraints(pattern=WORKSPACE_PATTERN)]

# Dataset and experiment names of v1 scripts contain blanks ("mnist dataset").
TITLE_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,126}[A-Za-z0-9._-])?$"
TitleName = Annotated[str, StringConstraints(pattern=TITLE_PATTERN)]

NamePath = Annotated[str, Path(pattern=NAME_PATTERN)]
TitlePath = Annotated[str, Path(pattern=TITLE_PATTERN)]


def _as_many_as_may_be(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > MOST_TAGS:
        raise PydanticCustomError(
            "too_many_tags", "At most {most} tags are kept of one thing.", {"most": MOST_TAGS}
        )
    return tags


Tags = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=100)],
        Annotated[str, StringConstraints(max_length=1000)],
    ],
    AfterValidator(_as_many_as_may_be),
]
