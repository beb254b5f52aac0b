"""The OpenAPI document: committed, without findings of linters, and kept to what was released."""

import copy
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from app.openapi.document import operations
from app.openapi.older import as_3_0
from tools.openapi.breaking import breaking_changes
from tools.openapi.document import CURRENT, RELEASED, current, render
from tools.toolbox import ProgramMissing, node_programs

NOT_REPEATABLE = {
    "exchange_sign_in",  # nobody is signed in yet; the code is good once
}
NOT_VALIDATED = {
    # Their answers are secrets that would be good for nothing.
    "create_token",
    "regenerate_deployment_key",
    "exchange_sign_in",
    # They work in transactions of their own.
    "log_run_metrics",
    "create_snapshot",
    "register_dataset",
    "import_model",
    # They look, compute or end, and take nothing that could be wrong.
    "find_missing_blobs",
    "verify_dataset_version",
    "verify_model_version",
    "replay_sweep",
    "roll_back_deployment",
    "cancel_sweep",
    "cancel_batch_scoring",
    "drain_host",
    "undrain_host",
    "score_deployment",
    "cancel_run",
    "add_group_member",
}
"""Writes of JSON, or of nothing, that take no validate_only; see tests/contract/test_writes.py."""
RULES = Path(__file__).parents[2] / "tools/openapi"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return current()


def test_the_committed_document_is_that_of_the_code(document: dict[str, Any]) -> None:
    assert CURRENT.read_text() == render(document), "run `make openapi` and commit what it changes"


def test_nothing_that_was_released_breaks(document: dict[str, Any]) -> None:
    found = breaking_changes(json.loads(RELEASED.read_text()), document)
    assert found == [], "clients of the released version break; see docs/decisions/0025"


def test_no_two_schemas_share_a_name(document: dict[str, Any]) -> None:
    # FastAPI tells such apart by the names of modules, which generated clients then carry.
    assert [name for name in document["components"]["schemas"] if "__" in name] == []


def test_both_renderings_are_valid(document: dict[str, Any]) -> None:
    validate(document)
    validate(as_3_0(document))


def test_the_older_rendering_is_one_that_typed_languages_can_be_generated_from(
    document: dict[str, Any],
) -> None:
    nodes = list(_nodes(as_3_0(document)["components"]["schemas"]))
    kinds = [(node["type"], node.get("format")) for node in nodes if isinstance(node["type"], str)]
    assert ("integer", "int64") in kinds
    for kind, width in kinds:
        # Sizes of files are no int32, and learning rates no float32.
        assert width == {"integer": "int64", "number": "double"}.get(kind, width), kind
    with_default = [n for n in nodes if "default" in n and ("anyOf" in n or "oneOf" in n)]
    assert with_default == [], "generated Go takes these for names of constants"


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    children = node
    if isinstance(node, dict):
        yield {"type": None, **node}
        children = list(node.values())
    for child in children if isinstance(children, list) else []:
        yield from _nodes(child)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_linters_find_nothing(document: dict[str, Any], tmp_path: Path) -> None:
    try:
        programs = node_programs()
    except ProgramMissing as missing:
        pytest.fail(f"the linters cannot be installed: {missing}")
    files = []
    for name, found in (("3.1", document), ("3.0", as_3_0(document))):
        files.append(tmp_path / f"openapi-{name}.json")
        files[-1].write_text(render(found))
    spectral: list[str | Path] = [
        programs / "spectral",
        "lint",
        "--ruleset",
        RULES / "spectral.yaml",
        "--fail-severity=hint",
    ]
    redocly: list[str | Path] = [programs / "redocly", "lint", "--config", RULES / "redocly.yaml"]
    for command in (spectral, redocly):
        done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in (done.stdout + done.stderr).replace("Deprecation warning", "")


def test_every_operation_is_named_grouped_and_told_about(document: dict[str, Any]) -> None:
    named = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(named) == len(set(named))
    for path, method, operation in operations(document):
        assert operation["tags"], (method, path)
        assert operation["description"], (method, path)


def test_requests_have_no_silent_unknown_fields(document: dict[str, Any]) -> None:
    ignored = {"MetricRecord"}  # what scripts log is kept though they say more
    schemas = document["components"]["schemas"]
    for name in _sent(document) - ignored:
        if schemas[name].get("type") == "object":
            assert schemas[name].get("additionalProperties") is False, name


def test_answers_have_no_closed_enums(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in schemas.keys() - _sent(document):
        assert '"enum"' not in json.dumps(schemas[name]), name


def _sent(document: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting: list[Any] = [
        [operation.get("requestBody"), operation.get("parameters")]
        for _, _, operation in operations(document)
    ]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            name = str(node.get("$ref", "")).removeprefix("#/components/schemas/")
            if name in document["components"]["schemas"] and name not in found:
                found.add(name)
                waiting.append(document["components"]["schemas"][name])
            waiting += node.values()
    return found


_JSON = {"application/json"}


def _takes(operation: dict[str, Any], name: str) -> bool:
    return any(parameter.get("name") == name for parameter in operation.get("parameters", []))


def test_what_creates_takes_a_key(document: dict[str, Any]) -> None:
    creating = [
        operation
        for _, method, operation in operations(document)
        if method == "post" and "201" in operation["responses"]
    ]
    without = {op["operationId"] for op in creating if not _takes(op, "Idempotency-Key")}
    assert without == NOT_REPEATABLE, "declare REPEATABLE (app/auth/idempotency.py) on the route"


def test_what_writes_documents_can_be_validated_only(document: dict[str, Any]) -> None:
    writing = [
        operation
        for _, method, operation in operations(document)
        if method in ("post", "put", "patch")
        and "application/json" in operation.get("requestBody", {}).get("content", _JSON)
    ]
    without = {op["operationId"] for op in writing if not _takes(op, "validate_only")}
    assert without == NOT_VALIDATED, "declare VALIDATES (app/kernel/validate_only.py) on the route"


WHOLE_LISTS = {
    "list_vm_sizes",  # 1,000 at most: app/clusters/vm_sizes.py
    "list_run_events",  # by sequence number: after
    "list_run_metrics",  # thinned out: max_points
    "list_datastore_files",  # as many as the other side is asked for: limit
    "list_permissions",  # as many as app/auth/permissions.py names
}
"""Lists without pages; docs/api.md says what each of them holds at most."""


def test_lists_have_pages(document: dict[str, Any]) -> None:
    lists = [
        operation
        for _, method, operation in operations(document)
        if method == "get" and operation["operationId"].startswith("list_")
    ]
    without = {
        operation["operationId"] for operation in lists if not _takes(operation, "page_token")
    }
    assert without == WHOLE_LISTS, "take PageDep (app/kernel/pagination.py)"


Change = Callable[[dict[str, Any]], object]
_RUNS = "/v1/workspaces/{workspace}/runs"
_RUN_CREATE = ("components", "schemas", "RunCreate")
_RUN_READ = ("components", "schemas", "RunRead")


def _at(document: dict[str, Any], *path: str) -> Any:
    for part in path:
        document = document[part]
    return document


BREAKING: dict[str, Change] = {
    "a path goes": lambda d: d["paths"].pop("/v1/me"),
    "an operation goes": lambda d: d["paths"][_RUNS].pop("get"),
    "an operation is renamed": lambda d: d["paths"][_RUNS]["get"].update(operationId="runs"),
    "a parameter goes": lambda d: d["paths"][_RUNS]["get"]["parameters"].pop(),
    "a parameter comes and is required": lambda d: d["paths"][_RUNS]["get"]["parameters"].append(
        {"name": "x", "in": "query", "required": True, "schema": {"type": "string"}}
    ),
    "a field must be sent": lambda d: _at(d, *_RUN_CREATE)["required"].append("tags"),
    "a field may not be sent": lambda d: _at(d, *_RUN_CREATE, "properties").pop("shm_size"),
    "a sent text must be shorter": lambda d: _at(
        d, *_RUN_CREATE, "properties", "description"
    ).update(maxLength=10),
    "a sent number must be smaller": lambda d: _at(
        d, *_RUN_CREATE, "properties", "node_count"
    ).update(maximum=2),
    "a sent value has another type": lambda d: _at(
        d, *_RUN_CREATE, "properties", "node_count"
    ).update(type="string"),
    "a value is no longer taken": lambda d: _at(
        d, *_RUN_CREATE, "properties", "retry_on", "items", "enum"
    ).pop(),
    "an answered field goes": lambda d: _at(d, *_RUN_READ, "properties").pop("status"),
    "an answered field may be absent": lambda d: _at(d, *_RUN_READ, "required").remove("id"),
    "an answered field may be null": lambda d: _at(d, *_RUN_READ, "properties", "id").update(
        type=["string", "null"]
    ),
    "a status is answered no more": lambda d: d["paths"][_RUNS]["post"]["responses"].pop("201"),
    "a media type is answered no more": lambda d: _at(
        d, "paths", _RUNS + "/{run_id}/logs", "get", "responses", "200", "content"
    ).pop("text/plain"),
    "a media type is taken no more": lambda d: _at(
        d, "paths", _RUNS, "post", "requestBody", "content"
    ).pop("application/json"),
}
HARMLESS: dict[str, Change] = {
    "a path comes": lambda d: d["paths"].update({"/v1/new": d["paths"]["/v1/me"]}),
    "a parameter comes": lambda d: d["paths"][_RUNS]["get"]["parameters"].append(
        {"name": "x", "in": "query", "schema": {"type": "string"}}
    ),
    "a field may be sent": lambda d: _at(d, *_RUN_CREATE, "properties").update(
        hint={"type": "string"}
    ),
    "a field need not be sent": lambda d: _at(d, *_RUN_CREATE, "required").pop(),
    "a field is answered besides": lambda d: _at(d, *_RUN_READ, "properties").update(
        hint={"type": "string"}
    ),
    "an answer has one more value": lambda d: _at(
        d, "components", "schemas", "ProcessState", "x-extensible-enum"
    ).append("Waiting"),
    "what was called deprecated goes": lambda d: d["paths"].pop("/v1/leaks"),
}


@pytest.mark.parametrize("what", BREAKING)
def test_a_change_that_breaks_clients_is_found(document: dict[str, Any], what: str) -> None:
    changed = copy.deepcopy(document)
    BREAKING[what](changed)
    assert breaking_changes(document, changed) != []


@pytest.mark.parametrize("what", HARMLESS)
def test_a_change_that_breaks_nobody_is_allowed(document: dict[str, Any], what: str) -> None:
    old = copy.deepcopy(document)
    old["paths"]["/v1/leaks"]["get"]["deprecated"] = True
    changed = copy.deepcopy(old)
    HARMLESS[what](changed)
    assert breaking_changes(old, changed) == []
