"""Passing predictions on to a replica, and its answer back."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import Request
from fastapi.responses import Response

from app.auth.signing import Signer
from app.deployments.errors import NotReady
from app.deployments.keys import replica_token
from app.deployments.repository import Answering, Target
from app.kernel.json import json_bytes
from app.kernel.problems import PROBLEM_JSON

_ANSWER_SECONDS = 40.0
"""A replica gives up after 30."""
_CONNECT_SECONDS = 2.0
_RETRY_AFTER_SECONDS = 1
_turn = itertools.count()


@asynccontextmanager
async def scoring_client() -> AsyncIterator[httpx2.AsyncClient]:
    """The pool of connections to replicas; one per API process."""
    async with httpx2.AsyncClient(
        timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=256, max_keepalive_connections=64),
        trust_env=False,
    ) as client:
        yield client


async def score(
    client: httpx2.AsyncClient, signer: Signer, *, target: Target, body: bytes, request: Request
) -> Response:
    """Have a replica predict; one that is gone is passed over for the next.

    Args:
        client: from `scoring_client`.
        signer: makes the replicas' tokens.
        target: the deployment and its replicas.
        body: of the request, passed on as it is.
        request: for the problem document of a refusal.

    Raises:
        NotReady: no replica could be reached.
    """
    for replica in _in_turn(target.replicas):
        token = replica_token(signer, replica.name, made_at=replica.created_at)
        try:
            answer = await client.post(
                f"http://{replica.address}:{replica.port}/v1/predict",
                content=body,
                headers={
                    "Authorization": f"Bearer {token}",
                    "Content-Type": "application/json",
                },
            )
        except httpx2.TransportError:
            continue  # predictions change nothing: another replica may be asked
        if answer.status_code == 401:
            continue  # another process got the port of a replica that has just ended
        return _passed_on(answer, request)
    raise NotReady(_why(target), retry_after_seconds=_RETRY_AFTER_SECONDS)


def _in_turn(replicas: tuple[Answering, ...]) -> tuple[Answering, ...]:
    if not replicas:
        return ()
    first = next(_turn) % len(replicas)
    return replicas[first:] + replicas[:first]


def _passed_on(answer: httpx2.Response, request: Request) -> Response:
    if answer.status_code < 400:
        return Response(answer.content, media_type="application/json")
    try:
        problem: dict[str, Any] = dict(json.loads(answer.content))
    except (ValueError, TypeError):
        problem = {"code": "inference_failed", "detail": "The replica failed.", "title": "Failed"}
    problem |= {
        "status": answer.status_code,
        "instance": request.url.path,
        "request_id": request.scope.get("state", {}).get("request_id", ""),
        "retryable": answer.status_code == 503,
    }
    problem.setdefault("errors", [])
    kept = {key: answer.headers[key] for key in ("Retry-After",) if key in answer.headers}
    return Response(json_bytes(problem), answer.status_code, media_type=PROBLEM_JSON, headers=kept)


def _why(target: Target) -> str:
    row = target.deployment
    if row.deleting:
        return f"Deployment {row.name!r} is being deleted."
    cause = f" {row.error['message']}" if row.error else ""
    return f"Deployment {row.name!r} is {row.state}: no replica can answer now.{cause}"
