"""What is wrong with a request, in the sentences that MLflow's servers use for it."""

import json
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic_core import PydanticCustomError

from app.mlflow.errors import InvalidParameter

_SAID = "mlflow"
"""The type of errors whose message is a whole sentence already."""
_REASON = "mlflow_reason"
"""The type of errors whose message is why a value cannot be; the place is where it was found."""
_FIRST = ("run_id", "run_uuid", "experiment_id", "name", "key")
"""Which parameter is spoken of when several are wrong."""
_LONGEST_VALUE = 200
_UNPLACED = {"new_name": "name"}
_NUMBER = re.compile(r"-?[0-9]{1,20}")


class MlflowRoute(APIRoute):
    """A route that refuses what it cannot read as MLflow's servers do."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of FastAPI, with other words for what is wrong."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except RequestValidationError as error:
                found = [one for one in error.errors() if _is_of_a_parameter(one)]
                if not found:
                    raise
                raise InvalidParameter(_sentence(min(found, key=_rank))) from error

        return handle


def refusal(sentence: str) -> PydanticCustomError:
    """What a validator raises to have just this said.

    Args:
        sentence: all of it.
    """
    # Braces are places for values there.
    return PydanticCustomError(_SAID, "{sentence}", {"sentence": sentence})


def refused_value(reason: str) -> PydanticCustomError:
    """What a validator raises for a value that cannot be.

    Args:
        reason: why not.
    """
    return PydanticCustomError(_REASON, "{reason}", {"reason": reason})


def invalid_value(path: str, value: Any, reason: str) -> str:
    """The sentence for a value that cannot be.

    Args:
        path: of the parameter.
        value: what was sent.
        reason: why not.
    """
    shown = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    if len(shown) > _LONGEST_VALUE:
        shown = f"{shown[:_LONGEST_VALUE]}…"
    return f"Invalid value {shown} for parameter '{path}' supplied{reason}"


def _is_of_a_parameter(error: Mapping[str, Any]) -> bool:
    return error["type"] == _SAID or (len(error["loc"]) > 1 and error["type"] != "json_invalid")


def _rank(error: Mapping[str, Any]) -> int:
    place = error["loc"][1] if len(error["loc"]) > 1 else ""
    return _FIRST.index(place) if place in _FIRST else len(_FIRST)


def _sentence(error: Mapping[str, Any]) -> str:
    kind, limits = error["type"], error.get("ctx", {})
    given: Any = error.get("input")
    if kind == _SAID:
        return str(error["msg"])
    source, *places = error["loc"]
    path = _path(places)
    if source == "query" and _NUMBER.fullmatch(str(given)):
        given = int(given)
    if kind == "missing" or given is None or given == "":
        return f"Missing value for required parameter '{path}'."
    if kind == _REASON:
        return invalid_value(path, given, str(error["msg"]))
    if kind == "string_too_long":
        # Without the place, as MLflow's servers say it.
        last = _UNPLACED.get(str(places[-1]), places[-1])
        return f"'{last}' exceeds the maximum length of {limits['max_length']} characters"
    if kind == "greater_than_equal" and limits["ge"] == 1:
        return invalid_value(path, given, ". It must be a positive integer")
    if kind == "less_than_equal":
        return invalid_value(path, given, f". It must be at most {limits['le']}")
    return invalid_value(path, given, f": {error['msg']}")


def _path(places: Sequence[str | int]) -> str:
    first, *rest = places
    if first == "metrics" and rest and rest[-1] == "key":
        rest[-1] = "name"
    return str(first) + "".join(
        f"[{place}]" if isinstance(place, int) else f".{place}" for place in rest
    )
