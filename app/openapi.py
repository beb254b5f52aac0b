"""The OpenAPI document, shaped so that client generators make good code of it.

Each rewrite here answers a pitfall seen with real generators: nullable unions become
``type: [T, "null"]``, streams have a plain schema, every operation declares its problems.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from app.auth.middleware import OPEN_PATHS
from app.auth.needs import need_of
from app.kernel.problems import PROBLEM_JSON, Problem

_PROBLEMS = {
    "400": "The request cannot be understood",
    "401": "No valid token",
    "403": "The token does not allow this",
    "404": "Not found",
    "409": "Conflict with the present state",
    "412": "A precondition does not hold",
    "413": "The body is too large",
    "415": "Send JSON",
    "422": "The request is understood and its content is wrong",
    "429": "Too many requests or too much at once; see Retry-After",
    "500": "A defect of ours",
    "503": "Try again later",
}


def install_openapi(app: FastAPI) -> None:
    """Serve the reshaped document at ``/openapi.json``."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def build_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[{"url": "/"}],
        tags=app.openapi_tags,
        separate_input_output_schemas=False,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    components["responses"] = {
        f"Problem{status}": {
            "description": description,
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, description in _PROBLEMS.items()
    }
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    needs = _needs(app)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            operation.update(needs[path, method])
            if path in OPEN_PATHS:
                operation["security"] = []
            for status in _PROBLEMS:
                operation["responses"][status] = {"$ref": f"#/components/responses/Problem{status}"}
    reshaped: dict[str, Any] = _reshape(document)
    return reshaped


def _needs(app: FastAPI) -> dict[tuple[str, str], dict[str, Any]]:
    """What every operation needs of its caller, by path and method."""
    found = {}
    for route in iter_route_contexts(app.routes):
        need = need_of(route.endpoint)
        if need is None or route.path_format is None:
            continue
        said: dict[str, Any] = {"x-permission": need.permission}
        if need.run:
            said["x-run-token"] = True
        if need.deployment_key:
            said["x-deployment-key"] = True
        for method in route.methods or ():
            found[route.path_format, method.lower()] = said
    return found


def _reshape(node: Any) -> Any:
    if isinstance(node, list):
        return [_reshape(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _reshape(value) for key, value in node.items() if key != "itemSchema"}
    options = node.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options and len(options) == 2:
        (other,) = (option for option in options if option != {"type": "null"})
        if isinstance(other.get("type"), str):
            del node["anyOf"]
            node = {**other, **node, "type": [other["type"], "null"]}
    if node.get("contentMediaType") == "application/octet-stream":
        node["format"] = "binary"
    return node
