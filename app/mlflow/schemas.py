"""What the bodies of MLflow's tracking calls are made of.

Field names and limits are those of MLflow's REST API (its documentation, "REST API"); fields of
later versions are left aside. 64-bit numbers may come as numbers or as texts, and words of a fixed
list as their numbers, as protocol buffers allow.
"""

import posixpath
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from app.kernel.orm import MAX_INTEGER
from app.mlflow.refusals import refused_value

MAX_ENTITIES = 1000
MAX_RESULTS = 50_000
YEAR_9999_MS = 253_370_764_800_000

_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_KEY = re.compile(r"[/\w.\- :]*")
_Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
_View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]


def _numbered(words: Sequence[str]) -> BeforeValidator:
    """Take a word also by its number in protocol buffers, which begin at 1."""

    def read(given: Any) -> Any:
        is_number = isinstance(given, int) and 1 <= given <= len(words)
        return words[given - 1] if is_number else given

    return BeforeValidator(read)


@lru_cache(maxsize=4096)
def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        reason = (
            ": Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), "
            "spaces ( ), colon(:) and slashes (/)."
        )
        raise refused_value(reason)
    # MLflow's servers may keep a key as a file.
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        raise refused_value(resolving(plain))
    return key


def resolving(plain: str) -> str:
    """Why a name that is also another path cannot be.

    Args:
        plain: the other path.
    """
    return (
        ": Names may be treated as files in certain cases, and must not resolve to other names "
        f"when treated as such. This name would resolve to {plain!r}"
    )


Key = Annotated[str, StringConstraints(min_length=1, max_length=250), AfterValidator(_checked_key)]
# Over-long values are cut, as MLflow's servers do: a script does not fail for them.
# Null is a value that was left out, as in all of protocol buffers' JSON.
_Left = BeforeValidator(lambda value: "" if value is None else value)
_LeftStep = BeforeValidator(lambda value: 0 if value is None else value)
Text = Annotated[str, _Left]
ParamValue = Annotated[str, _Left, AfterValidator(lambda value: value[:_LONGEST_PARAM])]
TagValue = Annotated[str, _Left, AfterValidator(lambda value: value[:_LONGEST_TAG])]
Milliseconds = Annotated[int, Field(ge=0, le=YEAR_9999_MS)]
Int64 = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Step = Annotated[Int64, _LeftStep]
RunName = TagValue
"""A run's name is one of its tags as well, and clients send both."""
RunStatus = Annotated[_Status, _numbered(get_args(_Status))]
ViewType = Annotated[_View, _numbered(get_args(_View))]


class Sent(BaseModel):
    """Something that a client sends."""

    model_config = ConfigDict(extra="ignore")


class Body(Sent):
    """What is sent with a call; null is a field that was left out."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, sent: Any) -> Any:
        if isinstance(sent, dict):
            return {key: value for key, value in sent.items() if value is not None}
        return sent


class TagSent(Sent):
    """A tag."""

    key: Key
    value: TagValue = ""


class FirstTagSent(TagSent):
    """A tag that a run begins with; MLflow's servers look at keys only later."""

    key: str = Field(min_length=1, max_length=250)


class ParamSent(Sent):
    """A parameter."""

    key: Key
    value: ParamValue = ""
