"""What becomes of a capture: pure decisions, and reports that strangers' code has written."""

import json
from dataclasses import replace
from typing import Any

import pytest

from app.model_captures.decide import (
    MOST_STARTS,
    WHOLE_SECONDS,
    Again,
    Failed,
    Reported,
    View,
    Wait,
    decide,
)
from app.model_captures.environment import can_load
from app.model_captures.report import Report, read_report

LIVE = View(start=1, is_alive=True, seconds=1.0, result={})
GOOD = {"exit_code": 0, "signal": None, "oom": False, "last_lines": ["a line"]}
REPORT: dict[str, Any] = {
    "runtime": "onnxruntime 1.17",
    "signature": {
        "signature_name": "serving_default",
        "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 2]}],
        "outputs": [{"name": "y", "dtype": "float32", "shape": [-1]}],
    },
    "sample": {"inputs": {"x": [[1.0, 2.0]]}, "outputs": {"y": [3.0]}},
    "error": None,
}


@pytest.mark.parametrize(
    "view",
    [LIVE, replace(LIVE, result={"processes": [GOOD]}), replace(LIVE, seconds=WHOLE_SECONDS)],
)
def test_nothing_is_known_yet(view: View) -> None:
    assert decide(view) == Wait()


def test_a_report_counts_once_its_program_has_ended() -> None:
    report = {"sha256": "ab", "size_bytes": 3}
    view = replace(LIVE, is_alive=False, result={"processes": [GOOD], "report": report})

    assert decide(view) == Reported("ab", 3, ["a line"])


def test_a_lost_node_is_replaced_a_few_times() -> None:
    assert decide(replace(LIVE, is_alive=False)) == Again()

    last = decide(replace(LIVE, is_alive=False, start=MOST_STARTS))

    assert isinstance(last, Failed)
    assert last.error["code"] == "node_lost"


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (replace(LIVE, seconds=WHOLE_SECONDS + 1), "capture_timeout"),
        (replace(LIVE, result={"processes": [GOOD], "is_finished": True}), "report_missing"),
        (replace(LIVE, result={"failed": {"code": "bad_order", "message": "…"}}), "bad_order"),
        (replace(LIVE, result={"processes": [{**GOOD, "exit_code": 1}]}), "capture_exited"),
        (
            replace(LIVE, result={"processes": [{**GOOD, "exit_code": None, "signal": 11}]}),
            "capture_exited",
        ),
        (
            replace(LIVE, result={"processes": [{**GOOD, "exit_code": None, "oom": True}]}),
            "out_of_memory",
        ),
        (
            replace(
                LIVE,
                result={"processes": [{**GOOD, "exit_code": None}], "reason": "max_duration"},
            ),
            "capture_timeout",
        ),
    ],
)
def test_why_there_is_no_sample_has_a_code(view: View, code: str) -> None:
    decision = decide(view)

    assert isinstance(decision, Failed)
    assert decision.error["code"] == code
    assert decision.error["last_lines"] == (["a line"] if "processes" in view.result else [])


def test_a_good_report_is_taken() -> None:
    report = read_report(json.dumps(REPORT).encode())

    assert isinstance(report, Report)
    assert report.sample is not None
    assert report.sample.outputs == {"y": [3.0]}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"runtime": 7}, "report_invalid"),
        ({"signature": {"inputs": []}}, "report_invalid"),
        ({"error": {"code": "made up", "message": ""}, "sample": None}, "report_invalid"),
        ({"sample": {"inputs": {"x": [[1.0]]}, "outputs": {"y": [3.0]}}}, "answer_misfit"),
        ({"sample": {"inputs": {"x": [[1.0, 2.0]]}, "outputs": {"y": ["a"]}}}, "answer_misfit"),
        (
            {"sample": {"inputs": {"x": [[0.0, 0.0]] * 100_000}, "outputs": {"y": [3.0]}}},
            "sample_too_large",
        ),
        ({"sample": None}, "report_invalid"),
        ({"signature": None}, "report_invalid"),
    ],
)
def test_a_report_is_not_believed_blindly(change: dict[str, Any], code: str) -> None:
    found = read_report(json.dumps({**REPORT, **change}).encode())

    assert isinstance(found, Failed)
    assert found.error["code"] == code


def test_what_is_no_json_is_no_report() -> None:
    assert isinstance(read_report(b'{"runtime": '), Failed)


@pytest.mark.parametrize(
    "answer",
    ["[NaN]", "[1e999]", "[-Infinity]", "[" * 2000 + "]" * 2000, '["a\\u0000b"]', '["\\ud800"]'],
)
def test_what_no_row_can_keep_is_no_report(answer: str) -> None:
    text = json.dumps(REPORT).replace('"outputs": {"y": [3.0]}', f'"outputs": {{"y": {answer}}}')
    assert answer in text
    found = read_report(text.encode())

    assert isinstance(found, Failed)
    assert found.error["code"] == "report_invalid"


@pytest.mark.parametrize(
    ("kind", "spec", "can"),
    [
        ("saved_model", {"framework": "tensorflow", "framework_version": "2.15.1"}, True),
        ("saved_model", {"framework": "tensorflow", "framework_version": "1.15.5"}, False),
        (
            "saved_model",
            {
                "framework": "tensorflow",
                "framework_version": "2.5.0",
                "python_version": "3.7",
            },
            False,
        ),
        ("keras", {"framework": None, "requirements": ["numpy"]}, False),
        ("onnx", {"framework": "tensorflow", "framework_version": "2.15.1"}, False),
        ("onnx", {"requirements": ["OnnxRuntime>=1.17"]}, True),
        ("onnx", {"requirements": ["onnxruntime-extensions"]}, False),
    ],
)
def test_the_environment_of_the_run_is_taken_where_it_can_load_the_model(
    kind: str, spec: dict[str, Any], can: bool
) -> None:
    assert can_load(kind, {"python_version": "3.11", **spec}) is can


def test_a_report_nested_deeper_than_any_tensor_is_refused() -> None:
    text = json.dumps(REPORT).replace("[[1.0, 2.0]]", "[" * 1000 + "]" * 1000)

    found = read_report(text.encode())

    assert isinstance(found, Failed)
    assert found.error["code"] == "report_invalid"
