"""Captured predictions as lines of JSON. Pure."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

_LENGTH = re.compile("[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Body:
    """What was sent, or came back.

    Attributes:
        content: the bytes; empty where they were too many.
        size_bytes: how many they were.
        json_bytes: how many of them are JSON, before tensors as bytes; None: nobody said.
    """

    content: bytes
    size_bytes: int
    json_bytes: str | None

    def as_json(self) -> Any:
        """The document itself, or the bytes in base64; None: they were too many."""
        if self.size_bytes and not self.content:
            return None
        try:
            # On one line; what is nested deeper than can be written counts as bytes, too.
            return orjson.Fragment(orjson.dumps(orjson.loads(self.content)))
        except (orjson.JSONDecodeError, orjson.JSONEncodeError):
            encoded: dict[str, Any] = {"b64": base64.b64encode(self.content).decode()}
            if self.json_bytes is not None and _LENGTH.fullmatch(self.json_bytes):
                encoded["json_bytes"] = int(self.json_bytes)
            return encoded


@dataclass(frozen=True, slots=True)
class Record:
    """One prediction. Nothing of its headers is kept but what `Body` has.

    Attributes:
        at: when it was answered.
        request_id: of the call.
        model_version: that answered.
        is_shadow: whether it was a copy, whose answer nobody got.
        path: at the replica, which tells the protocol.
        status: of the answer.
        seconds: until the replica's answer.
        request: what was sent.
        response: what came back.
    """

    at: datetime
    request_id: str
    model_version: str
    is_shadow: bool
    path: str
    status: int
    seconds: float
    request: Body
    response: Body

    @property
    def size_bytes(self) -> int:
        """About as much memory it takes."""
        return 512 + len(self.request.content) + len(self.response.content)


def as_lines(records: Sequence[Record]) -> bytes:
    """The records as newline-delimited JSON."""
    return b"".join(orjson.dumps(_document(record)) + b"\n" for record in records)


def _document(record: Record) -> dict[str, Any]:
    return {
        "at": record.at.isoformat(),
        "request_id": record.request_id,
        "model_version": record.model_version,
        "is_shadow": record.is_shadow,
        "path": record.path,
        "status": record.status,
        "seconds": round(record.seconds, 6),
        "request_bytes": record.request.size_bytes,
        "response_bytes": record.response.size_bytes,
        "request": record.request.as_json(),
        "response": record.response.as_json(),
    }
