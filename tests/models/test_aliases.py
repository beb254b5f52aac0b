"""Aliases: they point to one version each, move at once, and name versions everywhere."""

import asyncio

import pytest

from tests.live_api import LiveApi
from tests.models.test_models import MODEL, problem, upload

pytestmark = pytest.mark.anyio


async def test_an_alias_names_a_version_wherever_one_is_named(api: LiveApi) -> None:
    for _ in range(2):
        await upload(api, "digits", MODEL)

    made = await api.client.put("/models/digits/aliases/champion", json={"version": 1})
    other = await api.client.put("/models/digits/aliases/challenger", json={"version": "latest"})

    assert (made.status_code, made.json()) == (201, {"alias": "champion", "version": 1})
    assert other.json()["version"] == 2
    champion = (await api.client.get("/models/digits/versions/champion")).json()
    assert (champion["version"], champion["aliases"]) == (1, ["champion"])
    files = await api.client.get("/models/digits/versions/champion/files")
    assert [file["path"] for file in files.json()["items"]] == sorted(MODEL)
    model = (await api.client.get("/models/digits")).json()
    assert model["aliases"] == {"challenger": 2, "champion": 1}
    listed = (await api.client.get("/models/digits/aliases")).json()["items"]
    assert listed == [{"alias": "challenger", "version": 2}, {"alias": "champion", "version": 1}]
    refused = await api.client.put(
        "/deployments/of-an-alias",
        json={"model_name": "digits", "model_version": "nobody"},
    )
    assert problem(refused, 422)["errors"][0]["code"] == "unknown_model_version"


async def test_an_alias_moves_only_from_where_it_was_seen(api: LiveApi) -> None:
    for _ in range(3):
        await upload(api, "moved", MODEL)
    address = "/models/moved/aliases/champion"
    made = await api.client.put(address, json={"version": 1})

    async def move(version: int) -> int:
        headers = {"If-Match": made.headers["etag"]}
        answer = await api.client.put(address, json={"version": version}, headers=headers)
        return answer.status_code

    assert sorted(await asyncio.gather(move(2), move(3))) == [200, 412]
    moved = (await api.client.get(address)).json()["version"]
    aliases = [
        (await api.client.get(f"/models/moved/versions/{number}")).json()["aliases"]
        for number in (1, 2, 3)
    ]
    assert aliases == [["champion"] if number == moved else [] for number in (1, 2, 3)]


async def test_an_alias_goes_and_its_version_stays(api: LiveApi) -> None:
    await upload(api, "plain", MODEL)
    address = "/models/plain/aliases/champion"
    await api.client.put(address, json={"version": 1})

    assert (await api.client.delete(address)).status_code == 204
    assert (await api.client.delete(address)).status_code == 204
    assert problem(await api.client.get(address), 404)["code"] == "model_alias_not_found"
    gone = await api.client.get("/models/plain/versions/champion")
    assert problem(gone, 404)["code"] == "model_version_not_found"
    assert (await api.client.get("/models/plain/versions/1")).status_code == 200


@pytest.mark.parametrize("alias", ["latest", "v7", "V12"])
async def test_names_that_mean_a_version_already_are_refused(api: LiveApi, alias: str) -> None:
    await upload(api, "reserved", MODEL)

    answer = await api.client.put(f"/models/reserved/aliases/{alias}", json={"version": 1})

    assert problem(answer, 422)["code"] == "model_alias_reserved"
    listed = (await api.client.get("/models/reserved/aliases")).json()["items"]
    assert listed == []


async def test_description_and_tags_of_a_model_change(api: LiveApi) -> None:
    await upload(api, "tagged", MODEL)

    first = await api.client.patch(
        "/models/tagged", json={"description": "Digits", "tags": {"a": "1", "b": "2"}}
    )
    second = await api.client.patch("/models/tagged", json={"tags": {"a": None}})
    stale = await api.client.patch(
        "/models/tagged", json={"description": "x"}, headers={"If-Match": first.headers["etag"]}
    )

    assert first.json()["tags"] == {"a": "1", "b": "2"}
    assert (second.json()["tags"], second.json()["description"]) == ({"b": "2"}, "Digits")
    problem(stale, 412)


async def test_an_alias_of_a_version_that_is_not_there_is_refused(api: LiveApi) -> None:
    await upload(api, "short", MODEL)

    put = await api.client.put("/models/short/aliases/best", json={"version": 9})

    assert problem(put, 422)["errors"][0]["pointer"] == "/version"
