"""The serving program as replicas run it: real models, real HTTP."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.program import (
    START_SECONDS,
    Served,
    start_program,
    wait_for_port,
    wait_until_ready,
)
from workers.serving.inspect_model import read_signatures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Serve = Callable[..., Served]


@pytest.fixture
def serve(tensorflow_python: Path, models: Path, tmp_path: Path) -> Iterator[Serve]:
    started: list[Served] = []

    def start(model: str, *options: str) -> Served:
        process = start_program(tensorflow_python, models / model, tmp_path, *options)
        served = Served(process, wait_for_port(process, tmp_path / "port"))
        started.append(served)
        wait_until_ready(served)
        return served

    yield start
    for served in started:
        served.client.close()
        served.process.kill()
        served.process.wait(60)


@pytest.mark.parametrize("model", ["mlp", "mlp.keras", "mlp.h5"])
def test_a_keras_model_in_each_of_its_forms(serve: Serve, models: Path, model: str) -> None:
    served = serve(model, "--max-body-bytes", "10000")
    row = [0.5] * 784

    answer = served.predict({"instances": [row, row]})

    assert np.allclose(answer["predictions"], np.load(models / "expected.npy"), atol=1e-5)
    assert np.allclose(served.predict({"data": [row]}), answer["predictions"][:1], atol=1e-5)
    ready = served.client.get("/ready").json()
    (tensor,) = ready["signature"]["inputs"]
    assert (tensor["dtype"], tensor["shape"]) == ("float32", [-1, 784])
    assert_refusals_have_a_status_and_a_code(served)


def assert_refusals_have_a_status_and_a_code(served: Served) -> None:
    assert served.refusal(b'{"instances": [[1]]}') == (400, "shape_mismatch")
    assert served.refusal(b"{") == (400, "invalid_json")
    assert served.refusal(b" " * 10_001) == (413, "body_too_large")
    assert served.client.get("/predict").status_code == 405
    served.client.headers["authorization"] = "Bearer other"
    assert served.refusal(b'{"instances": [[1]]}') == (401, "unauthorized")
    assert served.client.get("/ready").status_code == 200


def test_numbers_and_strings_by_row_and_by_column(mixed: Served) -> None:
    rows = [{"a": [1, 2], "s": "x"}, {"a": [3, 4], "s": {"b64": "aGk="}}]

    by_row = mixed.predict({"instances": rows})
    by_column = mixed.predict({"inputs": {"a": [[1, 2]], "s": ["é"]}})

    assert by_row == {
        "predictions": [
            {"sum": 3.0, "raw_bytes": {"b64": "eA=="}, "upper": "X"},
            {"sum": 7.0, "raw_bytes": {"b64": "aGk="}, "upper": "HI"},
        ]
    }
    assert by_column["outputs"]["sum"] == [3.0]
    assert by_column["outputs"]["upper"] == ["é"]
    assert mixed.predict({"data": rows}) == by_row["predictions"]


def test_a_scalar_under_the_only_signature_there_is_answers_its_stored_sample(
    serve: Serve, tmp_path: Path
) -> None:
    served = serve("scalar", "--sample-file", str(write_sample(tmp_path, doubled=6)))

    assert "the stored sample was answered as stored" in (tmp_path / "output.txt").read_text()
    assert served.predict({"inputs": 21}) == {"outputs": 42}
    assert served.predict({"inputs": 21, "signature_name": "double"}) == {"outputs": 42}


def test_a_model_of_tensorflow_1(serve: Serve) -> None:
    served = serve("tf1")

    answer = served.client.post("/predict", content=b'{"instances": [[1, 2, 3], [NaN, 0, 0]]}')

    assert answer.content == b'{"predictions":[[6.0],[NaN]]}\n'


def test_many_at_once_get_their_own_answers(mixed: Served) -> None:
    wrong: list[tuple[int, Any]] = []

    def ask(number: int) -> None:
        body = {"instances": [{"a": [number, 1], "s": str(number)}]}
        for _ in range(20):
            (answer,) = mixed.predict(body)["predictions"]
            if (answer["sum"], answer["upper"]) != (number + 1, str(number)):
                wrong.append((number, answer))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert wrong == []


def test_a_model_that_refuses_everything_is_never_ready(
    tensorflow_python: Path, models: Path, tmp_path: Path
) -> None:
    process = start_program(tensorflow_python, models / "broken", tmp_path)

    assert process.wait(START_SECONDS) == 3
    output = (tmp_path / "output.txt").read_text()
    assert "cannot serve this model: The model refuses every sample" in output


def test_a_model_that_answers_its_stored_sample_differently_is_never_ready(
    tensorflow_python: Path, models: Path, tmp_path: Path
) -> None:
    sample = write_sample(tmp_path, doubled=7)
    process = start_program(
        tensorflow_python, models / "scalar", tmp_path, "--sample-file", str(sample)
    )

    assert process.wait(START_SECONDS) == 3
    output = (tmp_path / "output.txt").read_text()
    assert "cannot serve this model: The model answers its stored sample differently" in output
    assert "doubled[] is 6, stored is 7" in output


def write_sample(folder: Path, *, doubled: int) -> Path:
    path = folder / "sample.json"
    sample = {
        "inputs": {"n": 3},
        "outputs": {"doubled": doubled},
        "relative_tolerance": 1e-3,
        "absolute_tolerance": 1e-5,
    }
    path.write_text(json.dumps(sample))
    return path


def test_a_folder_without_a_model_ends_with_the_reason(
    tensorflow_python: Path, tmp_path: Path
) -> None:
    process = start_program(tensorflow_python, tmp_path, tmp_path)

    assert process.wait(START_SECONDS) == 3
    assert "There is no saved_model.pb" in (tmp_path / "output.txt").read_text()


def test_sigterm_ends_it_at_once(serve: Serve) -> None:
    served = serve("scalar")

    served.process.send_signal(signal.SIGTERM)

    assert served.process.wait(60) in (0, -signal.SIGTERM)


def test_real_signatures_are_read_as_tensorflow_wrote_them(models: Path) -> None:
    found = {name: read_signatures(models / name) for name in ("mlp", "mixed", "scalar", "tf1")}

    assert found["scalar"]["default_signature"] == "double"
    assert found["tf1"]["signatures"]["serving_default"]["inputs"] == [
        {"name": "X", "dtype": "float32", "shape": [-1, 3]}
    ]
    mixed = found["mixed"]["signatures"]["serving_default"]
    assert [tensor["name"] for tensor in mixed["outputs"]] == ["raw_bytes", "sum", "upper"]
    assert json.dumps(found["mlp"])
