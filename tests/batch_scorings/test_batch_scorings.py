"""Batch scorings through the API; their runs do what the test says."""

import asyncio
import hashlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update

from app.batch_scorings.program import SUFFIXES
from app.datasets.made import MadeFile
from app.datasets.service import add_made
from app.kernel.wake import wake
from app.storage.errors import StoreUnavailable
from app.tables.batch_scoring import BatchScoring
from app.tables.run import Run, RunFile
from app.tables.workspace import Workspace
from tests.live_api import LiveApi, live_api
from tests.models.test_models import MODEL, upload
from tests.people import somebody
from tests.waiting import until
from workers.reconcile_batch_scoring import BatchScoringReconciler
from workers.serving import rows

pytestmark = pytest.mark.anyio
TABLE = b"a\n1\n"


@dataclass
class Scoring:
    """An installation in which batch scorings go on, and runs do what the test says."""

    api: LiveApi

    def body(self, **values: Any) -> dict[str, Any]:
        """A request that is accepted."""
        return {
            "experiment_name": "scoring",
            "cluster_name": "cpu",
            "model_name": "digits",
            "dataset_name": "table",
            "output_dataset_name": "predicted",
            **values,
        }

    async def create(self, **values: Any) -> dict[str, Any]:
        answer = await self.api.client.post("batch-scorings", json=self.body(**values))
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def refused(self, **values: Any) -> dict[str, Any]:
        """The first error of a request that is not accepted."""
        answer = await self.api.client.post("batch-scorings", json=self.body(**values))
        assert answer.status_code in (400, 409, 422), answer.text
        return dict(answer.json()["errors"][0])

    async def add_dataset(self, name: str, *paths: str) -> None:
        digest = hashlib.sha256(TABLE).hexdigest()
        (await self.api.client.put(f"blobs/{digest}", content=TABLE)).raise_for_status()
        async with self.api.database.session() as session:
            named = select(Workspace.id).where(Workspace.name == self.api.workspace)
            await add_made(
                session,
                workspace_id=(await session.execute(named)).scalar_one(),
                name=name,
                description="",
                files=[MadeFile(path, f"test/{path}", digest, len(TABLE)) for path in paths],
                lineage={},
            )

    async def end(
        self,
        scoring: dict[str, Any],
        status: str = "Completed",
        *,
        files: dict[str, bytes] | None = None,
        error: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Let the run come to its end with these outputs; the scoring when it is over."""
        run_id = scoring["run_id"]
        stored = {}
        for path, content in (files or {}).items():
            stored[path] = await self.api.app.state.objects.put_bytes(content)
        async with self.api.database.session() as session:
            for path, found in stored.items():
                session.add(
                    RunFile(
                        run_id=run_id, path=f"outputs/{path}", sha256=found.sha256,
                        size_bytes=found.size_bytes, origin="outputs", attempt=1,
                    )
                )  # fmt: skip
            ended = update(Run).where(Run.id == run_id)
            await session.execute(
                ended.values(status=status, error=error, ended_at=func.clock_timestamp())
            )
            await wake(session, BatchScoring, scoring["id"])
        return await self.over(scoring["id"])

    async def over(self, scoring_id: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}

        async def is_over() -> bool:
            seen.update((await self.api.client.get(f"batch-scorings/{scoring_id}")).json())
            return seen["ended_at"] is not None

        await until(is_over, seconds=30)
        return seen


def outputs(*counts: tuple[int, int]) -> dict[str, bytes]:
    """What shards that scored and failed so many rows leave."""
    files = {}
    for shard, (scored, failed) in enumerate(counts):
        part = f"part-{shard:05d}-of-{len(counts):05d}"
        files[f"predictions/{part}.jsonl"] = f"{shard}\n".encode()
        found = {"rows_scored": scored, "rows_failed": failed}
        files[f"counts/{part}.json"] = json.dumps(found).encode()
    return files


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[Scoring]:
    def reconcilers(app: Any) -> list[Any]:
        return [BatchScoringReconciler(app.state.database, app.state.objects)]

    async with live_api(tmp_path, postgres_url, broker_url, reconcilers=reconcilers) as api:
        made = await api.client.put("clusters/cpu", json={"vm_size": "small"})
        assert made.status_code in (200, 201), made.text
        await upload(api, "digits", MODEL)
        world = Scoring(api)
        await world.add_dataset("table", "a.csv", "notes.txt", "b/c.npy")
        yield world


async def test_a_scoring_is_a_run_whose_predictions_become_a_dataset_version(
    world: Scoring,
) -> None:
    answer = await world.api.client.post(
        "batch-scorings",
        json=world.body(files=["*.csv"], columns=["a"], node_count=2, max_failed_rows=2),
    )
    made = answer.json()
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"].endswith(f"/batch-scorings/{made['id']}")
    assert (made["status"], made["model_version"], made["dataset_version"]) == ("Running", 1, 1)
    run = (await world.api.client.get(f"runs/{made['run_id']}")).json()
    assert run["properties"] == {"batch_scoring_id": made["id"]}
    assert (run["node_count"], run["request"]["command"][:3]) == (
        2, ["python", "-m", "serving.score_dataset"],
    )  # fmt: skip
    assert run["request"]["arguments"] == ["--file=*.csv", "--column=a"]
    assert [one["dataset"] for one in run["input_datasets"]] == ["table"]
    source = (await world.api.client.get(f"snapshots/{run['snapshot_id']}/files")).json()
    paths = {file["path"] for file in source["items"]}
    assert {"model/saved_model.pb", "serving/score_dataset.py"} <= paths

    done = await world.end(made, files=outputs((5, 1), (4, 0)))
    assert (done["status"], done["error"]) == ("Completed", None)
    assert (done["rows_scored"], done["rows_failed"]) == (9, 1)
    assert done["output_dataset_version"] == 1
    version = (await world.api.client.get("datasets/predicted/versions/1")).json()
    assert version["files_count"] == 2
    assert version["lineage"] == {
        "batch_scoring_id": made["id"],
        "run_id": made["run_id"],
        "deployment_id": None,
        "model": {"name": "digits", "version": 1},
        "dataset_versions": [{"dataset": "table", "version": 1}],
    }
    path = "datasets/predicted/versions/1/files/part-00001-of-00002.jsonl"
    assert (await world.api.client.get(path)).content == b"1\n"
    check = (await world.api.client.post("datasets/predicted/versions/1/verify")).json()
    assert check["state"] == "unchanged"
    again = await world.create(files=["*.csv"])
    assert (await world.end(again, files=outputs((1, 0))))["output_dataset_version"] == 2


async def test_what_the_shards_log_is_shown_while_it_runs(world: Scoring) -> None:
    made = await world.create(files=["*.csv"])
    logged = [("shard_0_rows_scored", 10), ("shard_1_rows_scored", 5), ("shard_0_rows_failed", 2)]
    values = [{"name": name, "value": value} for name, value in logged]
    body = {"source": uuid.uuid4().hex, "first_seq": 0, "values": values}
    answer = await world.api.client.post(f"runs/{made['run_id']}/metrics", json=body)
    assert answer.status_code == 201, answer.text
    found = (await world.api.client.get(f"batch-scorings/{made['id']}")).json()
    assert (found["rows_scored"], found["rows_failed"]) == (15, 2)


@pytest.mark.parametrize(
    ("status", "error", "counts", "code"),
    [
        ("Failed", {"code": "node_lost", "message": "gone"}, [], "node_lost"),
        (
            "Failed",
            {"code": "process_failed", "message": "4", "exit_code": 4, "last_lines": ["7 rows"]},
            [(1, 7)],
            "too_many_failed_rows",
        ),
        ("Completed", None, [(5, 1), (5, 1)], "too_many_failed_rows"),
    ],
)
async def test_a_scoring_that_fails_makes_no_version(
    world: Scoring, status: str, error: dict[str, Any] | None, counts: Any, code: str
) -> None:
    made = await world.create(files=["*.csv"], max_failed_rows=1)
    done = await world.end(made, status, files=outputs(*counts), error=error)
    assert (done["status"], done["error"]["code"]) == ("Failed", code)
    assert done["rows_failed"] == sum(failed for _, failed in counts)
    assert (await world.api.client.get("datasets/predicted")).status_code == 404


@pytest.mark.parametrize(
    "changed",
    [
        {"counts/part-00001-of-00002.json": None},
        {"predictions/part-00000-of-00002.jsonl": None},
        {"counts/part-00000-of-00002.json": b""},
        {"counts/part-00000-of-00002.json": b'{"rows_scored": "1e9"}'},
        {"counts/part-00000-of-00002.json": b'{"rows_scored": %d}' % 10**30},
        {"counts/part-00000-of-00002.json": b" " * 2000},
    ],
)
async def test_outputs_that_are_not_whole_make_no_version(
    world: Scoring, changed: dict[str, bytes | None]
) -> None:
    made = await world.create(files=["*.csv"], node_count=2)
    left = {**outputs((1, 0), (1, 0)), **changed}
    files = {path: data for path, data in left.items() if data is not None}
    done = await world.end(made, files=files)
    assert (done["status"], done["error"]["code"]) == ("Failed", "outputs_incomplete")
    assert (await world.api.client.get("datasets/predicted")).status_code == 404


async def test_counts_that_the_store_has_lost_end_it_as_well(world: Scoring) -> None:
    made = await world.create(files=["*.csv"])
    lost = RunFile(
        run_id=made["run_id"], path="outputs/counts/part-00000-of-00001.json", sha256="0" * 64,
        size_bytes=7, origin="outputs", attempt=1,
    )  # fmt: skip
    async with world.api.database.session() as session:
        session.add(lost)
    done = await world.end(made)
    assert (done["status"], done["error"]["code"]) == ("Failed", "outputs_incomplete")


async def test_canceling_ends_the_run_and_makes_no_version(world: Scoring) -> None:
    named = await world.api.client.put("models/digits/aliases/champion", json={"version": 1})
    assert named.status_code in (200, 201), named.text
    made = await world.create(files=["*.csv"], model_version="champion")
    assert made["model_version"] == 1
    path = f"batch-scorings/{made['id']}/cancel"
    for _ in range(2):
        answer = await world.api.client.post(path)
        assert (answer.status_code, answer.json()["status"]) == (202, "CancelRequested")
    run = (await world.api.client.get(f"runs/{made['run_id']}")).json()
    assert run["status"] == "CancelRequested"
    done = await world.end(made, "Canceled", files=outputs((1, 0)))
    assert (done["status"], done["output_dataset_version"]) == ("Canceled", None)
    over = await world.create(files=["*.csv"])
    await world.end(over, files=outputs((1, 0)))
    refused = await world.api.client.post(f"batch-scorings/{over['id']}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "batch_scoring_finished")


async def test_repeated_requests_pages_and_trials(world: Scoring) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    body = world.body(files=["*.csv"])

    async def post(**options: Any) -> httpx2.Response:
        return await world.api.client.post("batch-scorings", json=body, **options)

    one, again = await post(headers=key), await post(headers=key)
    assert one.json()["id"] == again.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    tried = await post(params={"validate_only": "true"})
    assert tried.status_code == 200, tried.text
    other = await post()
    first = (await world.api.client.get("batch-scorings", params={"page_size": 1})).json()
    token = first["next_page_token"]
    second = await world.api.client.get(
        "batch-scorings", params={"page_size": 1, "page_token": token}
    )
    listed = [first["items"][0]["id"], second.json()["items"][0]["id"]]
    assert listed == [other.json()["id"], one.json()["id"]]
    assert second.json()["next_page_token"] == ""


@pytest.mark.parametrize(
    ("values", "pointer", "code"),
    [
        ({"model_name": "none"}, "/model_name", "unknown_model"),
        ({"model_version": 9}, "/model_version", "unknown_model_version"),
        ({"dataset_name": "none"}, "/dataset_version", "unknown_dataset_version"),
        ({"cluster_name": "none"}, "/cluster_name", "unknown_cluster"),
        ({}, "/dataset_name", "unsupported_file"),
        ({"files": ["*.parquet"]}, "/files", "no_files"),
        ({"node_count": 0}, "/node_count", "greater_than_equal"),
    ],
)
async def test_what_cannot_be_scored_is_refused_with_its_field(
    world: Scoring, values: dict[str, Any], pointer: str, code: str
) -> None:
    refused = await world.refused(**{"files": ["*.csv"], **values} if values else {})
    assert (refused["pointer"], refused["code"]) == (pointer, code)


async def test_it_takes_the_right_to_make_datasets(world: Scoring) -> None:
    permissions = ["workspace.read", "runs.read", "runs.write", "models.read", "datasets.read"]
    made = await world.api.client.put("roles/runner", json={"permissions": permissions})
    assert made.status_code in (200, 201), made.text
    base = f"/v1/workspaces/{world.api.workspace}/batch-scorings"
    async with somebody(world.api, role="runner") as runner:
        answer = await runner.post(base, json=world.body(files=["*.csv"]))
    assert (answer.status_code, answer.json()["permission"]) == (403, "datasets.write")
    async with somebody(world.api) as stranger:
        assert (await stranger.get(base)).status_code == 404


def test_the_program_reads_what_the_api_lets_in() -> None:
    assert set(rows.SUFFIXES) == SUFFIXES


@pytest.mark.fault(10)
async def test_a_scoring_that_cannot_be_looked_at_says_so_until_it_can(
    world: Scoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await world.create(files=["*.csv"])
    objects = world.api.app.state.objects
    with monkeypatch.context() as patch:

        async def away(sha256: str) -> None:
            raise StoreUnavailable("the store is away")

        patch.setattr(objects, "open", away)
        ending = asyncio.create_task(world.end(made, files=outputs((2, 0))))
        shown: dict[str, Any] = {}

        async def says_so() -> bool:
            answer = await world.api.client.get(f"batch-scorings/{made['id']}")
            shown.update(answer.json())
            return shown["error"] is not None

        await until(says_so, seconds=30)
        assert (shown["status"], shown["error"]["code"]) == ("Running", "reconcile_failed")
        assert "StoreUnavailable" in shown["error"]["message"]

    found = await ending
    assert (found["status"], found["error"], found["rows_scored"]) == ("Completed", None, 2)
