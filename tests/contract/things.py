"""A workspace with one of each thing in it, and what each write takes."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.datasets.made import MadeFile
from app.datasets.service import add_made
from app.kernel.clock import utc_now
from app.kernel.ids import new_id
from app.tables.capture import CaptureFile
from app.tables.dataset import Dataset, DatasetFile, DatasetVersion
from app.tables.deployment import Deployment
from app.tables.sweep import Trial
from app.tables.workspace import Workspace
from tests.live_api import LiveApi
from tests.made_runs import make_request
from tests.models.test_models import MODEL, upload
from tests.people import make_user

BYTES = b"bytes"
SHA256 = hashlib.sha256(BYTES).hexdigest()


@dataclass(frozen=True)
class Things:
    """What is there.

    Attributes:
        values: parameters of addresses, by name; what differs between paths by path.
        bodies: what each write takes, by operation: changes are changes, creations create anew.
    """

    values: dict[str, str]
    bodies: dict[str, Any]

    def address(self, path: str) -> str:
        """The address of a path of the document, with names of what is there."""
        filled = re.sub(r"\{(\w+)\}", lambda found: self._value(found[1], path), path)
        return f"http://api{filled}"

    def _value(self, name: str, path: str) -> str:
        kind = path.removeprefix("/v1/workspaces/{workspace}").removeprefix("/v1").split("/")
        found = self.values.get(f"{kind[1] if len(kind) > 1 else ''}/{name}")
        return found or self.values.get(name, "nothing-there")


async def make_things(api: LiveApi, folder: Path) -> Things:
    """Make one of each, through the API where it can be had without workers."""
    name, _ = await make_user(api)
    submitted = await make_request(api)

    async def made(method: str, path: str, body: Any) -> dict[str, Any]:
        answer = await api.client.request(method, path, json=body)
        assert answer.status_code in (200, 201), (path, answer.text)
        return dict(answer.json())

    account, group = f"bot-{name}", f"group-{name}"
    await made("POST", "http://api/v1/service-accounts", {"name": account})
    await made("POST", "http://api/v1/groups", {"name": group})
    await made("PUT", f"http://api/v1/quotas/workspace/{api.workspace}", {"runs": 1})
    await made("PUT", "budget", {"amount": 1000})
    await made("PUT", "roles/looker", {"permissions": ["runs.read"]})
    assignment = await made("POST", "role-assignments", {"role": "reader", "user": name})
    run = await made("POST", "runs", submitted)
    await made("PUT", "environments/plain", {})
    await made("PUT", "secrets/word", {"value": "x"})
    (folder / "a.txt").write_bytes(BYTES)
    place = {"kind": "folder", "path": str(folder)}
    await made("PUT", "datastores/folder", {"place": place})
    upload_row = await made("POST", "uploads", {"size_bytes": 7})
    (await api.client.put(f"blobs/{SHA256}", content=BYTES)).raise_for_status()
    (await api.client.put(f"runs/{run['id']}/files/a.txt", content=BYTES)).raise_for_status()
    version = await upload(api, "digits", MODEL)
    await made("PUT", "models/digits/aliases/champion", {"version": 1})
    sample = {"inputs": {"pixels": [[0.0]]}, "outputs": {"output_0": [[1.0]]}}
    await made("PUT", "models/digits/versions/1/sample", sample)
    capture_id = await _insert(api, version["id"])
    search = {
        "trial": submitted,
        "search_space": {"lr": {"type": "uniform", "min": 0, "max": 1}},
        "algorithm": {"type": "random"},
        "objective": {"primary_metric": "loss", "goal": "minimize"},
        "limits": {"max_trials": 1},
    }
    sweep = await made("POST", "sweeps", search)
    await _insert_trial(api, sweep["id"], run["id"])
    await _insert_table(api)
    scoring = {
        "experiment_name": "first",
        "cluster_name": "cpu",
        "model_name": "digits",
        "model_version": 1,
        "dataset_name": "table",
        "output_dataset_name": "predicted",
    }
    scored = await made("POST", "batch-scorings", scoring)
    files = [{"path": "a.txt", "sha256": SHA256, "size_bytes": len(BYTES)}]
    return Things(
        values={
            "workspace": api.workspace,
            "kind": "workspace",
            "owner": api.workspace,
            "vm_size": "small",
            "user": name,
            "service-accounts/user": account,
            "group": group,
            "role": "looker",
            "assignment_id": assignment["id"],
            "experiment": "first",
            "cluster": "cpu",
            "run_id": run["id"],
            "environment": "plain",
            "secret": "word",
            "datastore": "folder",
            "upload_id": upload_row["id"],
            "snapshot_id": submitted["snapshot_id"],
            "sweep_id": sweep["id"],
            "batch_scoring_id": scored["id"],
            "dataset": "data",
            "model": "digits",
            "alias": "champion",
            "version": "1",
            "deployment": "svc",
            "capture_id": capture_id,
            "sha256": SHA256,
            "runs/path": "a.txt",
            "models/path": "saved_model.pb",
            "datasets/path": "a.txt",
            "datastores/path": "a.txt",
        },
        bodies={
            "put_quota": {"runs": 2},
            "put_budget": {"amount": 2000},
            "put_price": {"price_per_hour": 1.0},
            "create_token": {"name": "again"},
            "create_user": {"name": f"new-{name}"},
            "update_user": {"display_name": "Changed"},
            "create_service_account": {"name": f"newbot-{name}"},
            "create_group": {"name": f"newgroup-{name}"},
            "update_group": {"description": "changed"},
            "put_role": {"permissions": ["runs.read"], "description": "changed"},
            "create_role_assignment": {"role": "looker", "user": name},
            "create_workspace": {"name": f"{api.workspace}n"},
            "put_workspace": {"description": "changed"},
            "update_workspace": {"description": "changed", "tags": {"a": None, "b": "1"}},
            "create_experiment": {"name": "second"},
            "put_experiment": {"description": "changed"},
            "put_cluster": {"vm_size": "small", "description": "changed"},
            "update_cluster": {"description": "changed", "tags": {"a": None, "b": "1"}},
            "import_run": {
                "job": {"command": "python train.py", "compute": "azureml:cpu"},
                "snapshot_id": submitted["snapshot_id"],
                "experiment_name": "first",
                "environment": {},
            },
            "create_run": submitted,
            "update_run": {"display_name": "changed"},
            "log_run_metrics": {
                "source": "test",
                "first_seq": 0,
                "values": [{"name": "loss", "value": 1.0}],
            },
            "create_sweep": search,
            "create_batch_scoring": scoring,
            "register_best_model": {"model_name": "digits", "path": "a.txt"},
            "put_environment": {"description": "changed"},
            "create_upload": {"size_bytes": 8},
            "put_secret": {"value": "y"},
            "create_snapshot": {"files": files},
            "put_datastore": {"place": place, "description": "changed"},
            "register_dataset": {"name": "new", "urls": ["http://127.0.0.1:9/a"]},
            "update_dataset": {"description": "changed", "tags": {"a": None, "b": "1"}},
            "create_model_version": {"files": files},
            "update_model": {"description": "changed", "tags": {"a": None, "b": "1"}},
            "put_model_alias": {"version": "latest"},
            "put_model_sample": {**sample, "relative_tolerance": 0.5},
            "update_model_version": {"description": "changed"},
            "put_deployment": {"model_name": "digits", "description": "changed"},
            "put_deployment_traffic": {"shares": {}},
            "register_captures": {"dataset_name": "asked"},
            "regenerate_deployment_key": {"key": "primary"},
        },
    )


async def _insert_trial(api: LiveApi, sweep_id: str, run_id: str) -> None:
    async with api.database.session() as session:
        session.add(
            Trial(
                sweep_id=sweep_id,
                number=0,
                run_id=run_id,
                parameters={"lr": 0.5},
                outcome="Completed",
                value=0.1,
            )
        )


async def _insert_table(api: LiveApi) -> None:
    """A dataset that can be scored."""
    async with api.database.session() as session:
        found = await session.execute(select(Workspace.id).where(Workspace.name == api.workspace))
        await add_made(
            session,
            workspace_id=found.scalar_one(),
            name="table",
            description="",
            files=[MadeFile("a.csv", "test/a.csv", SHA256, len(BYTES))],
            lineage={},
        )


async def _insert(api: LiveApi, model_version_id: str) -> str:
    """A dataset, and a deployment with a captured file, whose id is returned."""
    async with api.database.session() as session:
        found = await session.execute(select(Workspace.id).where(Workspace.name == api.workspace))
        workspace_id = found.scalar_one()
        dataset_id, pinned_id = new_id("ds"), new_id("dsv")
        session.add(Dataset(id=dataset_id, workspace_id=workspace_id, name="data"))
        await session.flush()
        session.add(
            DatasetVersion(
                id=pinned_id,
                dataset_id=dataset_id,
                version=1,
                fingerprint=SHA256,
                file_count=1,
                size_bytes=len(BYTES),
            )
        )
        await session.flush()
        session.add(
            DatasetFile(
                version_id=pinned_id,
                path="a.txt",
                url="http://127.0.0.1:9/a.txt",
                size_bytes=len(BYTES),
                sha256=SHA256,
            )
        )
        deployment_id, capture_id = new_id("dep"), new_id("cap")
        session.add(
            Deployment(
                id=deployment_id,
                workspace_id=workspace_id,
                name="svc",
                model_version_id=model_version_id,
                replica_count=1,
                next_check_at=None,
            )
        )
        await session.flush()
        session.add(
            CaptureFile(
                id=capture_id,
                deployment_id=deployment_id,
                sha256=SHA256,
                size_bytes=len(BYTES),
                record_count=1,
                first_at=utc_now(),
                last_at=utc_now(),
                expires_at=utc_now(),
            )
        )
    return capture_id
