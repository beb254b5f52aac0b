"""What real training scripts do that a service stumbles over (docs/scripts.md)."""

from functools import partial
from typing import Any

import pytest

from examples.walk.talk import Talk
from tests.e2e import scripts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

submit = partial(scripts.submit, workspace="traps")
await_status = partial(scripts.await_status, workspace="traps")

EAGER = """
import os, sys
from azureml.core import Run
for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
    print(name, int(os.environ[name]))
run = Run.get_context()
for number in range(20):
    run.log("loss", number)
for number in range(20):
    run.log("accuracy", number / 10, step=0)
open("outputs/-1.index", "w").write("weights")
open("outputs/empty", "w").close()
run.complete()
sys.exit(7)
"""


@pytest.fixture(scope="module")
def failed_run(live_stack: Any) -> dict[str, Any]:
    """A run whose script says that it is complete, and then exits with 7."""
    talk = Talk(live_stack.address, live_stack.token, is_silent=True)
    talk.ask("PUT", "/v1/workspaces/traps", expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", "/v1/workspaces/traps/clusters/cpu", body=body, expect=(200, 201))
    run = await_status(talk, submit(talk, EAGER), "Failed")
    talk.close()
    return run


def test_a_client_that_says_complete_is_not_believed(failed_run: dict[str, Any]) -> None:
    assert (failed_run["error"]["code"], failed_run["error"]["exit_code"]) == ("process_failed", 7)


@pytest.mark.parametrize("name", ["loss", "accuracy"])
def test_points_without_a_step_or_all_at_step_0_stay_apart(
    talk: Talk, failed_run: dict[str, Any], name: str
) -> None:
    path = f"/v1/workspaces/traps/runs/{failed_run['id']}/metrics?name={name}"
    (metric,) = talk.get(path, quiet=True)["items"]
    assert len(metric["points"]) == 20
    assert [point["value"] for point in metric["points"]] == sorted(
        point["value"] for point in metric["points"]
    )


def test_a_tracking_server_that_is_away_cannot_hold_up_training_for_minutes(
    talk: Talk, failed_run: dict[str, Any]
) -> None:
    path = f"/v1/workspaces/traps/runs/{failed_run['id']}/logs?stream=user_logs/std_log.txt"
    log = talk.client.get(path, headers=talk.authorization()).text
    limits = dict(line.split() for line in log.splitlines())
    retries = int(limits["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    assert (retries + 1) * int(limits["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 60


def test_outputs_with_awkward_names_are_kept_though_the_script_failed(
    talk: Talk, failed_run: dict[str, Any]
) -> None:
    files = f"/v1/workspaces/traps/runs/{failed_run['id']}/files"
    listed = talk.get(f"{files}?prefix=outputs/", quiet=True)["items"]
    sizes = {file["path"]: file["size_bytes"] for file in listed}
    assert sizes == {"outputs/-1.index": 7, "outputs/empty": 0}
    weights = talk.client.get(f"{files}/outputs/-1.index", headers=talk.authorization())
    empty = talk.client.get(f"{files}/outputs/empty", headers=talk.authorization())
    assert (weights.text, empty.content) == ("weights", b"")
    assert failed_run["outputs_partial"] is True


def test_a_file_that_was_uploaded_and_then_written_over_is_kept_twice(talk: Talk) -> None:
    script = (
        "import pathlib\n"
        "from azureml.core import Run\n"
        "weights = pathlib.Path('outputs/weights'); weights.write_text('first')\n"
        "Run.get_context().upload_file('outputs/weights', 'outputs/weights')\n"
        "weights.write_text('last')\n"
    )
    run = await_status(talk, submit(talk, script), "Completed")
    path = f"/v1/workspaces/traps/runs/{run['id']}"
    files = {
        file["path"]: talk.ask("GET", f"{path}/files/{file['path']}").text
        for file in talk.get(f"{path}/files", quiet=True)["items"]
        if file["path"].endswith("weights")
    }
    assert files == {"outputs/weights": "first", "nodes/0/outputs/weights": "last"}
    events = talk.get(f"{path}/events", quiet=True)["items"]
    (renamed,) = [event for event in events if event["type"] == "outputs_renamed"]
    assert renamed["data"] == {"files": 1, "first": ["outputs/weights"]}
