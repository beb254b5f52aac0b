"""Models that are really loaded when they are registered, in nodes of the process provider."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select

from app.models.schemas import Lineage, ModelDescription, ModelFile
from app.models.service import add_version
from app.providers.process.provider import ProcessProvider
from app.tables.image import Image
from app.tables.workspace import Workspace
from tests.databases import own_database
from tests.live_api import LiveApi, live_api
from tests.serving import onnx_models
from tests.waiting import until
from workers.context import WorkerContext
from workers.process import RUNNER
from workers.reconcile_deployment import DeploymentReconciler
from workers.reconcile_image import ImageReconciler
from workers.reconcile_model import ModelReconciler
from workers.reconcile_model_capture import ModelCaptureReconciler

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]
_SECONDS = 240.0


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    """An installation with nodes that are processes of this machine."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def reconcilers(app: Any) -> list[Any]:
        state = app.state
        settings = state.settings
        context = WorkerContext(
            settings=settings,
            database=state.database,
            objects=state.objects,
            signals=state.signals,
            signer=state.signer,
            provider=ProcessProvider(settings.data_dir / "nodes", runner=RUNNER),
        )
        return [
            ImageReconciler(state.database, state.objects, settings),
            ModelReconciler(context),
            ModelCaptureReconciler(context),
            DeploymentReconciler(context),
        ]

    async with (
        own_database(postgres_url) as database,
        live_api(
            tmp_path / "data",
            database,
            broker_url,
            reconcilers=reconcilers,
            node_url=address,
            heartbeat_seconds=0.5,
        ) as live,
    ):
        server = uvicorn.Server(
            uvicorn.Config(live.app, lifespan="off", log_level="warning", access_log=False)
        )
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield live
        server.should_exit = True
        await serving


async def register(api: LiveApi, name: str, python: Path, files: dict[str, bytes]) -> None:
    """Register a model as of a run that was made in an environment with TensorFlow."""
    listed = []
    for path, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        (await api.client.put(f"/blobs/{digest}", content=data)).raise_for_status()
        listed.append(ModelFile(path=path, sha256=digest, size_bytes=len(data)))
    async with api.database.session() as session:
        spec = {"framework": "tensorflow", "framework_version": "2.21", "python_version": "3.11"}
        await session.merge(Image(id="tensorflow", spec=spec, state="Ready", python=str(python)))
        workspace = (await session.scalars(select(Workspace))).one()
        await add_version(
            session,
            workspace=workspace,
            name=name,
            about=ModelDescription(),
            files=listed,
            lineage=Lineage(image_hash="tensorflow"),
            actor="test",
        )


async def captured(api: LiveApi, name: str) -> dict[str, Any]:
    """The version once its capture is over and nothing of its node is left."""
    seen: dict[str, Any] = {}

    async def is_over() -> bool:
        seen.update((await api.client.get(f"/models/{name}/versions/1")).json())
        return seen["capture"]["state"] in ("Captured", "Failed")

    await until(is_over, seconds=_SECONDS)
    return seen


async def sample_of(api: LiveApi, name: str) -> Any:
    answer = await api.client.get(f"/models/{name}/versions/1/sample")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_tensorflows_models_are_loaded_once_in_the_environment_of_their_run(
    api: LiveApi, models: Path, tensorflow_python: Path
) -> None:
    keras = {"model.keras": (models / "mlp.keras").read_bytes()}
    await register(api, "keras", tensorflow_python, keras)
    await register(api, "damaged", tensorflow_python, {"model.keras": b"no archive at all"})

    version = await captured(api, "keras")
    damaged = await captured(api, "damaged")

    assert version["capture"]["state"] == "Captured", version["capture"]
    assert version["capture"]["runtime"].startswith("TensorFlow 2.")
    (found,) = version["signature"]["inputs"]
    assert (version["signature_state"], found["shape"]) == ("Ready", [-1, 784])
    sample = await sample_of(api, "keras")
    (row,) = sample["inputs"][found["name"]]
    assert len(row) == 784
    assert len(set(row)) > 700, "the input is made up at random"
    assert [len(answer) for (answer,) in sample["outputs"].values()] == [10]
    assert damaged["capture"]["error"]["code"] == "model_not_loadable"
    assert any("Traceback" in line for line in damaged["capture"]["error"]["last_lines"])
    assert damaged["signature_state"] == "Unavailable"

    folder = api.settings.data_dir / "nodes"

    async def is_clean() -> bool:
        return not [node for node in folder.iterdir() if node.name.startswith("tw-")]

    await until(is_clean)


async def test_an_onnx_model_is_captured_and_served(api: LiveApi) -> None:
    content = onnx_models.matrix_product()
    made = await api.client.put("/models/product/archive?filename=product.onnx", content=content)
    assert made.status_code == 201, made.text
    assert (made.json()["kind"], made.json()["is_deployable"]) == ("onnx", True)

    version = await captured(api, "product")

    assert version["capture"]["state"] == "Captured", version["capture"]
    assert version["capture"]["runtime"].startswith("onnxruntime 1.")
    assert version["signature"]["inputs"] == [{"name": "x", "dtype": "float32", "shape": [-1, 2]}]
    assert version["signature"]["outputs"] == [{"name": "y", "dtype": "float32", "shape": [-1, 3]}]
    sample = await sample_of(api, "product")
    ((a, b),) = sample["inputs"]["x"]
    assert sample["outputs"]["y"][0] == pytest.approx([3 * b, a + 4 * b, 2 * a + 5 * b])

    await deploy(api, "Healthy")

    wanted = [[3.0, 5.0, 7.0], [6.0, 10.0, 14.0]]
    rows = [[1.0, 1.0], [2.0, 2.0]]
    at = "/deployments/product"
    scored = await api.client.post(f"{at}/score", json={"data": rows})
    row_form = await api.client.post(
        f"{at}/v1/models/product:predict", json={"instances": [{"x": row} for row in rows]}
    )
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 1, 2, 2]}
    inferred = await api.client.post(f"{at}/v2/models/product/infer", json={"inputs": [tensor]})
    refused = await api.client.post(f"{at}/score", json={"data": [[1.0]]})
    metadata = await api.client.get(f"{at}/v2/models/product")
    classify = await api.client.post(
        f"{at}/v1/models/product:classify", json={"examples": [{"x": 1}]}
    )

    assert scored.json() == wanted
    assert row_form.json() == {"predictions": wanted}
    assert inferred.json()["outputs"][0]["data"] == [value for row in wanted for value in row]
    assert (refused.status_code, metadata.json()["platform"]) == (400, "onnxruntime_onnx")
    assert classify.json()["code"] == "wrong_method"

    # A replica that answers otherwise than the stored sample is not healthy.
    (await api.client.delete(at)).raise_for_status()
    await until(lambda: _is_gone(api, at), seconds=60)
    other = {"inputs": {"x": [[1.0, 1.0]]}, "outputs": {"y": [[3.0, 5.0, 8.0]]}}
    (await api.client.put("/models/product/versions/1/sample", json=other)).raise_for_status()
    shown = await deploy(api, "Failed")
    assert "stored is 8" in shown["error"]["message"]
    (await api.client.delete(at)).raise_for_status()
    await until(lambda: _is_gone(api, at), seconds=60)


async def deploy(api: LiveApi, state: str) -> dict[str, Any]:
    """Deploy the model; what the deployment says in this state."""
    at = "/deployments/product"
    (await api.client.put(at, json={"model_name": "product"})).raise_for_status()
    seen: dict[str, Any] = {}

    async def is_settled() -> bool:
        seen.update((await api.client.get(at)).json())
        return seen["state"] in ("Healthy", "Failed")

    await until(is_settled, seconds=_SECONDS)
    assert seen["state"] == state, seen
    return seen


async def _is_gone(api: LiveApi, address: str) -> bool:
    return (await api.client.get(address)).status_code == 404
