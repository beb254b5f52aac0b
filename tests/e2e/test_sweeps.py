"""Sweeps on a whole stack, whatever is killed; by the command line, and by HyperDrive."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests.e2e.scripts import cancel_all
from tests.e2e.test_crashes import kill, processes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

SCRIPT = """
import argparse, time
from azureml.core import Run
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
x = parser.parse_args().x
run = Run.get_context()
for step in range(1, 4):
    run.log("loss", (x - 2) ** 2 + 1 / step)
    time.sleep(0.2)
open("outputs/model.txt", "w").write(str(x))
"""
HYPERDRIVE = """
from trainwright.azureml.core import Experiment, ScriptRunConfig, Workspace
from trainwright.azureml.train.hyperdrive import (
    GridParameterSampling, HyperDriveConfig, PrimaryMetricGoal, choice)
ws = Workspace.from_config()
source = ScriptRunConfig(source_directory=".", script="script.py", compute_target="cpu",
                         arguments=["--x", 99])
config = HyperDriveConfig(
    run_config=source, hyperparameter_sampling=GridParameterSampling({"--x": choice(1, 2)}),
    primary_metric_name="loss", primary_metric_goal=PrimaryMetricGoal.MINIMIZE,
    max_total_runs=4, max_concurrent_runs=2)
run = Experiment(ws, "drive").submit(config)
run.wait_for_completion(show_output=True)
best = run.get_best_run_by_primary_metric()
print("best", run.get_hyperparameters()[best.id], best.get_status())
print("ranking", [row["best_primary_metric"]
                  for row in run.get_children_sorted_by_primary_metric()])
"""


@pytest.fixture
def talk(stack: Stack) -> Iterator[Talk]:
    # The test before may have failed while it was down.
    if not stack.family():
        stack.start()
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", "/v1/workspaces/sweep", expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2}
    talk.ask("PUT", "/v1/workspaces/sweep/clusters/cpu", body=body, expect=(200, 201))
    yield talk
    cancel_all(talk, workspace="sweep")
    talk.close()


@pytest.fixture
def program(
    stack: Stack,
    tmp_path: Path,
) -> Callable[..., str]:
    """Run a program with the client's settings in a folder with the script."""
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {
        **os.environ,
        "TRAINWRIGHT_URL": stack.address,
        "TRAINWRIGHT_TOKEN": stack.token,
        "TRAINWRIGHT_WORKSPACE": "sweep",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def body(**values: Any) -> dict[str, Any]:
    return {
        "trial": {
            "experiment_name": "sweep", "cluster_name": "cpu", "entry_script": "script.py",
            "environment": {},
        },
        "search_space": {"x": {"type": "uniform", "min": -10, "max": 10}},
        "algorithm": {"type": "tpe"},
        "objective": {"primary_metric": "loss", "goal": "minimize"},
        "limits": {"max_trials": 8, "max_concurrent_trials": 2},
        "seed": 3,
        **values,
    }  # fmt: skip


def sweep_of(talk: Talk, sweep_id: str) -> dict[str, Any]:
    """The sweep; a control plane that is away for a moment is asked again."""
    deadline = time.monotonic() + 60
    while True:
        try:
            path = f"/v1/workspaces/sweep/sweeps/{sweep_id}"
            answer = talk.client.get(path, headers=talk.authorization())
            if answer.status_code == 200:
                return dict(answer.json())
        except httpx2.TransportError:
            pass
        assert time.monotonic() < deadline, "the API did not come back"
        time.sleep(0.2)


def numbers_of(talk: Talk, sweep_id: str) -> list[int]:
    """The numbers of the trials that the runs of a sweep are of."""
    runs = talk.get("/v1/workspaces/sweep/runs?page_size=100")["items"]
    own = [run["properties"] for run in runs if run["properties"].get("sweep_id") == sweep_id]
    return sorted(int(properties["trial_number"]) for properties in own)


def test_a_sweep_survives_the_death_of_every_part(
    stack: Stack,
    talk: Talk,
    program: Callable[..., str],
    tmp_path: Path,
) -> None:
    (tmp_path / "sweep.yaml").write_text(json.dumps(body()))
    cli = (sys.executable, "-m", "trainwright.main", "sweep")
    sweep_id = json.loads(program(*cli, "submit", "sweep.yaml", "--json"))["id"]
    # The worker twice, then the API, then the database.
    for word, count in (("celery", 1), ("celery", 3), ("api", 4), ("postgres", 5)):
        while sweep_of(talk, sweep_id)["trials_count"] < count:
            time.sleep(0.1)
        if word == "api":
            # The supervisor names its words, too.
            for process in processes(stack, "app.cli"):
                if word in process.cmdline():
                    process.kill()
        else:
            kill(stack, word)
    while (sweep := sweep_of(talk, sweep_id))["ended_at"] is None:
        time.sleep(0.3)

    assert (sweep["status"], sweep["completed_count"]) == ("Completed", 8), sweep
    base = "/v1/workspaces/sweep"
    trials = talk.get(f"{base}/sweeps/{sweep_id}/trials")["items"]
    assert [trial["number"] for trial in trials] == list(range(8))
    assert numbers_of(talk, sweep_id) == list(range(8)), "a trial was proposed twice"
    assert all(trial["intervals"] == 3 for trial in trials)
    for trial in trials:
        assert trial["value"] == pytest.approx((trial["parameters"]["x"] - 2) ** 2 + 1 / 3)
    assert sweep["best_value"] == min(trial["value"] for trial in trials)
    listed = program(*cli, "trials", sweep_id, "--top=1").splitlines()
    assert sweep["best_run_id"] in listed[1]
    assert "would have ended" in program(*cli, "replay", sweep_id, "type=median_stopping")
    made = program(*cli, "register", sweep_id, "best", "--path=outputs", "--json")
    assert json.loads(made)["lineage"]["run_id"] == sweep["best_run_id"]


def test_gangs_of_a_sweep_survive_the_death_of_all_at_once(
    stack: Stack,
    talk: Talk,
    program: Callable[..., str],
    tmp_path: Path,
) -> None:
    # Two gangs at a time where one fits; nodes that are lost are an attempt more.
    trial = {**body()["trial"], "node_count": 2, "priority": 70, "max_attempts": 5}
    limits = {"max_trials": 4, "max_concurrent_trials": 2}
    document = body(trial=trial, algorithm={"type": "random"}, limits=limits)
    (tmp_path / "sweep.yaml").write_text(json.dumps(document))
    # Nothing ends before all has died.
    go = tmp_path / "go"
    waits = (
        f"import pathlib, time\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)\n"
    )
    (tmp_path / "script.py").write_text(waits + SCRIPT)
    cli = (sys.executable, "-m", "trainwright.main", "sweep")
    sweep_id = json.loads(program(*cli, "submit", "sweep.yaml", "--json"))["id"]
    base = "/v1/workspaces/sweep"
    path = f"{base}/sweeps/{sweep_id}/trials"

    def runs() -> list[dict[str, Any]]:
        return [talk.get(f"{base}/runs/{one['run_id']}") for one in talk.get(path)["items"]]

    seen = runs()
    while not (
        any(run["status"] == "Running" for run in seen) and any(run["blockers"] for run in seen)
    ):
        time.sleep(0.1)
        seen = runs()
    assert all((run["node_count"], run["priority"]) == (2, 70) for run in seen)
    # The supervisor before those whom it would start again.
    while found := processes(stack, ""):
        for process in sorted(found, key=lambda one: one.pid):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    assert stack.stop() == []
    stack.start()
    go.touch()
    while (sweep := sweep_of(talk, sweep_id))["ended_at"] is None:
        time.sleep(0.3)
    assert (sweep["status"], sweep["completed_count"]) == ("Completed", 4), sweep
    assert numbers_of(talk, sweep_id) == [0, 1, 2, 3], "a trial was proposed twice"
    assert any(run["attempt"] > 1 for run in runs()), "no attempt was lost"
    assert all(one["intervals"] > 0 for one in talk.get(path)["items"])


def test_hyperdrive_of_a_notebook(
    talk: Talk,
    program: Callable[..., str],
    stack: Stack,
    tmp_path: Path,
) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"endpoint": stack.address, "workspace_name": "sweep"})
    )
    (tmp_path / "notebook.py").write_text(
        HYPERDRIVE.replace("from azureml", "from trainwright.azureml")
    )
    said = program(sys.executable, "notebook.py")
    assert "best {'--x': 2} Completed" in said, said
    ranking = json.loads(said.rpartition("ranking ")[2])
    assert ranking == [pytest.approx(1 / 3), pytest.approx(4 / 3)]
