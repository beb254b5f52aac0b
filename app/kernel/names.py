"""The names that users may give to things."""

from typing import Annotated

from fastapi import Path
from pydantic import StringConstraints

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
WORKSPACE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{1,31}$"

ThingName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
WorkspaceName = Annotated[str, StringConstraints(pattern=WORKSPACE_PATTERN)]

# Dataset and experiment names of v1 scripts contain blanks ("mnist dataset").
TITLE_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,126}[A-Za-z0-9._-])?$"
TitleName = Annotated[str, StringConstraints(pattern=TITLE_PATTERN)]

NamePath = Annotated[str, Path(pattern=NAME_PATTERN)]
TitlePath = Annotated[str, Path(pattern=TITLE_PATTERN)]

Tags = dict[
    Annotated[str, StringConstraints(min_length=1, max_length=100)],
    Annotated[str, StringConstraints(max_length=1000)],
]
