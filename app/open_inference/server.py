"""The Open Inference Protocol over gRPC: a door of its own in front of the API.

Every call is passed on to the deployment's address over HTTP, with the caller's own credential: who
may, limits, routing and the log are the API's, and replicas need to know nothing of gRPC.
"""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import quote

import grpc
import httpx2
import typer
from grpc import StatusCode
from grpc.aio import ServicerContext

from app.kernel.config import get_settings
from app.open_inference.messages import SERVICE, message_class
from app.open_inference.translate import (
    HEADER_LENGTH,
    UntranslatableError,
    infer_body,
    infer_response,
    metadata_response,
)

DEPLOYMENT_KEY = "trainwright-deployment"
"""Metadata that names the deployment: workspace/deployment."""
_PASSED_ON = ("authorization", "traceparent", "tracestate", "x-request-id")
_DEPLOYMENT = re.compile(r"[\w-]+/[\w-]+", re.ASCII)
_CODES = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    413: StatusCode.INVALID_ARGUMENT,
    429: StatusCode.RESOURCE_EXHAUSTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
}
_STOP_SECONDS = 5.0
_MOST_SECONDS = 660.0
"""Longer than any deployment lets a request take."""
_MOST_CALLS = 256
"""So many at a time; more are told to come again (RESOURCE_EXHAUSTED)."""
_ENVELOPE_BYTES = 64 * 1024
Method = Callable[[Any, ServicerContext[Any, Any]], Awaitable[Any]]


class Door:
    """The methods of the service; each takes its message and gives the one that answers it."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def server_live(self, request: Any, context: ServicerContext[Any, Any]) -> Any:
        """Whether the API answers; needs no credential."""
        answer = await self._send(context, "GET", "/healthz")
        return message_class("ServerLiveResponse")(live=answer.is_success)

    async def server_ready(self, request: Any, context: ServicerContext[Any, Any]) -> Any:
        """Whether the API can serve; needs no credential."""
        answer = await self._send(context, "GET", "/readyz")
        return message_class("ServerReadyResponse")(ready=answer.is_success)

    async def model_ready(self, request: Any, context: ServicerContext[Any, Any]) -> Any:
        """Whether a replica of the deployment serves this model."""
        path = f"{await _model_path(request.name, request.version, context)}/ready"
        answer = await self._send(context, "GET", path)
        if answer.status_code != 503:
            await _check(answer, context)
        return message_class("ModelReadyResponse")(ready=answer.is_success)

    async def server_metadata(self, request: Any, context: ServicerContext[Any, Any]) -> Any:
        """What serves the deployment."""
        answer = await self._send(context, "GET", await _deployment_path(context))
        document = await _check(answer, context)
        return message_class("ServerMetadataResponse")(
            name=document["name"], version=document["version"]
        )

    async def model_metadata(self, request: Any, context: ServicerContext[Any, Any]) -> Any:
        """Inputs and outputs of the model."""
        path = await _model_path(request.name, request.version, context)
        return metadata_response(await _check(await self._send(context, "GET", path), context))

    async def model_infer(self, request: Any, context: ServicerContext[Any, Any]) -> Any:
        """Predict."""
        path = await _model_path(request.model_name, request.model_version, context)
        if not any(key == "authorization" for key, _ in context.invocation_metadata() or ()):
            # Before it is translated: what names no key is refused in any case.
            await context.abort(
                StatusCode.UNAUTHENTICATED,
                "Send the deployment's key or a token in the metadata: authorization: Bearer KEY.",
            )
        try:
            # In a thread: large messages take long, and all other calls would wait.
            body, length = await asyncio.to_thread(infer_body, request)
        except UntranslatableError as error:
            await context.abort(StatusCode.INVALID_ARGUMENT, str(error))
        headers = {HEADER_LENGTH: str(length), "Content-Type": "application/octet-stream"}
        answer = await self._send(context, "POST", f"{path}/infer", body=body, headers=headers)
        if not answer.is_success:
            await _check(answer, context)
        length_header = answer.headers.get(HEADER_LENGTH)
        return await asyncio.to_thread(infer_response, answer.content, length_header)

    async def _send(
        self,
        context: ServicerContext[Any, Any],
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        given = {
            key: value if isinstance(value, str) else value.decode("latin-1")
            for key, value in context.invocation_metadata() or ()
            if key in _PASSED_ON
        }
        try:
            return await self._client.request(
                method, path, content=body, headers={**given, **(headers or {})}
            )
        except httpx2.TransportError:
            await context.abort(StatusCode.UNAVAILABLE, "The API cannot be reached.")
            raise  # abort has ended the call


async def _deployment_path(context: ServicerContext[Any, Any]) -> str:
    metadata = dict(context.invocation_metadata() or ())
    named = metadata.get(DEPLOYMENT_KEY, "")
    if not isinstance(named, str) or not _DEPLOYMENT.fullmatch(named):
        await context.abort(
            StatusCode.INVALID_ARGUMENT,
            f"Name the deployment in the metadata: {DEPLOYMENT_KEY}: WORKSPACE/DEPLOYMENT.",
        )
    workspace, _, deployment = str(named).partition("/")
    return f"/v1/workspaces/{workspace}/deployments/{deployment}/v2"


async def _model_path(name: str, version: str, context: ServicerContext[Any, Any]) -> str:
    path = f"{await _deployment_path(context)}/models/{quote(name, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


async def _check(answer: httpx2.Response, context: ServicerContext[Any, Any]) -> Any:
    """The document of a good answer; else the call ends with the problem as its status."""
    try:
        document = answer.json()
    except ValueError:
        document = {}
    if answer.is_success:
        return document
    code = _CODES.get(answer.status_code, StatusCode.INTERNAL)
    detail = document.get("detail", f"The API answered {answer.status_code}.")
    return await context.abort(code, f"{document.get('code', 'failed')}: {detail}")


def make_server(door: Door, *, max_body_bytes: int) -> grpc.aio.Server:
    """A server of the service, without a port."""
    options = [
        ("grpc.max_receive_message_length", max_body_bytes + _ENVELOPE_BYTES),
        ("grpc.max_send_message_length", -1),
        # A second door on the same port would take some of the calls, and nobody would be told.
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options, maximum_concurrent_rpcs=_MOST_CALLS)
    methods: dict[str, Method] = {
        "ServerLive": door.server_live,
        "ServerReady": door.server_ready,
        "ModelReady": door.model_ready,
        "ServerMetadata": door.server_metadata,
        "ModelMetadata": door.model_metadata,
        "ModelInfer": door.model_infer,
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            method,
            request_deserializer=message_class(f"{name}Request").FromString,
            response_serializer=message_class(f"{name}Response").SerializeToString,
        )
        for name, method in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    return server


async def serve(address: str, api: str, *, max_body_bytes: int) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        address: ``host:port`` to listen on.
        api: address of the API.
        max_body_bytes: of a request.

    Raises:
        RuntimeError: it cannot listen there.
    """
    limits = httpx2.Limits(max_connections=512, max_keepalive_connections=128)
    async with httpx2.AsyncClient(
        base_url=api, limits=limits, timeout=_MOST_SECONDS, trust_env=False
    ) as client:
        server = make_server(Door(client), max_body_bytes=max_body_bytes)
        server.add_insecure_port(address)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await server.start()
        await stop.wait()
        await server.stop(_STOP_SECONDS)


def main(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8473,
    api: Annotated[str, typer.Option(help="Address of the API.")] = "http://127.0.0.1:8470",
) -> None:
    """Speak the Open Inference Protocol over gRPC; calls are passed on to the API."""
    max_body_bytes = get_settings().max_body_bytes
    asyncio.run(serve(f"{host}:{port}", api, max_body_bytes=max_body_bytes))


if __name__ == "__main__":
    typer.run(main)
