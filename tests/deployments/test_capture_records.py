"""Captured predictions as lines: whatever callers sent, each is one line of JSON."""

import base64
import json

import pytest

from app.deployments.capture_records import Body, Record, as_lines
from app.kernel.clock import utc_now

DEEP = b"[" * 300 + b"]" * 300


def line(content: bytes, header: str | None) -> dict[str, object]:
    body = Body(content, len(content), header)
    record = Record(
        at=utc_now(), request_id="r", model_version="1", is_shadow=False, path="v1", status=400,
        seconds=0.1, request=body, response=Body(b"{}", 2, None),
    )  # fmt: skip
    (found,) = as_lines([record]).splitlines()
    document: dict[str, object] = json.loads(found)
    return document


def test_a_document_of_many_lines_is_one() -> None:
    assert line(b'{\n "a": [1,\n 2.5]}', None)["request"] == {"a": [1, 2.5]}


@pytest.mark.parametrize("header", ["99999999999999999999", "9" * 5000, "-1", "x", "\u0663"])
def test_a_length_that_cannot_be_is_left_out(header: str) -> None:
    kept = line(b"\xff\x00", header)["request"]
    assert kept == {"b64": base64.b64encode(b"\xff\x00").decode()}


def test_the_length_of_the_json_before_tensors_is_kept() -> None:
    assert line(b"{}\x00\x00", "2")["request"] == {"b64": "e30AAA==", "json_bytes": 2}


@pytest.mark.parametrize("content", [DEEP, b"[" * 5000, b"NaN", b'"\\ud800"'])
def test_what_cannot_be_written_as_json_is_kept_as_bytes(content: bytes) -> None:
    assert line(content, None)["request"] == {"b64": base64.b64encode(content).decode()}
