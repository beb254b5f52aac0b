"""Mixed load on a stack that is being hurt: every request is repeated until it is answered."""

import hashlib
import io
import random
import tarfile
import tempfile
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import tenacity

from tests.serving.onnx_models import matrix_product
from tests.soak.followers import Followers
from trainwright.connection import Connection
from trainwright.errors import TrainwrightError
from trainwright.uploads import PIECE_BYTES, upload_file

WORKSPACE_NAME = "soak"
WORKSPACE = f"/v1/workspaces/{WORKSPACE_NAME}"
LINES = 30
SCRIPT = f"""
import sys, time
from azureml.core import Run
run = Run.get_context()
for number in range({LINES}):
    print("line", number, flush=True)
    run.log("loss", number)
    time.sleep(float(sys.argv[1]))
open("outputs/done.txt", "w").write(sys.argv[2])
"""
_ANSWER_SECONDS = 10.0
_OUTAGE_SECONDS = 120.0
_FIRST_ANSWER_SECONDS = 600.0
_DEPLOYMENT = f"{WORKSPACE}/deployments/product"


class NotAnswered(Exception):
    """The server refused for now."""


class Client:
    """Requests that outlive outages.

    Args:
        address: of the server.
        token: of a user.
    """

    def __init__(self, address: str, token: str) -> None:
        self._client = httpx2.Client(
            base_url=address,
            timeout=_ANSWER_SECONDS,
            trust_env=False,
            headers={"Authorization": f"Bearer {token}"},
        )

    def ask(
        self, method: str, path: str, *, within_seconds: float = _OUTAGE_SECONDS, **options: Any
    ) -> httpx2.Response:
        """One request, repeated over outages.

        Raises:
            tenacity.RetryError: no answer within this time.
        """
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(within_seconds),
            wait=tenacity.wait_random(0.05, 0.5),
            retry=tenacity.retry_if_exception_type((httpx2.TransportError, NotAnswered)),
        )
        return retrying(self._once, method, path, **options)

    def get(self, path: str) -> Any:
        """A document of the workspace."""
        answer = self.ask("GET", WORKSPACE + path)
        answer.raise_for_status()
        return answer.json()

    def every(self, path: str) -> list[Any]:
        """All items of a collection of the workspace."""
        found, token = [], ""
        while True:
            mark = "&" if "?" in path else "?"
            page = self.get(f"{path}{mark}page_size=100&page_token={token}")
            found += page["items"]
            token = page.get("next_page_token") or ""
            if not token:
                return found

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _once(self, method: str, path: str, **options: Any) -> httpx2.Response:
        answer = self._client.request(method, path, **options)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise NotAnswered(answer.text)
        return answer


@dataclass
class Wanted:
    """What was asked of the stack, and has to be found in the end.

    Attributes:
        runs: the run's id by the mark that its output has to hold.
        canceled: ids of runs that were canceled.
        uploads: digests of bytes that were acknowledged.
        predictions: how many were made.
        wrong: predictions that were others than the model's.
    """

    runs: dict[str, str] = field(default_factory=dict)
    canceled: set[str] = field(default_factory=set)
    uploads: set[str] = field(default_factory=set)
    predictions: int = 0
    wrong: list[str] = field(default_factory=list)


class Load:
    """Submits, cancels, looks at logs and metrics, uploads and predicts, until told to stop.

    Args:
        client: to the server.
        connection: to the server, in the workspace, as its users have it.
        seed: of what is done when.
    """

    def __init__(self, client: Client, connection: Connection, *, seed: int) -> None:
        self.wanted = Wanted()
        self.followers = Followers(connection)
        self.errors: list[BaseException] = []
        self._client = client
        self._connection = connection
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def prepare(self, *, nodes: int) -> None:
        """Make the workspace, its cluster, the source of all runs and a deployment."""
        self._client.ask("PUT", WORKSPACE).raise_for_status()
        body = {"vm_size": "SMALL", "max_nodes": nodes}
        self._client.ask("PUT", f"{WORKSPACE}/clusters/cpu", json=body).raise_for_status()
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            info = tarfile.TarInfo("script.py")
            info.size = len(SCRIPT)
            archive.addfile(info, io.BytesIO(SCRIPT.encode()))
        answer = self._client.ask("PUT", f"{WORKSPACE}/snapshots", content=packed.getvalue())
        self._snapshot_id = answer.raise_for_status().json()["id"]
        model = f"{WORKSPACE}/models/product/archive?filename=product.onnx"
        self._client.ask("PUT", model, content=matrix_product()).raise_for_status()
        deployment = {"model_name": "product", "replicas": 2}
        self._client.ask("PUT", _DEPLOYMENT, json=deployment).raise_for_status()
        self._predict(within_seconds=_FIRST_ANSWER_SECONDS)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the request that is under way."""
        self._stop.set()
        self._thread.join()

    def clear(self) -> None:
        """Delete the deployment."""
        self._client.ask("DELETE", _DEPLOYMENT).raise_for_status()

    def _work(self) -> None:
        changes = (self._submit, self._submit, self._cancel, self._upload, self._upload_in_pieces)
        actions: list[Callable[[], None]] = [*changes, self._look, self._predict, self._predict]
        while not self._stop.is_set():
            try:
                self._random.choice(actions)()
            except (httpx2.HTTPError, tenacity.RetryError, TrainwrightError) as error:
                self.errors.append(error)
            self._stop.wait(0.3)

    def _submit(self) -> None:
        if len(self._client.every("/runs?status=Queued")) > 6:
            return
        mark = uuid.uuid4().hex
        body = {
            "experiment_name": "soak",
            "snapshot_id": self._snapshot_id,
            "cluster_name": "cpu",
            "entry_script": "script.py",
            "arguments": [str(self._random.choice([0.0, 0.1, 0.3])), mark],
            "display_name": mark,
            "max_attempts": 10,
        }
        answer = self._client.ask(
            "POST", f"{WORKSPACE}/runs", json=body, headers={"Idempotency-Key": mark}
        )
        self.wanted.runs[mark] = answer.raise_for_status().json()["id"]
        self.followers.follow(self.wanted.runs[mark])

    def _cancel(self) -> None:
        if not self.wanted.runs or self._random.random() < 0.5:
            return
        run_id = self._random.choice(list(self.wanted.runs.values()))
        if self._client.ask("POST", f"{WORKSPACE}/runs/{run_id}/cancel").is_success:
            self.wanted.canceled.add(run_id)

    def _look(self) -> None:
        if self.wanted.runs:
            run_id = self._random.choice(list(self.wanted.runs.values()))
            self._client.ask("GET", f"{WORKSPACE}/runs/{run_id}/logs").raise_for_status()
            self._client.get(f"/runs/{run_id}/metrics")

    def _predict(self, *, within_seconds: float = _OUTAGE_SECONDS) -> None:
        rows = [[self._random.randrange(10), self._random.randrange(10)]]
        answer = self._client.ask(
            "POST", f"{_DEPLOYMENT}/score", within_seconds=within_seconds, json={"instances": rows}
        )
        expected = [[3.0 * b, a + 4.0 * b, 2.0 * a + 5.0 * b] for a, b in rows]
        self.wanted.predictions += 1
        if answer.raise_for_status().json()["predictions"] != expected:
            self.wanted.wrong.append(f"prediction of {rows}: {answer.text}")

    def _upload(self) -> None:
        data = self._random.randbytes(self._random.randrange(1, 300_000))
        digest = hashlib.sha256(data).hexdigest()
        self._client.ask("PUT", f"{WORKSPACE}/blobs/{digest}", content=data).raise_for_status()
        self.wanted.uploads.add(digest)

    def _upload_in_pieces(self) -> None:
        with tempfile.NamedTemporaryFile(prefix="soak-") as file:
            file.write(self._random.randbytes(PIECE_BYTES + self._random.randrange(PIECE_BYTES)))
            file.flush()
            self.wanted.uploads.add(upload_file(self._connection, Path(file.name)))
