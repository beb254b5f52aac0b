"""The HTTP face of a replica: readiness and prediction, on the loopback interface only."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Any, Dict, Optional

import tensorflow as tf
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .batching import Batcher, Limits
from .decode import decode_request
from .encode import encode_answer, parse_json
from .model import Model, describe_refusal
from .problems import Problem

_log = logging.getLogger("serving")


class Replica:
    """State of this program: loading, then ready with a model."""

    def __init__(self, *, token: str, max_body_bytes: int, deadline_seconds: float) -> None:
        self.max_body_bytes = max_body_bytes
        self.deadline_seconds = deadline_seconds
        self._token = token
        self._model: Optional[Model] = None
        self._batcher: Optional[Batcher] = None

    def start(self, model: Model, limits: Limits) -> None:
        """Take predictions from now on."""
        self._batcher = Batcher(model.run, limits)
        self._model = model

    def describe(self) -> Dict[str, Any]:
        """Return the signature that is served, and the others.

        Raises:
            Problem: 503 while the model is loading.
        """
        model, _ = self._started()
        return {
            "ready": True,
            "signature": model.signatures[model.default].as_json(),
            "signatures": {name: each.as_json() for name, each in model.signatures.items()},
            "tensorflow_version": tf.__version__,
        }

    def check_token(self, request: Request) -> None:
        """Raise a 401 unless the request carries this replica's token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_ours = hmac.compare_digest(given.encode(), self._token.encode())
        if scheme.lower() != "bearer" or not is_ours:
            raise Problem(401, "unauthorized", "This replica's token is needed.")

    async def predict(self, body: bytes) -> bytes:
        """Return the answer to one prediction request.

        Raises:
            Problem: for every way in which this can fail.
        """
        model, batcher = self._started()
        try:
            request = decode_request(parse_json(body), model.signatures, model.default)
        except RecursionError as error:
            raise Problem(400, "invalid_json", "The body is nested too deeply.") from error
        try:
            outputs = await asyncio.wait_for(batcher.predict(request), self.deadline_seconds)
        except asyncio.TimeoutError as error:
            raise Problem(
                504, "deadline_exceeded", f"No answer within {self.deadline_seconds:g} seconds."
            ) from error
        except (
            tf.errors.InvalidArgumentError,
            tf.errors.FailedPreconditionError,
            ValueError,
            TypeError,
        ) as error:
            raise Problem(400, "model_refused", describe_refusal(error)) from error
        except tf.errors.OpError as error:
            _log.exception("inference failed")
            raise Problem(500, "inference_failed", describe_refusal(error)) from error
        return encode_answer(request.format, request.signature, outputs)

    def _started(self) -> tuple[Model, Batcher]:
        if self._model is None or self._batcher is None:
            raise Problem(
                503, "model_loading", "The model is loading.", headers={"Retry-After": "1"}
            )
        return self._model, self._batcher


def create_app(replica: Replica) -> Starlette:
    """Build the application: `GET /v1/ready`, `POST /v1/predict`."""

    async def ready(request: Request) -> Response:
        return JSONResponse(replica.describe())

    async def predict(request: Request) -> Response:
        replica.check_token(request)
        answer = await replica.predict(await _read_body(request, replica.max_body_bytes))
        return Response(answer, media_type="application/json")

    return Starlette(
        routes=[
            Route("/v1/ready", ready, methods=["GET"]),
            Route("/v1/predict", predict, methods=["POST"]),
        ],
        exception_handlers={Problem: _render, ClientDisconnect: _gone},
    )


async def _read_body(request: Request, max_bytes: int) -> bytes:
    too_large = Problem(413, "body_too_large", f"The body is larger than {max_bytes} bytes.")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


async def _render(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return JSONResponse(
        error.body(), error.status, headers=error.headers, media_type="application/problem+json"
    )


async def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)
