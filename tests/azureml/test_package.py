"""The real azureml-core package against this API: a script as its users write it."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uv
import uvicorn

from app.auth.principal import Principal
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]
PACKAGE = "azureml-core==1.61.0.post4"
BESIDE = Path(__file__).parents[2] / "workers" / "runner" / "beside_azureml"
SCRIPT = Path(__file__).parent / "script_of_a_user.py"
# The smallest PNG: what a plot would write.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment that has the package."""
    folder = tmp_path_factory.mktemp("azureml") / "venv"
    tool = uv.find_uv_bin()
    interpreter = folder / "bin" / "python"
    subprocess.run([tool, "venv", "-q", "-p", sys.executable, folder], check=True, timeout=60)
    install = [tool, "pip", "install", "-q", "-p", str(interpreter), PACKAGE]
    subprocess.run(install, check=True, timeout=120)
    return interpreter


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


@asynccontextmanager
async def listening(api: LiveApi) -> AsyncIterator[str]:
    """Serve the application on a socket for the block."""
    config = uvicorn.Config(api.app, port=0, lifespan="off", log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await serving


async def variables(api: LiveApi, address: str, run_id: str) -> dict[str, str]:
    """What the runner tells a script."""
    config = (await api.client.get("config")).json()
    experiment = (await api.client.get("experiments/first")).json()
    scope = config["subscription_id"]
    signer = api.app.state.signer
    token = signer.issue(Principal(kind="run", id=run_id, name="run", workspace_id=scope))
    discovery = signer.issue(Principal(kind="discovery", id=run_id, name="discovery"))
    return {
        "AZUREML_RUN_ID": run_id,
        "AZUREML_RUN_TOKEN": token,
        "AZUREML_RUN_TOKEN_EXPIRY": "2099-12-31T00:00:00Z",
        "AZUREML_SERVICE_ENDPOINT": address,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{address}/discovery/{discovery}",
        "AZUREML_ARM_SUBSCRIPTION": scope,
        "AZUREML_ARM_RESOURCEGROUP": config["resource_group"],
        "AZUREML_ARM_WORKSPACE_NAME": api.workspace,
        "AZUREML_ARM_PROJECT_NAME": "first",
        "AZUREML_WORKSPACE_ID": scope,
        "AZUREML_EXPERIMENT_ID": experiment["id"],
        "PYTHONPATH": os.fspath(BESIDE),
        "PATH": os.defpath,
        "HOME": "/nonexistent",
    }


async def play(api: LiveApi, python: Path, folder: Path) -> tuple[str, dict[str, Any]]:
    """Run the script in a run of ours; its id, and what the script found."""
    (run_id,) = await make_runs(api, 1)
    (folder / "picture.png").write_bytes(PNG)
    async with listening(api) as address:
        process = await asyncio.create_subprocess_exec(
            python, SCRIPT, cwd=folder, env=await variables(api, address, run_id),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()[-4000:]
    return run_id, json.loads(out.decode().splitlines()[-1])


async def test_a_script_with_the_real_package(api: LiveApi, python: Path, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    run_id, found = await play(api, python, folder)
    read_back(found, run_id)
    await kept_files(api, run_id)
    await kept_metrics(api, run_id, found["metrics"])
    await kept_children(api, run_id, found["children"])
    version = (await api.client.get("models/digits/versions/1")).json()
    assert version["lineage"]["run_id"] == run_id
    assert (version["kind"], version["files_count"]) == ("saved_model", 2)
    assert version["resource_configuration"] == {"cpu": 2, "memory_gb": 3, "gpu": 0}
    assert (version["tags"], version["framework_version"]) == ({"kind": "test"}, "2.15.1")


def read_back(found: dict[str, Any], run_id: str) -> None:
    """What the script itself sees."""
    metrics = found["metrics"]
    assert metrics["loss"] == [0.5, 0.25]
    assert found["one metric"] == {"loss": [0.5, 0.25]}
    assert (metrics["once"], metrics["note"], metrics["list"]) == (1, "warm", [1, 2, 3])
    assert metrics["row"] == {"x": 1, "y": 2.5}
    assert metrics["table"] == {"a": [1, 2], "b": [3, 4]}
    assert metrics["picture"] == f"aml://artifactId/ExperimentRun/dcid.{run_id}/picture.png"
    assert found["matrix"] == {
        "schema_type": "confusion_matrix",
        "schema_version": "1.0.0",
        "data": {"class_labels": ["a", "b"], "matrix": [[3, 1], [0, 4]]},
    }
    assert found["back"] == "one"
    assert found["downloaded"] == ["saved_model.pb", "variables.index"]
    assert found["tags"] == {"kept": "yes"}
    assert found["details"]["runId"] == run_id
    assert found["details"]["properties"] == {"seed": "7"}
    assert found["child metrics"] == {"loss": 9}
    assert found["all"] == sorted([run_id, *found["created"][:3]])
    assert found["model"] == ["digits", 1, "digits:1", run_id]
    assert found["refused"] == "UserErrorException"


async def kept_files(api: LiveApi, run_id: str) -> None:
    """The files are files of the run."""
    listed = (await api.client.get(f"runs/{run_id}/files")).json()["items"]
    paths = [file["path"] for file in listed]
    assert {
        "accuracy", "confusion", "left", "notes/a.txt", "notes/b.txt", "notes/one.txt",
        "outputs/model/saved_model.pb", "outputs/model/variables/variables.index",
        "picture.png", "predicted",
    } == {path for path in paths if not path.startswith("figure_")}  # fmt: skip
    picture = await api.client.get(f"runs/{run_id}/files/notes/b.txt")
    assert picture.content == PNG


async def kept_metrics(api: LiveApi, run_id: str, as_read: dict[str, Any]) -> None:
    """The metrics are metrics of ours, what is in files too."""
    metrics = (await api.client.get(f"runs/{run_id}/metrics")).json()["items"]
    types = {metric["name"]: metric["type"] for metric in metrics}
    assert types == {
        "accuracy": "accuracy_table", "confusion": "confusion_matrix", "figure": "image",
        "left": "residuals", "list": "list", "loss": "scalar", "note": "string",
        "once": "scalar", "picture": "image", "predicted": "predictions", "row": "row",
        "table": "row",
    }  # fmt: skip
    assert set(types) == set(as_read)
    values = {metric["name"]: metric["last"] for metric in metrics}
    assert values["picture"] == "picture.png"
    assert values["confusion"]["data"]["class_labels"] == ["a", "b"]
    figure = await api.client.get(f"runs/{run_id}/files/{values['figure']}")
    assert figure.content == PNG


async def kept_children(api: LiveApi, run_id: str, children: list[list[str]]) -> None:
    """Children are tracked runs below this one."""
    states = [state for _, state, _ in children]
    assert states == ["Completed", "Completed", "Completed", "Failed"]
    for child_id, state, parent in children:
        child = (await api.client.get(f"runs/{child_id}")).json()
        assert (child["kind"], child["status"]) == ("tracked", state)
        assert child["creator_run_id"] == parent == run_id
