"""What is checked of every address, before anything is done: its text, and its parameters."""

from fastapi import Request

from app.kernel.errors import FieldError, Invalid
from app.kernel.plain_text import refuse_unkeepable_address
from app.kernel.routes import RouteTable


async def check_address(request: Request) -> None:
    """Refuse text that cannot be kept, and query parameters that the route does not have.

    A parameter that is misspelt would otherwise be a filter that does not filter.

    Raises:
        Invalid: there is something of the kind; it names the place.
    """
    refuse_unkeepable_address(request)
    if not request.scope["query_string"]:
        return
    routes: RouteTable = request.app.state.routes
    known = routes.parameters(request.scope["endpoint"])
    if known is None:
        return
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        takes = ", ".join(sorted(known))
        errors = [
            FieldError(f"query/{name}", "unknown_parameter", f"There is no such parameter: {name}.")
            for name in unknown
        ]
        detail = f"Unknown query parameter {unknown[0]!r}; this operation takes: {takes}."
        raise Invalid(detail, errors=errors)
