"""The HTTP face of a replica: readiness, and prediction in three protocols."""

from __future__ import annotations

import asyncio
import hmac
import logging
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .batching import Batcher, Limits
from .decode import Request as Inputs
from .decode import decode_request
from .encode import dump, encode_answer, parse_json
from .model import Model, ModelFailedError, ModelRefusedError
from .open_inference import HEADER_LENGTH, decode_inference, describe_model, encode_inference
from .problems import Problem
from .tensorflow_serving import (
    METHODS,
    decode_examples,
    describe_metadata,
    describe_status,
    encode_result,
)

_STUCK_FACTOR = 2.0
_log = logging.getLogger("serving")


@dataclass(frozen=True)
class Served:
    """What a replica is told about its model and its limits.

    Attributes:
        model: name of the model, as protocols name it.
        version: of the model.
        token: what callers must carry.
        max_body_bytes: of a request.
        deadline_seconds: after which a request is given up.
    """

    model: str
    version: str
    token: str
    max_body_bytes: int
    deadline_seconds: float


class Replica:
    """State of this program: loading, then ready with a model."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self._model: Optional[Model] = None
        self._batcher: Optional[Batcher] = None

    def start(self, model: Model, limits: Limits) -> None:
        """Take predictions from now on."""
        self._batcher = Batcher(model.run, limits)
        self._model = model

    @property
    def model(self) -> Model:
        """The model.

        Raises:
            Problem: 503 while it is loading.
        """
        return self._started()[0]

    def describe(self) -> Dict[str, Any]:
        """Return the signature that is served, and the others.

        Raises:
            Problem: 503 while the model is loading.
        """
        model = self.model
        return {
            "ready": True,
            "signature": model.signatures[model.default].as_json(),
            "signatures": {name: each.as_json() for name, each in model.signatures.items()},
            "runtime": model.runtime,
        }

    def check_live(self) -> None:
        """Raise a 503 when a call of the model runs far longer than any request waits for it."""
        limit = _STUCK_FACTOR * self.served.deadline_seconds
        if self._batcher is not None and self._batcher.longest_seconds > limit:
            raise Problem(503, "model_stuck", f"A call of the model runs for over {limit:g} s.")

    def check_token(self, request: Request) -> None:
        """Raise a 401 unless the request carries this replica's token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        is_ours = hmac.compare_digest(given.encode(), self.served.token.encode())
        if scheme.lower() != "bearer" or not is_ours:
            raise Problem(401, "unauthorized", "This replica's token is needed.")

    def check_model(self, name: str, version: Optional[str]) -> None:
        """Raise a 404 unless this model, and this version of it, is served here."""
        own = self.served
        if name != own.model or version not in (None, own.version):
            raise Problem(
                404,
                "unknown_model",
                f"This deployment serves version {own.version} of the model {own.model!r}.",
            )

    async def run(self, request: Inputs) -> Dict[str, Any]:
        """Return the outputs for one request.

        Raises:
            Problem: for every way in which this can fail.
        """
        _, batcher = self._started()
        seconds = self.served.deadline_seconds
        try:
            return await asyncio.wait_for(batcher.predict(request), seconds)
        except asyncio.TimeoutError as error:
            raise Problem(
                504,
                "deadline_exceeded",
                f"No answer within {seconds:g} seconds.",
                headers={"Retry-After": "1"},
            ) from error
        except ModelRefusedError as error:
            raise Problem(400, "model_refused", str(error)) from error
        except ModelFailedError as error:
            _log.exception("inference failed")
            raise Problem(500, "inference_failed", str(error)) from error

    def _started(self) -> tuple[Model, Batcher]:
        if self._model is None or self._batcher is None:
            raise Problem(
                503, "model_loading", "The model is loading.", headers={"Retry-After": "1"}
            )
        return self._model, self._batcher


def create_app(replica: Replica) -> Starlette:
    """Build the application: readiness, ``/v1/predict``, and the protocols' own addresses.

    `POST /v1/predict` takes what `…/score` takes; `/v1/models/…` is TensorFlow Serving's REST
    interface, `/v2…` the Open Inference Protocol.
    """

    async def ready(request: Request) -> Response:
        return JSONResponse(replica.describe())

    async def live(request: Request) -> Response:
        replica.check_live()
        return JSONResponse({"live": True})

    async def predict(request: Request) -> Response:
        body = await _entered(replica, request)
        return await _predict(replica, body)

    return Starlette(
        routes=[
            Route("/v1/ready", ready, methods=["GET"]),
            Route("/v1/live", live, methods=["GET"]),
            Route("/v1/predict", predict, methods=["POST"]),
            *serving_routes(replica),
            *open_inference_routes(replica),
        ],
        exception_handlers={Problem: _render, ClientDisconnect: _gone},
    )


def serving_routes(replica: Replica) -> List[Route]:
    """Routes of TensorFlow Serving's REST interface."""
    served = replica.served

    async def call(request: Request) -> Response:
        body = await _entered(replica, request)
        verb = request.path_params["verb"]
        if verb == "predict":
            return await _predict(replica, body)
        if verb not in METHODS:
            raise Problem(404, "unknown_method", f"There is no method {verb!r}.")
        model = replica.model
        inputs = decode_examples(parse_json(body), model.signatures, model.default, verb)
        return _json(encode_result(verb, await replica.run(inputs)))

    async def status(request: Request) -> Response:
        await _entered(replica, request)
        return _json(describe_status(served.version))

    async def metadata(request: Request) -> Response:
        await _entered(replica, request)
        signatures = replica.model.signatures
        return _json(describe_metadata(signatures, model=served.model, version=served.version))

    below = "/v1/models/{model}"
    return [
        Route(place + end, endpoint, methods=[method])
        for end, endpoint, method in (
            (":{verb}", call, "POST"),
            ("/metadata", metadata, "GET"),
            ("", status, "GET"),
        )
        for place in (below + "/versions/{version}", below)
    ]


def open_inference_routes(replica: Replica) -> List[Route]:
    """Routes of the Open Inference Protocol."""
    served = replica.served

    async def server(request: Request) -> Response:
        await _entered(replica, request)
        extensions = ["binary_tensor_data"]
        runtime = replica.model.runtime.rpartition(" ")[2]
        document = {"name": "trainwright", "version": runtime, "extensions": extensions}
        return _json(document)

    async def is_ready(request: Request) -> Response:
        await _entered(replica, request)
        return _json({"ready": replica.model is not None})

    async def metadata(request: Request) -> Response:
        await _entered(replica, request)
        model = replica.model
        described = describe_model(
            model.signatures[model.default],
            model=served.model,
            version=served.version,
            runtime=model.runtime,
        )
        return _json(described)

    async def infer(request: Request) -> Response:
        body = await _entered(replica, request)
        length = request.headers.get(HEADER_LENGTH)
        model = replica.model
        inference = decode_inference(body, length, model.signatures, model.default)
        outputs = await replica.run(inference.request)
        answer, headers = encode_inference(
            inference, outputs, model=served.model, version=served.version
        )
        return Response(answer, headers=headers)

    below = "/v2/models/{model}"
    routes = [
        Route("/v2", server, methods=["GET"]),
        Route("/v2/health/{what}", is_ready, methods=["GET"]),
    ]
    for place in (below, below + "/versions/{version}"):
        routes += [
            Route(place, metadata, methods=["GET"]),
            Route(place + "/ready", is_ready, methods=["GET"]),
            Route(place + "/infer", infer, methods=["POST"]),
        ]
    return routes


async def _predict(replica: Replica, body: bytes) -> Response:
    model = replica.model
    inputs = decode_request(parse_json(body), model.signatures, model.default)
    answer = encode_answer(inputs.format, inputs.signature, await replica.run(inputs))
    return Response(answer, media_type="application/json")


async def _entered(replica: Replica, request: Request) -> bytes:
    """Return the body of a request that may come in and names this model."""
    replica.check_token(request)
    named = request.path_params
    if "model" in named:
        replica.check_model(named["model"], named.get("version"))
    return await _read_body(request, replica.served.max_body_bytes)


def _json(document: Dict[str, Any]) -> Response:
    return Response(dump(document), media_type="application/json")


async def _read_body(request: Request, max_bytes: int) -> bytes:
    too_large = Problem(413, "body_too_large", f"The body is larger than {max_bytes} bytes.")
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > max_bytes:
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
