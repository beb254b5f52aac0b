"""The OpenAPI 3.1 document: what FastAPI finds out, and what clients need to know besides.

Each addition answers what real generators, linters and testers of contracts ask for: every
operation says how it can fail, which headers it takes and gives, and what its bytes are.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi

from app.auth.middleware import OPEN_PATHS, SIGN_IN_PATHS
from app.kernel.json import NewlineJSONResponse
from app.kernel.problems import PROBLEM_JSON, Problem
from app.openapi import headers
from app.openapi.older import as_3_0
from app.openapi.permissions import needs
from app.openapi.schemas import BINARY, DOWNLOADS, open_enums, reshaped

_PROBLEMS = {
    "400": "The request cannot be understood",
    "401": "No valid token",
    "403": "The token does not allow this",
    "404": "Not found",
    "409": "Conflict with the present state",
    "410": "It was there and is over for good",
    "412": "A precondition does not hold",
    "413": "The body is too large",
    "414": "The address is too long",
    "415": "Send the media type that this operation takes",
    "416": "The range lies outside the content",
    "422": "The request is understood and its content is wrong",
    "428": "It exists: say with If-Match which version you have read",
    "429": "Too many requests; try again later",
    "431": "The header fields are too large",
    "500": "A defect of ours",
    "503": "Try again later",
    "507": "The disk of the object store is full",
}
_ALWAYS = frozenset({"400", "401", "403", "404", "414", "422", "429", "431", "500", "503"})
_OF_WRITES = frozenset({"409", "410", "412"})
_OF_BODIES = frozenset({"413", "415", "507"})
_OF_BYTES = frozenset({"410", "416"})
_OPEN = frozenset({"400", "414", "431", "500", "503"})

_TAGS = {
    "health": "Whether the service is well, and figures about it",
    "tokens": "Who the caller is, and tokens",
    "sign-in": "Signing in with a provider of OpenID Connect",
    "users": "People and service accounts",
    "groups": "Users that get roles together",
    "roles": "What users and groups may do in a workspace",
    "audit": "Who changed what, and who was refused",
    "hosts": "Machines that nodes live on: their capacity, and emptying them",
    "quotas": "What workspaces and users may have at a time",
    "costs": "Prices of nodes, what runs cost, and budgets",
    "workspaces": "Everything else lives in a workspace",
    "experiments": "Runs are grouped by experiment",
    "clusters": "Nodes that runs are placed on, and their sizes",
    "runs": "Submitted jobs with their events, logs and files",
    "sweeps": "Searches for good hyperparameters",
    "metrics": "What scripts log about themselves",
    "pictures": "Curves, use of nodes and phases, drawn",
    "environments": "Frameworks and packages that runs need",
    "images": "What environments and snapshots are built into",
    "secrets": "Values that runs get and nobody reads",
    "blobs": "Bytes by digest, sent at once or in pieces",
    "snapshots": "Source folders of runs",
    "datastores": "Folders, buckets and web servers with data",
    "datasets": "Files at web addresses, pinned by version",
    "models": "Registered models and their versions",
    "lineage": "What was made of what, both ways",
    "deployments": "Models that answer over HTTP",
    "batch-scorings": "A model version over a dataset version",
}
_METHODS = ("get", "put", "post", "delete", "patch", "head")


def install_openapi(app: FastAPI) -> None:
    """Serve the document at ``/openapi.json``, and for older tools at ``/openapi-3.0.json``."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = build_document(app)
        return app.openapi_schema

    async def older(request: Request) -> NewlineJSONResponse:
        return NewlineJSONResponse(as_3_0(app.openapi()))

    app.openapi = openapi  # type: ignore[method-assign]
    app.add_route("/openapi-3.0.json", older, include_in_schema=False)


def build_document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        servers=[{"url": "/"}],
        contact={"name": "Whoever operates this installation"},
        license_info={"name": "Apache 2.0", "identifier": "Apache-2.0"},
        separate_input_output_schemas=False,
    )
    components = document.setdefault("components", {})
    # Basic credentials are taken as well; generators would send both when both stood here.
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    _add_problems(components)
    components["headers"] = headers.COMPONENTS
    components["parameters"] = headers.PARAMETERS
    needed = needs(app)
    for path, method, operation in operations(document):
        operation.update(needed[path, method])
        _complete(path, method, operation)
        headers.add_conditions(method, operation, document["paths"][path])
    used = {tag for _, _, operation in operations(document) for tag in operation.get("tags", [])}
    document["tags"] = [
        {"name": tag, "description": _TAGS.get(tag, tag)} for tag in sorted(used, key=_tag_order)
    ]
    found: dict[str, Any] = reshaped(document)
    open_enums(found)
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Path, method and operation, one after the other."""
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _tag_order(tag: str) -> tuple[int, str]:
    return (list(_TAGS).index(tag) if tag in _TAGS else len(_TAGS), tag)


def _add_problems(components: dict[str, Any]) -> None:
    schemas = components.setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    components["responses"] = {
        f"Problem{status}": {
            "description": description,
            "headers": headers.of_problem(status),
            "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, description in _PROBLEMS.items()
    }


def _complete(path: str, method: str, operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "header":
            parameter["name"] = parameter["name"].title()
    answers: dict[str, Any] = operation["responses"]
    if method == "head":
        for answer in answers.values():
            answer.pop("content", None)
    _mark_bytes(method, answers)
    if method == "patch":
        _take_merge_patches(operation)
    if path in OPEN_PATHS:
        operation["security"] = []
    _answer_validations(operation)
    headers.complete(path, method, operation)
    for status in sorted(_problems_of(path, method, operation)):
        answers[status] = {"$ref": f"#/components/responses/Problem{status}"}


def _mark_bytes(method: str, answers: dict[str, Any]) -> None:
    for status in ("200", "201"):
        for media_type, content in answers.get(status, {}).get("content", {}).items():
            if media_type in BINARY:
                content["schema"] = {"type": "string", "format": "binary"}
    whole = answers.get("200", {})
    if method == "get" and DOWNLOADS & set(whole.get("content", {})):
        answers["206"] = {"description": "The part that Range names", "content": whole["content"]}


def _take_merge_patches(operation: dict[str, Any]) -> None:
    content = operation["requestBody"]["content"]
    if "application/json" in content:
        # RFC 7396. Plain JSON is taken as well: that is what most clients send.
        content["application/merge-patch+json"] = content["application/json"]


def _answer_validations(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    names = [parameter.get("name") for parameter in operation.get("parameters", [])]
    if "validate_only" in names and "200" not in answers:
        answers["200"] = {
            "description": "With validate_only: what would be answered",
            "content": answers["201"]["content"],
        }


def _problems_of(path: str, method: str, operation: dict[str, Any]) -> set[str]:
    if path in OPEN_PATHS - SIGN_IN_PATHS:
        return set(_OPEN)
    found = set(_ALWAYS)
    if method not in ("get", "head"):
        found |= _OF_WRITES
    if "428" in operation["responses"]:
        found.add("428")
    if "requestBody" in operation:
        found |= _OF_BODIES
    if "206" in operation["responses"] or method == "head":
        found |= _OF_BYTES
    if path.endswith(("openapi.json", "swagger.json", "/archive", "/export", "/logs")):
        found |= {"409", "410", "416"}
    return found
