"""Rows that were changed by hand: searches leave them out, and who asks for one is told of it."""

import asyncio

import pytest
from sqlalchemy import select, text

from app.tables.model import Model
from app.tables.workspace import Workspace
from tests.mlflow.conftest import Space
from tests.served import Served


def damage(served: Served, table: str, row_id: str) -> None:
    async def change() -> None:
        async with served.api.database.session() as session:
            statement = text(f"UPDATE {table} SET tags = '7' WHERE id = :id")  # noqa: S608
            await session.execute(statement, {"id": row_id})

    asyncio.run_coroutine_threadsafe(change(), served.loop).result(timeout=30)


def model_named(name: str, served: Served, space: Space) -> str:
    async def find() -> str:
        async with served.api.database.session() as session:
            of_workspace = Workspace.id == Model.workspace_id
            found = select(Model.id).join(Workspace, of_workspace)
            found = found.where(Workspace.name == space.name, Model.name == name)
            return (await session.execute(found)).scalar_one()

    return asyncio.run_coroutine_threadsafe(find(), served.loop).result(timeout=30)


def is_told(space: Space, table: str, row_id: str, path: str, **asked: str) -> None:
    answer = space.call("GET", path, params=asked)
    assert answer.status_code == 500
    said = answer.json()
    assert said["error_code"] == "INTERNAL_ERROR"
    assert f"Row {row_id!r} of {table} cannot be shown" in said["message"]
    assert "operator" in said["message"]


@pytest.mark.fault(10)
def test_an_odd_run(served: Served, space: Space) -> None:
    odd, right = [space.client.create_run("0").info.run_id for _ in range(2)]
    damage(served, "runs", odd)

    assert [run.info.run_id for run in space.client.search_runs(["0"])] == [right]
    is_told(space, "runs", odd, "runs/get", run_id=odd)


@pytest.mark.fault(10)
def test_an_odd_experiment(served: Served, space: Space) -> None:
    odd, right = [space.client.create_experiment(name) for name in ("odd", "right")]
    damage(served, "experiments", odd)

    found = [one.experiment_id for one in space.client.search_experiments()]
    assert right in found
    assert odd not in found
    is_told(space, "experiments", odd, "experiments/get", experiment_id=odd)
    is_told(space, "experiments", odd, "experiments/get-by-name", experiment_name="odd")


@pytest.mark.fault(10)
def test_odd_models_and_versions(served: Served, space: Space) -> None:
    for name in ("odd", "right"):
        space.client.create_registered_model(name)
    for _ in range(2):
        space.client.create_model_version("right", "s3://elsewhere/model")
    version_id = space.http.get("models/right/versions/2").json()["id"]
    model_id = model_named("odd", served, space)
    damage(served, "models", model_id)
    damage(served, "model_versions", version_id)

    (model,) = space.client.search_registered_models()
    assert model.name == "right"
    assert model.latest_versions == []  # the newest of its stage is the odd one
    found = space.client.search_model_versions("name = 'right'")
    assert [version.version for version in found] == ["1"]
    is_told(space, "models", model_id, "registered-models/get", name="odd")
    is_told(space, "model_versions", version_id, "model-versions/get", name="right", version="2")


@pytest.mark.fault(10)
def test_an_odd_logged_model(served: Served, space: Space) -> None:
    odd, right = [space.client.create_logged_model("0", name=name) for name in ("odd", "right")]
    damage(served, "logged_models", odd.model_id)

    found = space.client.search_logged_models(["0"])

    assert [model.model_id for model in found] == [right.model_id]
    is_told(space, "logged_models", odd.model_id, f"logged-models/{odd.model_id}")
