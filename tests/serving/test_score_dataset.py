"""The program of batch scorings as nodes run it: a real model, real files."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
WORKERS = Path(__file__).parents[2] / "workers"


def test_a_real_model_scores_an_array(
    tensorflow_python: Path, models: Path, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    np.save(data / "pixels.npy", np.ones((70, 784), dtype=np.float32))
    np.save(data / "wrong.npy", np.ones((1, 3), dtype=np.float32))
    places = [str(WORKERS), str(WORKERS / "runner" / "standin")]

    def score(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                str(tensorflow_python), "-m", "serving.score_dataset",
                "--model-dir", str(models / "mlp"), "--data", str(data),
                "--outputs", str(tmp_path / "outputs"), *options,
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(places), "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    done = score("--max-failed-rows=1")
    assert done.returncode == 0, done.stdout + done.stderr
    (part,) = (tmp_path / "outputs" / "predictions").iterdir()
    found = [json.loads(line) for line in part.read_text().splitlines()]
    assert [one["row"] for one in found] == list(range(70))
    assert all(len(one["prediction"]) == 10 for one in found)
    (failed,) = (tmp_path / "outputs" / "failed_rows").iterdir()
    assert json.loads(failed.read_text())["code"] == "shape_mismatch"
    assert score("--max-failed-rows=0").returncode == 4
