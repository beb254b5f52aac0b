"""Answers of replicas as callers get them."""

import json
from typing import Any, NamedTuple

from app.deployments.replica_client import ReplicaAnswer
from app.kernel.json import json_bytes
from app.kernel.problems import PROBLEM_JSON

_KEPT_OF_ANSWER = ("Retry-After", "Inference-Header-Content-Length")


class PassedOn(NamedTuple):
    """A replica's answer as the caller gets it."""

    body: bytes
    status: int
    media_type: str
    headers: dict[str, str]


def passed_on(answer: ReplicaAnswer, *, instance: str, request_id: str) -> PassedOn:
    """A replica's answer as the caller gets it; problems are completed.

    Args:
        answer: of the replica.
        instance: path of the request.
        request_id: of the request.
    """
    kept = {key: answer.headers[key] for key in _KEPT_OF_ANSWER if key in answer.headers}
    if answer.status < 400:
        kind = answer.headers.get("Content-Type", "application/json")
        return PassedOn(answer.content, answer.status, kind, kept)
    try:
        problem: dict[str, Any] = dict(json.loads(answer.content))
    except (ValueError, TypeError):
        problem = {"code": "inference_failed", "detail": "The replica failed.", "title": "Failed"}
    problem |= {
        "status": answer.status,
        "instance": instance,
        "request_id": request_id,
        "retryable": answer.status in (429, 503, 504),
    }
    problem.setdefault("errors", [])
    return PassedOn(json_bytes(problem), answer.status, PROBLEM_JSON, kept)
