"""The official Triton client over gRPC, through the door and the API to a serving program."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sqlalchemy import delete, select
from tritonclient import grpc as triton  # type: ignore[import-untyped]
from tritonclient.grpc import service_pb2  # type: ignore[import-untyped]
from tritonclient.utils import InferenceServerException  # type: ignore[import-untyped]

from app.deployments.keys import deployment_keys, replica_token
from app.kernel.clock import utc_now
from app.open_inference.messages import message_class
from app.open_inference.server import Door, make_server
from app.tables.deployment import Deployment, Replica
from app.tables.image import Image
from app.tables.model import Model, ModelVersion
from app.tables.workspace import Workspace
from tests.served import Served, served_api
from tests.serving.program import START_SECONDS, start_program, wait_for_port

pytestmark = pytest.mark.timeout(900)
REPLICA = "tw-dep_grpc-g1-r0-1"


class Caller:
    """The client, and the metadata that its calls carry."""

    def __init__(self, client: Any, deployment: str, key: str) -> None:
        self.client = client
        self.headers = {"trainwright-deployment": deployment, "authorization": f"Bearer {key}"}


async def deploy(served: Served, *, port: int, made_at: Any) -> str:
    """Write the rows of a healthy deployment whose replica listens there; its key."""
    api = served.api
    async with api.database.session() as session:
        found = select(Workspace.id).where(Workspace.name == api.workspace)
        workspace_id = (await session.scalars(found)).one()
        session.add(Image(id="img_grpc", spec={}, state="Ready", python=sys.executable))
        session.add(Model(id="mod_grpc", workspace_id=workspace_id, name="mixed"))
        await session.flush()
        session.add(
            ModelVersion(
                id="mod_grpc-3", model_id="mod_grpc", version=3, framework="TensorFlow",
                kind="saved_model", size_bytes=1, files=[], created_by="test",
            )
        )  # fmt: skip
        await session.flush()
        row = Deployment(
            id="dep_grpc", workspace_id=workspace_id, name="mixed", model_version_id="mod_grpc-3",
            image_id="img_grpc", replica_count=1, state="Healthy",
        )  # fmt: skip
        session.add(row)
        await session.flush()
        session.add(
            Replica(
                name=REPLICA, deployment_id=row.id, generation=1, index=0, state="Serving",
                address="127.0.0.1", port=port, created_at=made_at,
            )
        )  # fmt: skip
        await session.flush()
        await session.refresh(row)
        return deployment_keys(api.app.state.signer, row)["primary"]


async def remove(served: Served) -> None:
    async with served.api.database.session() as session:
        await session.execute(delete(Deployment).where(Deployment.id == "dep_grpc"))
        await session.execute(delete(Model).where(Model.id == "mod_grpc"))
        await session.execute(delete(Image).where(Image.id == "img_grpc"))


def in_loop(served: Served, work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, served.loop).result(60)


@pytest.fixture(scope="module")
def caller(
    tensorflow_python: Path,
    models: Path,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    broker_url: str,
) -> Iterator[Caller]:
    folder = tmp_path_factory.mktemp("grpc").resolve()
    with served_api(folder / "data", postgres_url, broker_url) as served:
        made_at = utc_now()
        token = replica_token(served.api.app.state.signer, REPLICA, made_at=made_at)
        options = ("--model-name", "mixed", "--model-version", "3")
        replica = start_program(tensorflow_python, models / "mixed", folder, *options, token=token)
        key = in_loop(
            served, deploy(served, port=wait_for_port(replica, folder / "port"), made_at=made_at)
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        door = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "grpc", f"--port={port}", f"--api={served.address}"]
        )
        client = triton.InferenceServerClient(f"127.0.0.1:{port}")
        caller = Caller(client, f"{served.api.workspace}/mixed", key)
        try:
            wait_until_ready(caller, door)
            yield caller
            client.close()
            door.terminate()
            assert door.wait(20) == 0
        finally:
            for process in (door, replica):
                process.kill()
                process.wait(10)
            in_loop(served, remove(served))


def wait_until_ready(caller: Caller, door: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert door.poll() is None, "the door ended"
        assert time.monotonic() < deadline, "not ready in time"
        try:
            if caller.client.is_model_ready("mixed", headers=caller.headers):
                return
        except InferenceServerException as error:
            if error.status() != "StatusCode.UNAVAILABLE":
                raise
        time.sleep(0.1)


def tensors() -> list[Any]:
    a, s = triton.InferInput("a", [2, 2], "FP32"), triton.InferInput("s", [2], "BYTES")
    a.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32))
    s.set_data_from_numpy(np.array([b"x", b"hi"], dtype=object))
    return [a, s]


@pytest.mark.slow
def test_tritons_client_infers(caller: Caller) -> None:
    wanted = [triton.InferRequestedOutput(name) for name in ("sum", "upper")]

    answer = caller.client.infer(
        "mixed", tensors(), "3", outputs=wanted, request_id="7", headers=caller.headers
    )

    assert answer.as_numpy("sum").tolist() == [3.0, 7.0]
    assert answer.as_numpy("upper").tolist() == [b"X", b"HI"]
    whole = answer.get_response()
    assert [output.name for output in whole.outputs] == ["sum", "upper"]
    assert (whole.model_name, whole.model_version, whole.id) == ("mixed", "3", "7")


@pytest.mark.slow
def test_values_that_are_written_out_are_taken_as_well(caller: Caller) -> None:
    request = service_pb2.ModelInferRequest(model_name="mixed")
    a = request.inputs.add(name="a", datatype="FP32", shape=[1, 2])
    a.contents.fp32_contents.extend([1.5, 2.0])
    s = request.inputs.add(name="s", datatype="BYTES", shape=[1])
    s.contents.bytes_contents.append(b"yes")

    answer = caller.client._client_stub.ModelInfer(request, metadata=list(caller.headers.items()))

    found = dict(zip([one.name for one in answer.outputs], answer.raw_output_contents, strict=True))
    assert np.frombuffer(found["sum"], "<f4").tolist() == [3.5]
    assert found["upper"] == b"\x03\x00\x00\x00YES"


@pytest.mark.slow
def test_tritons_client_reads_health_and_metadata(caller: Caller) -> None:
    client, headers = caller.client, caller.headers

    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata(headers=headers).name == "trainwright"
    found = client.get_model_metadata("mixed", "3", headers=headers)
    assert [(one.name, one.datatype, list(one.shape)) for one in found.inputs] == [
        ("a", "FP32", [-1, 2]),
        ("s", "BYTES", [-1]),
    ]


@pytest.mark.slow
def test_refusals_have_the_status_and_the_words_of_the_api(caller: Caller) -> None:
    wrong = triton.InferInput("a", [2, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((2, 3), dtype=np.float32))
    named = caller.headers
    elsewhere = named | {"trainwright-deployment": "nowhere/nothing"}
    no_key = {"trainwright-deployment": named["trainwright-deployment"]}
    for model, inputs, headers, status, words in (
        ("mixed", [wrong], named, "INVALID_ARGUMENT", "takes float32 [?, 2], found [2, 3]"),
        ("other", tensors(), named, "NOT_FOUND", "serves version 3 of the model 'mixed'"),
        ("mixed", tensors(), no_key, "UNAUTHENTICATED", ""),
        ("mixed", tensors(), elsewhere, "PERMISSION_DENIED", "key_refused"),
        ("mixed", tensors(), {}, "INVALID_ARGUMENT", "WORKSPACE/DEPLOYMENT"),
    ):
        with pytest.raises(InferenceServerException) as refused:
            caller.client.infer(model, inputs, headers=headers)
        assert refused.value.status() == f"StatusCode.{status}"
        assert words in refused.value.message()


def test_the_messages_are_those_of_the_official_client() -> None:
    def fields(found: Any) -> dict[str, Any]:
        return {
            field.name: (
                field.number,
                field.type,
                field.is_repeated,
                field.message_type and fields(field.message_type),
                field.containing_oneof and field.containing_oneof.name,
            )
            for field in found.fields
        }

    for name in ("ModelInferRequest", "ModelInferResponse", "ModelMetadataResponse"):
        ours = fields(message_class(name).DESCRIPTOR)
        theirs = fields(getattr(service_pb2, name).DESCRIPTOR)
        assert ours == {field: theirs[field] for field in ours}


def test_a_second_door_on_the_same_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    async def open_two() -> None:
        first = make_server(Door(httpx2.AsyncClient()), max_body_bytes=1000)
        second = make_server(Door(httpx2.AsyncClient()), max_body_bytes=1000)
        assert first.add_insecure_port(f"127.0.0.1:{port}") == port
        await first.start()
        try:
            with pytest.raises(RuntimeError):
                second.add_insecure_port(f"127.0.0.1:{port}")
        finally:
            await first.stop(None)

    asyncio.run(open_two())
