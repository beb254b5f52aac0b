"""Rows that cannot be shown: a page names them and has the others, asked for alone they say why."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import Text, bindparam, select, text

from app.kernel.orm import Base
from app.tables.batch_scoring import BatchScoring
from app.tables.dataset import Dataset, DatasetRegistration, DatasetVersion
from app.tables.datastore import Datastore
from app.tables.deployment import Deployment
from app.tables.host import SeenHost
from app.tables.image import Image, WorkspaceImage
from app.tables.model import Model, ModelVersion
from app.tables.role import Role
from app.tables.sweep import Sweep, Trial
from app.tables.workspace import Workspace
from tests.databases import own_database
from tests.health.figures import read, value
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_request

pytestmark = pytest.mark.anyio
_SCORING = {
    "experiment_name": "e", "cluster_name": "cpu", "model_name": "m1", "model_version": 1,
    "dataset_name": "d1", "dataset_version": 1, "output_dataset_name": "o",
}  # fmt: skip


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    # Odd hosts and workspaces are everybody's.
    async with own_database(postgres_url) as url, live_api(tmp_path, url, broker_url) as api:
        yield api


async def furnish(api: LiveApi) -> dict[str, list[str]]:
    """Two of each kind: by their tables, the ids, in which the second is to be the odd one."""
    trial = await make_request(api, experiment="x1")
    asked = {
        "trial": trial,
        "search_space": {"lr": {"type": "uniform", "min": 0, "max": 1}},
        "algorithm": {"type": "random"},
        "objective": {"primary_metric": "acc", "goal": "maximize"},
        "limits": {"max_trials": 3},
    }
    ids: dict[str, list[str]] = {}
    for table, path, body in (("sweeps", "sweeps", asked), ("runs", "runs", trial)):
        answers = [await api.client.post(path, json=body) for _ in range(2)]
        ids[table] = [answer.json()["id"] for answer in answers]
    for table, name, body in (
        ("clusters", "c", {"vm_size": "small"}),
        ("experiments", "x", {}),
        ("environments", "n", {"pip_packages": []}),
    ):
        answers = [await api.client.put(f"{table}/{name}{n}", json=body) for n in (1, 2)]
        ids[table] = [answer.json()["id"] for answer in answers]
    async with api.database.session() as session:
        named = select(Workspace.id).where(Workspace.name == api.workspace)
        workspace_id = (await session.execute(named)).scalar_one()

        async def add(*rows: Base) -> None:
            session.add_all(rows)
            await session.flush()
            ids[rows[0].__tablename__] = [getattr(row, "id", "") for row in rows]

        owned: dict[str, Any] = {"workspace_id": workspace_id}
        key = workspace_id.removeprefix("ws_")
        both = (1, 2)
        await add(*(Dataset(id=f"ds_{key}{n}", name=f"d{n}", **owned) for n in both))
        await add(
            *(
                DatasetVersion(
                    id=f"dsv_{key}{n}", dataset_id=f"ds_{key}1", version=n, fingerprint=f"f{n}",
                    file_count=0, size_bytes=0,
                )
                for n in both
            )
        )  # fmt: skip
        place = {"kind": "s3", "bucket": "b"}
        await add(*(Datastore(id=f"st_{key}{n}", name=f"s{n}", place=place, **owned) for n in both))
        await add(*(Model(id=f"m_{key}{n}", name=f"m{n}", **owned) for n in both))
        await add(
            *(
                ModelVersion(
                    id=f"mv_{key}{n}", model_id=f"m_{key}1", version=n, framework="Custom",
                    kind="other", files=[], size_bytes=0, created_by="me",
                    signature_state="Unavailable",
                )
                for n in both
            )
        )  # fmt: skip
        await add(
            *(
                Deployment(
                    id=f"dep_{key}{n}", name=f"dep{n}", model_version_id=f"mv_{key}1",
                    replica_count=1, **owned,
                )
                for n in both
            )
        )  # fmt: skip
        scoring = {"created_by": "me", "spec": _SCORING, **owned}
        await add(*(BatchScoring(id=f"bs_{key}{n}", **scoring) for n in both))
        sweep_id = ids["sweeps"][0]
        await add(*(Trial(sweep_id=sweep_id, number=n, parameters={"lr": 0.5}) for n in both))
    return ids


def names(page: dict[str, Any], key: str) -> list[str]:
    return [str(one.get(key)) for one in page["items"]]


def root(api: LiveApi) -> str:
    return str(api.client.base_url).partition("/v1/")[0]


async def damage(api: LiveApi, table: str, column: str, odd: str, *, row_id: str) -> None:
    key = "name" if table == "hosts" else "id"
    change = text(f"UPDATE {table} SET {column} = CAST(:odd AS jsonb) WHERE {key} = :id")  # noqa: S608
    async with api.database.session() as session:
        await session.execute(
            change.bindparams(bindparam("odd", type_=Text)), {"odd": odd, "id": row_id}
        )


async def says_which(api: LiveApi, path: str, table: str, row_id: str) -> None:
    is_told(await api.client.get(path), table, row_id)


def is_told(answer: httpx2.Response, table: str, row_id: str) -> None:
    assert answer.status_code == 500, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["code"], problem["kind"], problem["id"]) == ("row_unreadable", table, row_id)
    assert "operator" in problem["detail"]


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("table", "path", "column", "odd", "name"),
    [
        ("sweeps", "sweeps", "spec", "[]", "id"),
        ("sweeps", "sweeps", "blockers", '[{"code": "budget"}]', "id"),
        ("deployments", "deployments", "limits", '{"timeout_seconds": "soon"}', "dep2"),
        ("clusters", "clusters", "tags", "[1]", "c2"),
        ("environments", "environments", "spec", '"none"', "n2"),
        ("experiments", "experiments", "tags", "7", "x2"),
        ("datasets", "datasets", "tags", "[]", "d2"),
        ("dataset_versions", "datasets/d1/versions", "lineage", "[]", "2"),
        ("datastores", "datastores", "place", '["b"]', "s2"),
        ("models", "models", "tags", '{"a": {}}', "m2"),
        ("model_versions", "models/m1/versions", "lineage", "[]", "2"),
        ("batch_scorings", "batch-scorings", "spec", "{}", "id"),
        ("runs", "runs", "error", '["none"]', "id"),
    ],
)
async def test_a_page_names_what_it_cannot_show_and_shows_the_others(
    api: LiveApi, table: str, path: str, column: str, odd: str, name: str
) -> None:
    ids = await furnish(api)
    whole = (await api.client.get(path)).json()
    assert whole["left_out"] == []
    odd_one = name if name != "id" else ids[table][1]
    key = next(key for key in ("name", "version", "id") if odd_one in names(whole, key))
    before = value(await read(api), "trainwright_odd_rows_total", table=table) or 0.0
    await damage(api, table, column, odd, row_id=ids[table][1])

    answer = await api.client.get(path)

    assert answer.status_code == 200, answer.text
    page = answer.json()
    assert names(page, key) == [one for one in names(whole, key) if one != odd_one]
    assert page["left_out"] == [odd_one]
    assert value(await read(api), "trainwright_odd_rows_total", table=table) == before + 1

    await says_which(api, f"{path}/{odd_one}", table, ids[table][1])
    assert value(await read(api), "trainwright_odd_rows_total", table=table) == before + 2


@pytest.mark.fault(10)
async def test_a_page_of_trials_names_the_odd_one(api: LiveApi) -> None:
    ids = await furnish(api)
    async with api.database.session() as session:
        damage = text("UPDATE trials SET parameters = '[]' WHERE sweep_id = :id AND number = 2")
        await session.execute(damage, {"id": ids["sweeps"][0]})

    page = (await api.client.get(f"sweeps/{ids['sweeps'][0]}/trials")).json()

    assert [one["number"] for one in page["items"]] == [1]
    assert page["left_out"] == ["2"]


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("table", "path", "column", "odd"),
    [
        ("deployments", "deployments/dep2/traffic", "traffic", '{"split": 7}'),
        ("images", "images/{id}", "packages", "7"),
        ("dataset_registrations", "datasets/d1/registrations/{id}", "error", "7"),
    ],
)
async def test_what_is_asked_for_alone_says_which_row_is_odd(
    api: LiveApi, table: str, path: str, column: str, odd: str
) -> None:
    ids = await furnish(api)
    image_id, registration_id = hashlib.sha256(api.workspace.encode()).hexdigest(), api.workspace
    ids |= {"images": ["", image_id], "dataset_registrations": ["", registration_id]}
    async with api.database.session() as session:
        named = select(Workspace.id).where(Workspace.name == api.workspace)
        of_workspace = {"workspace_id": (await session.execute(named)).scalar_one()}
        session.add(Image(id=image_id, spec={}))
        session.add(DatasetRegistration(id=registration_id, name="d1", request={}, **of_workspace))
        await session.flush()
        session.add(WorkspaceImage(image_id=image_id, **of_workspace))
    await damage(api, table, column, odd, row_id=ids[table][1])

    await says_which(api, path.format(id=ids[table][1]), table, ids[table][1])


@pytest.mark.fault(10)
async def test_an_odd_workspace_and_an_odd_role_say_so(api: LiveApi) -> None:
    await api.client.put("roles/mine", json={"permissions": ["runs.read"]})
    async with api.database.session() as session:
        named = select(Workspace.id).where(Workspace.name == api.workspace)
        workspace_id = (await session.execute(named)).scalar_one()
        made = select(Role.id).where(Role.workspace_id == workspace_id)
        role_id = (await session.execute(made)).scalar_one()
    await damage(api, "roles", "permissions", "7", row_id=role_id)
    await damage(api, "workspaces", "tags", "7", row_id=workspace_id)

    await says_which(api, "roles/mine", "roles", role_id)
    await says_which(api, f"{root(api)}/v1/workspaces/{api.workspace}", "workspaces", workspace_id)


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("table", "path"),
    [
        ("models", "models/m2"),
        ("model_versions", "models/m1/versions/2"),
        ("datasets", "datasets/d2"),
        ("clusters", "clusters/c2"),
        ("runs", "runs/{id}"),
        ("workspaces", "{workspace}"),
    ],
)
async def test_a_change_says_which_row_is_odd(api: LiveApi, table: str, path: str) -> None:
    ids = await furnish(api)
    async with api.database.session() as session:
        named = select(Workspace.id).where(Workspace.name == api.workspace)
        ids["workspaces"] = ["", (await session.execute(named)).scalar_one()]
    row_id = ids[table][1]
    await damage(api, table, "tags", "7", row_id=row_id)
    workspace = f"{root(api)}/v1/workspaces/{api.workspace}"

    answer = await api.client.patch(
        path.format(id=row_id, workspace=workspace), json={"tags": {"a": "b"}}
    )

    is_told(answer, table, row_id)


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("column", "odd", "whole"), [("tags", "7", "{}"), ("blockers", "7", "[]"), ("spec", "[]", "")]
)
async def test_a_sweep_that_cannot_be_shown_is_canceled_all_the_same(
    api: LiveApi, column: str, odd: str, whole: str
) -> None:
    ids = await furnish(api)
    sweep_id = ids["sweeps"][1]
    if not whole:
        async with api.database.session() as session:
            spec = select(Sweep.spec).where(Sweep.id == sweep_id)
            whole = json.dumps((await session.execute(spec)).scalar_one())
    await damage(api, "sweeps", column, odd, row_id=sweep_id)

    is_told(await api.client.post(f"sweeps/{sweep_id}/cancel"), "sweeps", sweep_id)

    await damage(api, "sweeps", column, whole, row_id=sweep_id)
    assert (await api.client.get(f"sweeps/{sweep_id}")).json()["status"] == "CancelRequested"
    params = {"operation": "cancel_sweep"}
    found = (
        await api.client.get(f"{root(api)}/v1/workspaces/{api.workspace}/audit", params=params)
    ).json()
    assert len(found["items"]) == 1


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    ("column", "odd", "whole"),
    [("tags", "7", "{}"), ("error", "7", '{"code": "a", "message": "b"}')],
)
async def test_a_run_that_cannot_be_shown_is_canceled_all_the_same(
    api: LiveApi, column: str, odd: str, whole: str
) -> None:
    run_id = (await furnish(api))["runs"][1]
    await damage(api, "runs", column, odd, row_id=run_id)

    is_told(await api.client.post(f"runs/{run_id}/cancel"), "runs", run_id)

    await damage(api, "runs", column, whole, row_id=run_id)
    assert (await api.client.get(f"runs/{run_id}")).json()["status"] == "CancelRequested"


@pytest.mark.fault(10)
async def test_the_best_trial_says_that_it_is_odd(api: LiveApi) -> None:
    ids = await furnish(api)
    sweep_id = ids["sweeps"][0]
    async with api.database.session() as session:
        change = text(
            "UPDATE trials SET parameters = '[]', value = 0.5 WHERE sweep_id = :id AND number = 2"
        )
        await session.execute(change, {"id": sweep_id})

    await says_which(api, f"sweeps/{sweep_id}/best", "trials", f"{sweep_id}/2")


@pytest.mark.fault(10)
async def test_the_page_of_hosts_leaves_an_odd_one_out(api: LiveApi) -> None:
    names = [f"{api.workspace}-{n}" for n in (1, 2)]
    async with api.database.session() as session:
        for name in names:
            session.add(
                SeenHost(name=name, provider="docker", state="ready", detail="", address="",
                         cores=1.0, memory_bytes=1, gpus=0, labels={})
            )  # fmt: skip
    await damage(api, "hosts", "labels", "7", row_id=names[1])

    page = (await api.client.get(f"{root(api)}/v1/hosts", params={"page_size": 1000})).json()

    assert names[0] in [host["name"] for host in page["items"]]
    assert names[1] in page["left_out"]
    await says_which(api, f"{root(api)}/v1/hosts/{names[1]}", "hosts", names[1])
