"""Errors a caller of the serving program sees, and their one rendering (RFC 9457)."""

from __future__ import annotations

from typing import Any, Dict, List, Optional


class Problem(Exception):
    """A refusal with an HTTP status, a stable code and, where it fits, the fields at fault."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Optional[List[Dict[str, str]]] = None,
        headers: Optional[Dict[str, str]] = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors or []
        self.headers = headers or {}

    def body(self) -> Dict[str, Any]:
        """Return the members of the problem document."""
        document: Dict[str, Any] = {
            "type": f"urn:trainwright:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            # Where TensorFlow Serving and the Open Inference Protocol have their message.
            "error": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors
        return document


def invalid_field(pointer: str, code: str, message: str) -> Problem:
    """Return a 400 that names one field of the body by its JSON pointer."""
    where = pointer or "the body"
    return Problem(
        400,
        code,
        f"{where}: {message}",
        errors=[{"pointer": pointer, "code": code, "message": message}],
    )
