"""The headers of the contract, as the document names them."""

from typing import Any

from app.openapi.schemas import DOWNLOADS

_TEXT = {"type": "string"}

COMPONENTS: dict[str, Any] = {
    "XRequestId": {
        "description": "Names this request in the log; send one of your own to choose it",
        "schema": _TEXT,
    },
    "ETag": {
        "description": "For If-Match of a write and If-None-Match of a read",
        "schema": _TEXT,
    },
    "Location": {
        "description": "Absolute address of what was made, or of what tells how far it is",
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "RetryAfter": {
        "description": "Seconds after which asking again makes sense",
        "schema": {"type": "integer"},
    },
    "IdempotencyReplayed": {
        "description": "true: this is the answer of the first request with that Idempotency-Key",
        "schema": _TEXT,
    },
}

PARAMETERS: dict[str, Any] = {
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "ETag of what you have read: 412 when it has changed since",
        "schema": _TEXT,
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "ETag of what you have: 304 when it reads the same",
        "schema": _TEXT,
    },
    "IfAbsent": {
        "name": "If-None-Match",
        "in": "header",
        "description": "*: 412 when it exists already",
        "schema": _TEXT,
    },
}


def of_problem(status: str) -> dict[str, Any]:
    """The headers of a problem of this status."""
    found = {"X-Request-Id": _ref("XRequestId")}
    if status in ("429", "503", "507"):
        found["Retry-After"] = _ref("RetryAfter")
    return found


def complete(path: str, method: str, operation: dict[str, Any]) -> None:
    """Name the headers that the successes of an operation carry."""
    taken = {p["name"] for p in operation.get("parameters", []) if p["in"] == "header"}
    for status, answer in operation["responses"].items():
        if not status.startswith("2"):
            continue
        found = answer.setdefault("headers", {})
        found["X-Request-Id"] = _ref("XRequestId")
        if status in ("201", "202") and method in ("post", "put"):
            found["Location"] = _ref("Location")
        if status == "202":
            found["Retry-After"] = _ref("RetryAfter")
        if "Idempotency-Key" in taken:
            found["Idempotency-Replayed"] = _ref("IdempotencyReplayed")


def add_conditions(method: str, operation: dict[str, Any], item: dict[str, Any]) -> None:
    """Name the conditions that an operation takes, and the ETag that it gives (RFC 9110, 13)."""
    whole = operation["responses"].get("200", {})
    kinds = set(whole.get("content", {}))
    parameters = operation.setdefault("parameters", [])
    if method == "get" and kinds & {"application/json", *DOWNLOADS}:
        parameters.append(_parameter("IfNoneMatch"))
        whole.setdefault("headers", {})["ETag"] = _ref("ETag")
        operation["responses"]["304"] = {
            "description": "It reads as you have it",
            "headers": {"X-Request-Id": _ref("XRequestId"), "ETag": _ref("ETag")},
        }
    if method in ("put", "patch", "delete") and _is_versioned(operation, item):
        parameters.append(_parameter("IfMatch"))
        if method == "put":
            parameters.append(_parameter("IfAbsent"))
        for status in ("200", "201"):
            if status in operation["responses"]:
                operation["responses"][status].setdefault("headers", {})["ETag"] = _ref("ETag")
    if not parameters:
        del operation["parameters"]


def _is_versioned(operation: dict[str, Any], item: dict[str, Any]) -> bool:
    """Whether a write is of a document that can be read; bytes are named by what they are."""
    read = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    body = operation.get("requestBody", {}).get("content", {})
    return "application/json" in read and "application/octet-stream" not in body


def _parameter(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/parameters/{name}"}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}
