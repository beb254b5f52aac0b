"""The sample of a version: an input and its answer, checked against the signature."""

from typing import Any

import pytest
from sqlalchemy import select

from app.models.sample import misfits
from app.models.schemas import TensorRead
from app.tables.model import ModelSample
from tests.live_api import LiveApi
from tests.models.test_models import MODEL, problem, upload, version_when_read


@pytest.mark.parametrize(
    ("dtype", "shape", "value"),
    [
        ("float32", [-1, 2], [[1, 2.5], [3, 4]]),
        ("int64", [], 7),
        ("int32", None, [[1], [2]]),
        ("bool", [-1], [True, False]),
        ("string", [-1], ["a", {"b64": "YQ=="}]),
    ],
)
def test_values_that_fit(dtype: str, shape: list[int] | None, value: Any) -> None:
    tensor = TensorRead(name="x", dtype=dtype, shape=shape)

    assert misfits("inputs", [tensor], {"x": value}) == []


@pytest.mark.parametrize(
    ("dtype", "shape", "value", "words"),
    [
        ("float32", [-1, 2], [[1.0]], "shape is [1, 1]"),
        ("float32", [-1, 2], [[1.0, 2.0], [3.0]], "not all of one length"),
        ("float32", [-1], ["a"], "another type"),
        ("int64", [-1], [1.5], "another type"),
        ("int64", [-1], [True], "another type"),
        ("bool", [-1], [1], "another type"),
        ("string", [-1], [1], "another type"),
    ],
)
def test_values_that_do_not_fit(dtype: str, shape: list[int], value: Any, words: str) -> None:
    tensor = TensorRead(name="x", dtype=dtype, shape=shape)

    ((pointer, said),) = misfits("outputs", [tensor], {"x": value})

    assert pointer == "/outputs/x"
    assert words in said
    assert f"expected {dtype}" in said


@pytest.mark.anyio
async def test_a_sample_is_kept_changed_and_forgotten(api: LiveApi) -> None:
    version = await upload(api, "sampled", MODEL)
    await version_when_read(api, "sampled")
    address = "/models/sampled/versions/1/sample"
    body = {"inputs": {"pixels": [[0.0] * 784]}, "outputs": {"output_0": [[0.1] * 10]}}
    assert problem(await api.client.get(address), 404)["code"] == "model_sample_not_found"

    made = await api.client.put(address, json=body)
    looser = await api.client.put(address, json={**body, "relative_tolerance": 0.5})
    stale = await api.client.put(address, json=body, headers={"If-Match": made.headers["etag"]})

    assert (made.status_code, looser.status_code) == (201, 200)
    problem(stale, 412)
    read = (await api.client.get(address)).json()
    assert (read["inputs"], read["relative_tolerance"]) == (body["inputs"], 0.5)
    async with api.database.session() as session:
        rows = (await session.execute(select(ModelSample))).scalars().all()
    (row,) = [row for row in rows if row.model_version_id == version["id"]]
    assert row.is_given is True
    assert read["is_given"] is True
    assert (await api.client.delete(address)).status_code == 204
    problem(await api.client.get(address), 404)


@pytest.mark.anyio
async def test_a_sample_that_does_not_fit_is_refused_by_field(api: LiveApi) -> None:
    await upload(api, "refused", MODEL)
    await version_when_read(api, "refused")
    address = "/models/refused/versions/1/sample"
    body = {"inputs": {"pixel": [[0.0]]}, "outputs": {"output_0": [[0.1] * 9]}}

    found = problem(await api.client.put(address, json=body), 422)["errors"]

    assert [each["pointer"] for each in found] == [
        "/inputs/pixel", "/inputs/pixels", "/outputs/output_0"
    ]  # fmt: skip
    problem(await api.client.get(address), 404)
