"""Lineage: from data to deployments and back, and what may not be deleted because of it."""

from typing import Any

import pytest
from sqlalchemy import select

from app.kernel.ids import new_id
from app.tables.dataset import Dataset, DatasetVersion
from app.tables.deployment import Deployment
from app.tables.run import Run
from app.tables.snapshot import Snapshot
from app.tables.sweep import Sweep, Trial
from app.tables.workspace import Workspace
from tests.live_api import LiveApi
from tests.models.test_models import MODEL, make_run, problem, send_blobs
from tests.people import somebody

pytestmark = pytest.mark.anyio


async def make_dataset(api: LiveApi) -> dict[str, Any]:
    """A dataset with one version; returns how the request of a run has it."""
    async with api.database.session() as session:
        named = select(Workspace.id).where(Workspace.name == api.workspace)
        workspace_id = (await session.execute(named)).scalar_one()
        dataset = Dataset(id=new_id("ds"), workspace_id=workspace_id, name="digits")
        session.add(dataset)
        await session.flush()
        version = DatasetVersion(
            id=new_id("dsv"),
            dataset_id=dataset.id,
            version=1,
            fingerprint="f1",
            file_count=1,
            size_bytes=1,
        )
        session.add(version)
    return {"dataset": "digits", "version": 1, "version_id": version.id, "mode": "mount"}


async def register(api: LiveApi, run_id: str, **more: Any) -> dict[str, Any]:
    body = {"run_id": run_id, "path": "outputs/model", **more}
    answer = await api.client.post("/models/digits/versions", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def serve(api: LiveApi, version: dict[str, Any], name: str) -> None:
    async with api.database.session() as session:
        named = select(Workspace.id).where(Workspace.name == api.workspace)
        session.add(
            Deployment(
                id=new_id("dep"),
                workspace_id=(await session.execute(named)).scalar_one(),
                name=name,
                model_version_id=version["id"],
                replica_count=1,
                next_check_at=None,
            )
        )


async def trained(api: LiveApi) -> tuple[str, dict[str, Any]]:
    """A run that read a dataset version, as the trial of a sweep, with a snapshot of its source."""
    read = await make_dataset(api)
    files = [
        {**blob, "path": f"outputs/model/{blob['path']}"} for blob in await send_blobs(api, MODEL)
    ]
    run_id = await make_run(api, files, read=read)
    async with api.database.session() as session:
        run = await session.get_one(Run, run_id)
        snapshot = Snapshot(
            id=new_id("snap"),
            workspace_id=run.workspace_id,
            sha256="5" * 64,
            files=[],
            file_count=0,
            size_bytes=0,
        )
        sweep = Sweep(
            id=new_id("sweep"),
            workspace_id=run.workspace_id,
            experiment_id=run.experiment_id,
            created_by="test",
            spec={},
            seed=1,
            status="Completed",
            next_check_at=None,
        )
        session.add_all([snapshot, sweep])
        await session.flush()
        run.snapshot_id = snapshot.id
        session.add(Trial(sweep_id=sweep.id, number=4, run_id=run_id, parameters={}))
    return run_id, read


async def lineage(api: LiveApi, address: str) -> dict[str, Any]:
    answer = await api.client.get(f"{address}/lineage")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_lineage_goes_both_ways(api: LiveApi) -> None:
    run_id, _ = await trained(api)
    first = await register(api, run_id)
    await api.client.put("/models/digits/aliases/champion", json={"version": 1})
    second = await register(api, run_id, parent={"model": "digits", "version": "champion"})
    await serve(api, first, "svc")

    of_data = await lineage(api, "/datasets/digits/versions/latest")
    of_run = await lineage(api, f"/runs/{run_id}")
    of_model = await lineage(api, "/models/digits/versions/champion")
    of_child = await lineage(api, "/models/digits/versions/2")
    of_service = await lineage(api, "/deployments/svc")

    assert second["lineage"]["parent"] == {"model": "digits", "version": 1}
    data = [{"dataset": "digits", "version": 1, "fingerprint": "f1"}]
    for found in (of_data, of_run, of_model, of_child, of_service):
        assert found["dataset_versions"] == data
        assert [run["id"] for run in found["runs"]] == [run_id]
        assert found["is_cut"] is False
    run = of_service["runs"][0]
    assert run["snapshot_sha256"] == "5" * 64
    assert run["trial_number"] == 4
    assert run["inputs"] == [{"name": "mnist", "dataset": "digits", "version": 1}]
    numbers = {
        name: [each["version"] for each in found["model_versions"]]
        for name, found in [
            ("data", of_data), ("run", of_run), ("model", of_model), ("child", of_child),
            ("service", of_service),
        ]
    }  # fmt: skip
    assert numbers == {
        "data": [1, 2], "run": [1, 2], "model": [1, 2], "child": [1, 2], "service": [1]
    }  # fmt: skip
    assert [each["name"] for each in of_data["deployments"]] == ["svc"]
    assert [each["name"] for each in of_model["deployments"]] == ["svc"]
    assert of_child["deployments"] == []
    assert of_service["model_versions"][0]["aliases"] == ["champion"]


async def test_a_family_of_which_some_are_left_out_says_so(api: LiveApi) -> None:
    run_id, _ = await trained(api)
    version = await register(api, run_id)
    for number in range(1, 52):
        version = await register(api, run_id, parent={"model": "digits", "version": number})
    await serve(api, version, "svc")

    all_of_51 = await lineage(api, "/models/digits/versions/51")
    some_of_52 = await lineage(api, "/models/digits/versions/52")
    behind_service = await lineage(api, "/deployments/svc")

    assert {each["version"] for each in all_of_51["model_versions"]} == set(range(1, 53))
    assert all_of_51["is_cut"] is False
    for found in (some_of_52, behind_service):
        assert {each["version"] for each in found["model_versions"]} == set(range(2, 53))
        assert found["is_cut"] is True


async def test_a_dataset_that_a_model_was_made_from_stays(api: LiveApi) -> None:
    run_id, _ = await trained(api)
    await register(api, run_id)

    in_use = problem(await api.client.delete("/datasets/digits"), 409)
    await api.client.delete("/models/digits")
    gone = await api.client.delete("/datasets/digits")

    assert in_use["code"] == "dataset_in_use"
    assert "model 'digits' version 1" in in_use["detail"]
    assert gone.status_code == 204


async def test_a_dataset_that_a_run_reads_stays(api: LiveApi) -> None:
    run_id, _ = await trained(api)
    async with api.database.session() as session:
        (await session.get_one(Run, run_id)).status = "Running"

    in_use = problem(await api.client.delete("/datasets/digits"), 409)

    assert run_id in in_use["detail"]


async def test_a_parent_that_is_not_there_is_refused(api: LiveApi) -> None:
    files = await send_blobs(api, MODEL)
    for parent, pointer in [
        ({"model": "nobody", "version": 1}, "/parent/model"),
        ({"model": "known", "version": "champion"}, "/parent/version"),
    ]:
        await api.client.post("/models/known/versions", json={"files": files})
        answer = await api.client.post(
            "/models/child/versions", json={"files": files, "parent": parent}
        )
        assert problem(answer, 422)["errors"][0]["pointer"] == pointer
    problem(await api.client.get("/models/child"), 404)


async def test_lineage_and_metrics_are_for_those_who_may_read_them(api: LiveApi) -> None:
    files = await send_blobs(api, MODEL)
    registered = await api.client.post("/models/digits/versions", json={"files": files})
    assert registered.status_code == 201, registered.text
    permissions = ["workspace.read", "models.read"]
    made = await api.client.put("roles/modeller", json={"permissions": permissions})
    assert made.status_code in (200, 201), made.text
    models = f"/v1/workspaces/{api.workspace}/models/digits"
    async with somebody(api, role="modeller") as modeller:
        assert (await modeller.get(f"{models}/versions/1")).status_code == 200
        for path, lacking in (
            (f"{models}/versions/1/lineage", "datasets.read"),
            (f"{models}/compare?left=1&right=1", "runs.read"),
        ):
            answer = await modeller.get(path)
            assert (answer.status_code, answer.json()["permission"]) == (403, lacking)
