"""The main job, step by step, against a real stack."""

import uuid
from pathlib import Path

import pytest

from examples import demo
from examples.walk import model_steps, prepare_steps, run_steps
from examples.walk.plan import Job, Walk
from examples.walk.talk import Talk

pytestmark = pytest.mark.e2e

SOURCE = Path(demo.__file__).parent / "train"


def command_job() -> Job:
    return Job(
        source=SOURCE,
        launch={
            "command": "python hello.py ${{inputs.mnist}}",
            "inputs": {"mnist": {"dataset": "digits", "version": "latest", "mode": "mount"}},
        },
        environment={},
        seconds=90,
    )


@pytest.mark.timeout(180)
def test_a_command_job_goes_the_whole_way(
    talk: Talk, digits: Path, digits_address: str, tmp_path: Path
) -> None:
    walk = Walk(
        talk=talk,
        job=command_job(),
        folder=tmp_path,
        digits=digits,
        digits_address=digits_address,
        workspace=f"commands-{uuid.uuid4().hex[:8]}",
    )

    prepare_steps.create_workspace(walk)
    prepare_steps.create_experiment(walk)
    prepare_steps.register_dataset(walk)
    prepare_steps.create_cluster(walk)
    run_steps.upload_source(walk)
    run_steps.submit_run(walk)
    run_steps.follow_run(walk)
    run_steps.show_streams(walk)
    run_steps.show_metrics(walk)
    run_steps.list_outputs(walk)
    run_steps.list_runs(walk)
    model_steps.register_model(walk)

    assert any("archives 4" in line for line in walk.log)
    notes = talk.ask("GET", f"{walk.run_path}/logs?stream=logs/notes.txt").text
    assert notes == "seen while it runs\n"
    assert walk.run["error"] is None
    assert walk.model_version == 1
